"""Websockets and nothing else."""

import os

SECRET_KEY = "for stress tests only"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
INSTALLED_APPS = ["channels"]
CHANNEL_LAYERS = {
    "default": {
        # the lighter of the two layers of channels_redis
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
    }
}
