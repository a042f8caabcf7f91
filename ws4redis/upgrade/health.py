"""Health: the route that tells a load balancer whether this process delivers."""

from __future__ import annotations

import json
from collections.abc import Callable

from django.http import HttpRequest

from ws4redis import settings
from ws4redis.channels import facility_of
from ws4redis.loop.process import LoopProcess
from ws4redis.upgrade.responses import Response


class Health:
    """Answers at ``WS4REDIS_HEALTH_PATH``, where no websocket is asked for: 200 or 503, with figures as JSON."""

    def __init__(self, process: Callable[[], LoopProcess]) -> None:
        self._process = process

    def __call__(self, request: HttpRequest) -> Response | None:
        path = settings.WS4REDIS_HEALTH_PATH
        if path is None or not _is_plain(request) or facility_of(request.path_info) != path:
            return None
        healthy, figures = self._process().health()
        body = f"{json.dumps(figures, indent=1)}\n".encode()
        return Response(200 if healthy else 503, body, (("Cache-Control", "no-store"),), "application/json")


def _is_plain(request: HttpRequest) -> bool:
    return request.META["REQUEST_METHOD"] in ("GET", "HEAD") and "HTTP_UPGRADE" not in request.META
