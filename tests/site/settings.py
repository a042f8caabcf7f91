"""The site that the tests serve; the environment turns its knobs."""

import json
import os
from pathlib import Path

SECRET_KEY = "for tests only"
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = json.loads(os.environ.get("ALLOWED_HOSTS", '["127.0.0.1", "localhost"]'))
ROOT_URLCONF = "tests.site.urls"
TIME_ZONE = "UTC"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "ws4redis",
]
STATIC_URL = "/static/"
AUTH_USER_MODEL = os.environ.get("AUTH_USER_MODEL", "auth.User")
if AUTH_USER_MODEL.startswith("people."):
    INSTALLED_APPS.append("tests.site.people")
SESSION_COOKIE_AGE = int(os.environ.get("SESSION_COOKIE_AGE", 1209600))
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", str(Path(__file__).parent / "test.sqlite3")),
        "TEST": {"NAME": ":memory:"},
        # any of these and others, as JSON
        **json.loads(os.environ.get("DATABASE_OPTIONS", "{}")),
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    }
}
SESSION_ENGINE = os.environ.get("SESSION_ENGINE", "django.contrib.sessions.backends.cache")
SESSION_FILE_PATH = os.environ.get("SESSION_FILE_PATH")
# django-redis-sessions; it takes whatever is late for a session that does not exist
SESSION_REDIS = {
    "url": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    "prefix": "redis_sessions",
    "socket_timeout": 10,
}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"context_processors": ["ws4redis.context_processors.default"]},
    }
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(name)s %(levelname)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "WARNING")},
    "loggers": {"django": {"level": os.environ.get("LOG_LEVEL", "INFO")}},
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

WEBSOCKET_URL = json.loads(os.environ.get("WEBSOCKET_URL", '"/ws/"'))
WS4REDIS_CONNECTION = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

# any WS4REDIS_* setting, as JSON
for name, value in os.environ.items():
    if name.startswith("WS4REDIS_"):
        globals()[name] = json.loads(value)
WSGI_APPLICATION = os.environ.get("WSGI_APPLICATION")
