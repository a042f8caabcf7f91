"""The site's settings, for `manage.py test chatserver --settings=chatserver.tests.settings`."""

from django.core.exceptions import PermissionDenied

from chatserver.settings import *  # noqa: F403

WS4REDIS_PREFIX = "ws4redis"
WS4REDIS_EXPIRE = 10
WS4REDIS_HEARTBEAT = None


def denied_channels(request, channels):
    """Who says ``Deny-Channels: YES`` may do nothing."""
    if request.headers.get("Deny-Channels") == "YES":
        raise PermissionDenied("No channels")
    return channels


WS4REDIS_ALLOWED_CHANNELS = denied_channels

# refusals are expected
for logger in LOGGING["loggers"].values():  # noqa: F405
    logger["level"] = "ERROR"
