"""The HTTP answer for whatever goes wrong before the upgrade."""

from __future__ import annotations

from typing import NamedTuple

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ws4redis.auth.bounds import PROCESS
from ws4redis.exceptions import InvalidHandshake, UpgradeRefused
from ws4redis.loop.seats import NoSeat
from ws4redis.protocol.handshake import accept_response

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

    @property
    def body(self) -> bytes:
        return f"{self.text}\n".encode()

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        length = str(len(self.body))
        return [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", length), *self.headers]

    def as_bytes(self) -> bytes:
        """The whole response, for a connection that the WSGI server has handed over."""
        lines = [f"HTTP/1.1 {self.status_line}", "Connection: close", *map(": ".join, self.all_headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class Opening:
    """The two answers to a handshake, for after the hand-over.

    Args:
        subprotocol: what was agreed on.
        extensions: the value of Sec-WebSocket-Extensions.
    """

    __slots__ = ("_extensions", "_key", "_subprotocol")

    def __init__(self, key: str, subprotocol: str | None, extensions: str | None) -> None:
        self._key = key
        self._subprotocol = subprotocol
        self._extensions = extensions

    def accept(self, subprotocol: str | None = None) -> bytes:
        return accept_response(self._key, subprotocol or self._subprotocol, self._extensions)

    def reject(self, error: Exception) -> bytes:
        return refusal_for(error).as_bytes()


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
        case NoSeat():
            return Refusal(503 if error.holder == PROCESS else 429, "There are too many websockets already.")
        case RedisConnectionError() | RedisTimeoutError():
            return Refusal(503, "Redis is not available.")
        case _:
            return Refusal(500, "The server failed; its log says why.")
