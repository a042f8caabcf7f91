"""A module of django-websocket-redis's manual."""

from ws4redis.redis_store import RedisStore
from ws4redis.subscriber import RedisSubscriber

__all__ = ["RedisStore", "RedisSubscriber"]
