"""HTTP answers that open no websocket: one for each error, and two ways of writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404

from ws4redis.auth.limits import PROCESS
from ws4redis.exceptions import REDIS_AWAY, InvalidHandshake, UpgradeRefused
from ws4redis.loop.limits import LimitReached
from ws4redis.protocol.handshake import accept_response

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    414: "URI Too Long",
    426: "Upgrade Required",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Response(NamedTuple):
    status: int
    body: bytes
    #: besides the type and the length
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "text/plain; charset=utf-8"

    def start(
        self, environ: Environ, start_response: StartResponse, may_send: Callable[[str], bool]
    ) -> Iterable[bytes]:
        """Answer by WSGI.

        Args:
            may_send: whether the server lets an application send a header of this name.
        """
        start_response(self._status, [header for header in self._all_headers if may_send(header[0])])
        # HEAD gets the headers only; uWSGI would send the body
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [self.body]

    def as_bytes(self) -> bytes:
        """The whole answer, for after the hand-over; the connection must be closed behind it."""
        headers = [("Connection", "close"), *self._all_headers]
        lines = [f"HTTP/1.1 {self._status}", *(f"{name}: {value}" for name, value in headers), "", ""]
        return "\r\n".join(lines).encode() + self.body

    @property
    def _status(self) -> str:
        return f"{self.status} {_PHRASES.get(self.status, 'Rejected')}"

    @property
    def _all_headers(self) -> list[tuple[str, str]]:
        return [("Content-Type", self.content_type), ("Content-Length", str(len(self.body))), *self.headers]


def error_response(error: Exception) -> Response:
    """The answer to an error before the upgrade; only texts that were meant for the client are shown."""
    match error:
        case InvalidHandshake():
            return _line(error.status, str(error), tuple(error.headers))
        case UpgradeRefused():
            return _line(error.status, str(error))
        case PermissionDenied():
            return _line(403, "You may not connect here.")
        case Http404():
            return _line(404, "There is no websocket here.")
        case SuspiciousOperation():
            return _line(400, "This request is not acceptable.")
        case LimitReached():
            return _line(503 if error.key == PROCESS else 429, "There are too many websockets already.")
        case _ if isinstance(error, REDIS_AWAY):
            return _line(503, "Redis is not available.")
        case _:
            return _line(500, "The server failed; its log says why.")


def _line(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, f"{text}\n".encode(), headers)


class Opening:
    """The two answers to a handshake, for after the hand-over.

    Args:
        subprotocol: what was agreed on; None is none.
        extensions: the value of Sec-WebSocket-Extensions; None leaves the header out.
    """

    __slots__ = ("_extensions", "_key", "_subprotocol")

    def __init__(self, key: str, subprotocol: str | None, extensions: str | None) -> None:
        self._key = key
        self._subprotocol = subprotocol
        self._extensions = extensions

    def accept(self, subprotocol: str | None = None) -> bytes:
        return accept_response(self._key, subprotocol or self._subprotocol, self._extensions)

    def reject(self, error: Exception) -> bytes:
        return error_response(error).as_bytes()
