"""The HTTP answer for whatever goes wrong before the upgrade."""

from __future__ import annotations

from typing import NamedTuple

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ws4redis.auth.limits import PROCESS
from ws4redis.exceptions import InvalidHandshake, UpgradeRefused
from ws4redis.loop.limits import LimitReached

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    414: "URI Too Long",
    426: "Upgrade Required",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Refusal(NamedTuple):
    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def status_line(self) -> str:
        return f"{self.status} {_REASONS.get(self.status, 'Refused')}"


def refusal_for(error: Exception) -> Refusal:
    """The HTTP answer for whatever happened before the upgrade; what was not meant for the visitor is not shown."""
    match error:
        case InvalidHandshake():
            return Refusal(error.status, str(error), tuple(error.headers))
        case UpgradeRefused():
            return Refusal(error.status, str(error))
        case PermissionDenied():
            return Refusal(403, "You may not connect here.")
        case Http404():
            return Refusal(404, "There is no websocket here.")
        case SuspiciousOperation():
            return Refusal(400, "This request is not acceptable.")
        case LimitReached():
            return Refusal(503 if error.key == PROCESS else 429, "There are too many websockets already.")
        case RedisConnectionError() | RedisTimeoutError():
            return Refusal(503, "Redis is not available.")
        case _:
            return Refusal(500, "The server failed; its log says why.")
