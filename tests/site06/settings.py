import os
from urllib.parse import urlsplit

BASE_DIR = os.path.dirname(os.path.abspath(__file__))
REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")

SECRET_KEY = "not so secret"
DEBUG = True
ALLOWED_HOSTS = []
ROOT_URLCONF = "tests.site06.urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "ws4redis",
    "tests.site06",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [os.path.join(BASE_DIR, "templates")],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.request",
                "django.template.context_processors.static",
                "ws4redis.context_processors.default",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", os.path.join(BASE_DIR, "site.sqlite3")),
        "TEST": {"NAME": ":memory:"},
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the fixture's
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
LOGIN_REDIRECT_URL = "/userchat/"
STATIC_URL = "/static/"
TIME_ZONE = "UTC"
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"simple": {"format": "%(asctime)s %(module)s %(levelname)s: %(message)s"}},
    "handlers": {"console": {"level": "DEBUG", "class": "logging.StreamHandler", "formatter": "simple"}},
    "loggers": {"django": {"handlers": ["console"], "level": "INFO", "propagate": True}},
}

WSGI_APPLICATION = "ws4redis.django_runserver.application"
WEBSOCKET_URL = "/ws/"
WS4REDIS_CONNECTION = {
    "host": urlsplit(REDIS_URL).hostname,
    "port": urlsplit(REDIS_URL).port,
    "db": int(urlsplit(REDIS_URL).path[1:]),
    "password": None,
}
WS4REDIS_PREFIX = "site06"
WS4REDIS_EXPIRE = 7200
WS4REDIS_HEARTBEAT = "--heartbeat--"
WS4REDIS_SUBSCRIBER = "tests.site06.subscriber.ChatSubscriber"
WS4REDIS_ALLOWED_CHANNELS = "tests.site06.hooks.allowed_channels"
