"""Where the manual of django-websocket-redis looks for these."""

from ws4redis.redis_store import RedisStore
from ws4redis.subscriber import RedisSubscriber

__all__ = ["RedisStore", "RedisSubscriber"]
