"""The WSGI application without a door, for requests that targets make up."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from types import SimpleNamespace
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.test import override_settings

from tests.fuzz import is_plain
from ws4redis.exceptions import UpgradeRefused
from ws4redis.loop.limits import ConnectionLimits
from ws4redis.upgrade.responses import Response, error_response
from ws4redis.wsgi_server import WebsocketWSGIServer

#: the only headers of an answer
HEADERS = {"Content-Type", "Content-Length", "Upgrade", "Connection", "Sec-WebSocket-Version"}

HANDSHAKE = {
    "REQUEST_METHOD": "GET",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "testserver",
    "SERVER_PORT": "80",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/ws/foobar",
    "QUERY_STRING": "",
    "wsgi.url_scheme": "http",
    "wsgi.input": BytesIO(),
    "HTTP_HOST": "testserver",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
    "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
}


class LimitsOnly:
    """What a request asks of the loop."""

    def __init__(self) -> None:
        limits = ConnectionLimits()
        self.acquire, self.release = limits.acquire, limits.release

    def check_redis(self) -> None:
        """It is there."""


class Doorless(WebsocketWSGIServer):
    """Nobody gets past the last step, and a 500 is raised."""

    runtime: Any = SimpleNamespace(run_in_thread=lambda function, *args: function(*args))
    #: of the loop there is no more
    process: Any = LimitsOnly()
    #: the one under way, once it may come in
    request: HttpRequest | None = None

    def _make_endpoint(self, request: HttpRequest) -> Any:
        self.request = request
        return super()._make_endpoint(request)

    def upgrade_websocket(self, environ: Any, start_response: Any) -> Any:
        raise UpgradeRefused(503, "so far so good")

    def _reject(self, error: Exception) -> Response:
        if error_response(error).status == 500:
            raise error
        return super()._reject(error)


server = cache(Doorless)


class Answer(NamedTuple):
    #: 101 stands for whoever would get in
    status: int
    body: str
    #: identified, where it has a cookie
    request: HttpRequest | None


def answer(environ: dict[str, str]) -> Answer:
    told: list[tuple[str, list[tuple[str, str]]]] = []
    application = server()
    application.request = None
    body = b"".join(application({**HANDSHAKE, **environ}, lambda *args: told.append(args))).decode("ascii")
    [(status, headers)] = told
    assert is_plain(status) and all(name in HEADERS and is_plain(value) for name, value in headers), "a header is split"
    assert body.endswith("\n") and is_plain(body[:-1]), "the body is not one line of ASCII"
    return Answer(101 if body == "so far so good\n" else int(status[:3]), body, application.request)


class OneLine(logging.Handler):
    """Fails where a message would be more than one line of the log."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        assert message.isprintable(), f"this must not reach the log as it is: {message!r}"


@contextmanager
def surroundings(target: Any) -> Iterator[None]:
    """What a target needs: its settings, and a log that looks at each line."""
    with override_settings(**target.SETTINGS), strict_log(), warnings.catch_warnings():
        # of caches, about keys that another cache would not take
        warnings.simplefilter("ignore")
        yield


@contextmanager
def strict_log() -> Iterator[None]:
    handler = OneLine()
    loggers = [logging.getLogger(name) for name in ("django", "django.request", "ws4redis")]
    before = [(each, each.level, each.propagate, each.handlers[:]) for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
        each.propagate = False
        each.handlers[:] = [handler]
    try:
        yield
    finally:
        for each, level, propagate, handlers in before:
            each.setLevel(level)
            each.propagate = propagate
            each.handlers[:] = handlers
