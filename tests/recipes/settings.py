"""The example's settings on a machine with a name. Each upgrade leaves word of what the proxies have passed on."""

import json
from typing import Any

import redis
from chatserver.settings import *  # noqa: F403
from chatserver.settings import REDIS_URL
from django.http import HttpRequest

ALLOWED_HOSTS = ["chat.example.com"]
WS4REDIS_PREFIX = "recipes"
WS4REDIS_TRUSTED_PROXIES = ["127.0.0.1", "unix"]
WS4REDIS_HEALTH_PATH = "health"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# only pings keep a silent websocket open
WS4REDIS_HEARTBEAT = None
WS4REDIS_ALLOWED_CHANNELS = "tests.recipes.settings.remember"


def remember(request: HttpRequest, channels: list[str]) -> list[str]:
    from ws4redis.auth.client_address import client_address
    from ws4redis.core.channels import facility_of

    seen: dict[str, Any] = {
        "host": request.META["HTTP_HOST"].partition(":")[0],
        "origin": request.META.get("HTTP_ORIGIN"),
        "address": client_address(request, WS4REDIS_TRUSTED_PROXIES),
        "user": request.user.get_username(),
    }
    with redis.Redis.from_url(REDIS_URL) as client:
        client.set(f"seen:{facility_of(request.path)}", json.dumps(seen))
    return channels
