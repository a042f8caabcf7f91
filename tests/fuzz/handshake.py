"""Requests for a websocket: the request line and headers, as a WSGI server hands them on.

The parts of an input are the kind of preference for subprotocols, the method, the HTTP version, and headers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from tests.fuzz import SEPARATOR, is_plain
from ws4redis.protocol import (
    Handshake,
    InvalidHandshake,
    UpgradeRequired,
    accept_response,
    read_handshake,
    select_subprotocol,
)
from ws4redis.protocol.deflate import Agreement, Options, agree

SETTINGS: dict[str, Any] = {}

ADDRESS = parse_uri("ws://testserver/ws/foobar")

#: all that a refusal says, whatever was asked
MAX_TEXT = 500

PREFERENCES: dict[str, Sequence[str] | Callable[[Sequence[str]], str | None] | None] = {
    "": None,
    "list": ["news", "chat"],
    "last": lambda offered: offered[-1],
    "stubborn": lambda offered: "stubborn\r\nInjected: yes",
}

OPTIONS = [Options(), Options(context_takeover=True), Options(context_takeover=True, window_bits=9)]


def parsed(data: bytes) -> tuple[str, str, str, dict[str, str]]:
    preference, method, http_version, *lines = (data.decode("latin-1") + 3 * chr(SEPARATOR[0])).split(chr(SEPARATOR[0]))
    headers: dict[str, str] = {}
    for line in lines:
        name, found, value = line.partition(":")
        if found:
            name = name.lower()
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    return preference, method, http_version, headers


def check(data: bytes) -> None:
    preference, method, http_version, headers = parsed(data)
    try:
        handshake = read_handshake(method, http_version, headers)
    except InvalidHandshake as error:
        check_refusal(error)
        assert not websockets_accepts(method, http_version, headers), f"websockets accepts this: {error}"
        return
    check_handshake(handshake, headers)
    for options in OPTIONS:
        agreement = agree(handshake.extensions, options)
        try:
            subprotocol = select_subprotocol(handshake.subprotocols, PREFERENCES.get(preference))
        except ValueError:
            assert preference == "stubborn", "only what is not offered is refused"
            return
        check_response(handshake, subprotocol, agreement)


def check_refusal(error: InvalidHandshake) -> None:
    assert error.status == (426 if isinstance(error, UpgradeRequired) else 400)
    assert is_plain(str(error)) and len(str(error)) < MAX_TEXT, "the refusal is not one short line"
    assert all(is_plain(name) and is_plain(value) for name, value in error.headers)


def check_handshake(handshake: Handshake, headers: dict[str, str]) -> None:
    assert handshake.key in headers["sec-websocket-key"] and len(handshake.key) == 24
    assert len(set(handshake.subprotocols)) == len(handshake.subprotocols)
    assert all(name in headers["sec-websocket-protocol"] for name in handshake.subprotocols)


def check_response(handshake: Handshake, subprotocol: str | None, agreement: Agreement | None) -> None:
    extensions = agreement.response if agreement is not None else None
    response = accept_response(handshake.key, subprotocol, extensions)
    lines = response.decode("ascii").split("\r\n")
    assert lines[-2:] == ["", ""] and all(lines[:-2]) and all(map(is_plain, lines)), "a line is split"
    names = [line.partition(": ")[0] for line in lines[1:-2]]
    expected = ["Upgrade", "Connection", "Sec-WebSocket-Accept"]
    expected += ["Sec-WebSocket-Protocol"] * (subprotocol is not None)
    assert names == expected + ["Sec-WebSocket-Extensions"] * (agreement is not None)
    if extensions is not None and "client_max_window_bits=8" in extensions:
        return  # which zlib, and so websockets, cannot keep
    client = ClientProtocol(
        ADDRESS,
        subprotocols=list(handshake.subprotocols) or None,
        extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)] if agreement is not None else None,
    )
    client.key = handshake.key
    client.send_request(Request("/ws/foobar", Headers()))
    client.receive_data(response)
    assert client.handshake_exc is None, f"websockets does not accept the answer: {client.handshake_exc!r}"
    assert client.state is OPEN and client.subprotocol == subprotocol


def websockets_accepts(method: str, http_version: str, headers: dict[str, str]) -> bool:
    if (method, http_version) != ("GET", "HTTP/1.1"):
        return False
    try:
        request = Request("/ws/foobar", Headers(headers))
    except InvalidHeader:
        return False
    return ServerProtocol().accept(request).status_code == 101


GOOD = {
    "host": "server.example.com",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
}

CHANGES: dict[str, dict[str, str]] = {
    "good": {},
    # RFC 6455, section 1.2
    "rfc": {"origin": "http://example.com", "sec-websocket-protocol": "chat, superchat"},
    "lists": {"upgrade": "h2c, WebSocket,", "connection": "keep-alive,\tUPGRADE ,"},
    "draft": {"sec-websocket-version": " 8 "},
    "other-version": {"sec-websocket-version": "13, 8"},
    "no-upgrade": {"upgrade": "h2c"},
    "no-connection": {"connection": "close"},
    "key-short": {"sec-websocket-key": "dGhlIHNhbXBsZSBub24="},
    "key-split": {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==\r\nInjected: yes"},
    "key-foreign": {"sec-websocket-key": "\xe9" * 22 + "=="},
    "subprotocol-split": {"sec-websocket-protocol": "chat\r\nInjected: yes"},
    "subprotocol-no-token": {"sec-websocket-protocol": "a/b\x00"},
    "subprotocols": {"sec-websocket-protocol": "chat, chat, news"},
    # RFC 7692, section 7.1
    "deflate": {"sec-websocket-extensions": "permessage-deflate; client_max_window_bits"},
    "deflate-all": {
        "sec-websocket-extensions": "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
        'server_max_window_bits="10"; client_max_window_bits=9, permessage-deflate'
    },
    "deflate-wrong": {"sec-websocket-extensions": "foo; bar, permessage-deflate; server_max_window_bits=16; x\r\n=1"},
}


def made_of(preference: str, method: str, http_version: str, headers: dict[str, str]) -> bytes:
    parts = [preference, method, http_version, *(f"{name}:{value}" for name, value in headers.items())]
    return SEPARATOR.join(part.encode("latin-1") for part in parts)


def seeds() -> dict[str, bytes]:
    found = {name: made_of("", "GET", "HTTP/1.1", {**GOOD, **changes}) for name, changes in CHANGES.items()}
    found |= {name: made_of(name, "GET", "HTTP/1.1", {**GOOD, **CHANGES["rfc"]}) for name in PREFERENCES if name}
    found["post"] = made_of("", "POST\r\n", "HTTP/1.1", GOOD)
    found["http-2"] = made_of("", "GET", "HTTP/2\x1b[31m", GOOD)
    found["nothing"] = b""
    return found
