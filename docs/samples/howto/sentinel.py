from django.conf import settings
from redis import Redis, Sentinel


def current_master() -> Redis:
    return Sentinel(settings.SENTINELS, socket_timeout=1).master_for("main")
