"""No database: who a visitor is stands in his URL."""

import os

SECRET_KEY = "for stress tests only"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
INSTALLED_APPS = ["ws4redis"]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(process)d %(name)s %(levelname)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"django": {"handlers": [], "level": "WARNING"}},
}

WEBSOCKET_URL = "/ws/"
WS4REDIS_CONNECTION = os.environ["REDIS_URL"]
WS4REDIS_TIMEOUT = 2
WS4REDIS_HEALTH_PATH = "health"
WS4REDIS_PROCESS_REQUEST = "soak.site.visitors.identify"
# small enough to be filled by a browser that stalls
WS4REDIS_OUTBOX_SIZE = 256 << 10
WS4REDIS_MAX_MESSAGE_SIZE = 64 << 10
