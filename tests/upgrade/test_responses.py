"""Which error becomes which HTTP answer, and that both writers say the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

import tests.django_setup  # noqa: F401
from ws4redis.auth.limits import PROCESS
from ws4redis.exceptions import (
    HandshakeError,
    InvalidHandshake,
    RedisIsAway,
    UpgradeRefused,
    UpgradeRequired,
    UpgradeRequiredError,
)
from ws4redis.loop.limits import LimitReached
from ws4redis.upgrade.responses import Response, error_response

VERSION = ("Sec-WebSocket-Version", "13")

# error, status line, text, a header besides type and length
ERRORS: list[tuple[Exception, str, str, tuple[str, str] | None]] = [
    (InvalidHandshake("no key"), "400 Bad Request", "no key", None),
    (HandshakeError("no key"), "400 Bad Request", "no key", None),
    (UpgradeRequired("version"), "426 Upgrade Required", "version", VERSION),
    (UpgradeRequiredError("version"), "426 Upgrade Required", "version", VERSION),
    (UpgradeRefused(414, "too long"), "414 URI Too Long", "too long", None),
    (UpgradeRefused(418, "a teapot"), "418 Rejected", "a teapot", None),
    (PermissionDenied("secret"), "403 Forbidden", "You may not connect here.", None),
    (Http404("secret"), "404 Not Found", "There is no websocket here.", None),
    (SuspiciousOperation("secret"), "400 Bad Request", "This request is not acceptable.", None),
    (LimitReached("user john", 3), "429 Too Many Requests", "There are too many websockets already.", None),
    (LimitReached(PROCESS, 3), "503 Service Unavailable", "There are too many websockets already.", None),
    (RedisIsAway("secret"), "503 Service Unavailable", "Redis is not available.", None),
    (RedisConnectionError("secret"), "503 Service Unavailable", "Redis is not available.", None),
    (RedisTimeoutError("secret"), "503 Service Unavailable", "Redis is not available.", None),
    (ValueError("secret"), "500 Internal Server Error", "The server failed; its log says why.", None),
]


def started(response: Response, method: str = "GET", may_send: Any = lambda name: True) -> tuple[str, Any, bytes]:
    told: list[Any] = []
    body = response.start({"REQUEST_METHOD": method}, lambda *args: told.extend(args), may_send)
    return told[0], told[1], b"".join(body)


def parsed(answer: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    return status, [(name, value) for name, _, value in (line.partition(": ") for line in lines)], body


@pytest.mark.parametrize(("error", "status", "text", "header"), ERRORS, ids=lambda each: type(each).__name__)
def test_errors(error: Exception, status: str, text: str, header: tuple[str, str] | None) -> None:
    response = error_response(error)
    body = f"{text}\n".encode()
    expected = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    told, headers, written = started(response)
    assert (told, headers[:2], written) == (status, expected, body)
    assert (header in headers) if header else (headers == expected)
    # behind the hand-over
    assert parsed(response.as_bytes()) == (f"HTTP/1.1 {status}", [("Connection", "close"), *headers], body)


def test_head_gets_the_headers_only() -> None:
    response = Response(200, b"{}", (("Cache-Control", "no-store"),), "application/json")
    headers = [("Content-Type", "application/json"), ("Content-Length", "2"), ("Cache-Control", "no-store")]
    assert started(response) == ("200 OK", headers, b"{}")
    assert started(response, "HEAD") == ("200 OK", headers, b"")


def test_a_server_may_keep_headers_for_itself() -> None:
    _, headers, _ = started(error_response(UpgradeRequired("version")), may_send=lambda name: name != "Connection")
    assert [name for name, _ in headers] == ["Content-Type", "Content-Length", "Upgrade", "Sec-WebSocket-Version"]
