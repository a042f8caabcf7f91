"""As ordinary as a site can be that serves websockets only."""

import json
import os

SECRET_KEY = "for stress tests only"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "ws4redis",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DATABASE"],
        # connections are kept, as is usual where many come
        "CONN_MAX_AGE": None,
    }
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["REDIS_URL"],
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"

WEBSOCKET_URL = "/ws/"
WS4REDIS_CONNECTION = os.environ["REDIS_URL"]
WS4REDIS_HEARTBEAT = os.environ.get("WS4REDIS_HEARTBEAT")
WS4REDIS_MAX_MESSAGES_PER_SECOND = WS4REDIS_MAX_BYTES_PER_SECOND = None
WS4REDIS_IO_URING = json.loads(os.environ.get("WS4REDIS_IO_URING", "true"))
WS4REDIS_DEFLATE = json.loads(os.environ.get("WS4REDIS_DEFLATE", "false"))
