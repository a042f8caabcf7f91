"""Health: the route that tells a load balancer whether this process delivers."""

from __future__ import annotations

import json
from collections.abc import Callable

from django.http import HttpRequest

from ws4redis.core.channels import facility_of
from ws4redis.loop.process import LoopProcess
from ws4redis.upgrade.responses import Response


class Health:
    """Answers where no websocket is asked for: 200 or 503, with figures as JSON.

    Args:
        path: the facility (``WS4REDIS_HEALTH_PATH``); None where there is no such route.
    """

    def __init__(self, process: Callable[[], LoopProcess], path: str | None) -> None:
        self._process = process
        self._path = path

    def __call__(self, request: HttpRequest) -> Response | None:
        if self._path is None or not _is_plain(request) or facility_of(request.path_info) != self._path:
            return None
        healthy, figures = self._process().health()
        body = f"{json.dumps(figures, indent=1)}\n".encode()
        return Response(200 if healthy else 503, body, (("Cache-Control", "no-store"),), "application/json")


def _is_plain(request: HttpRequest) -> bool:
    return request.META["REQUEST_METHOD"] in ("GET", "HEAD") and "HTTP_UPGRADE" not in request.META
