"""The opening handshake, the server's half (RFC 6455, section 4.2): request headers in, the 101 response out."""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ws4redis.protocol.errors import InvalidHandshake, UpgradeRequired

__all__ = ["HEADERS", "Handshake", "accept_key", "accept_response", "read_handshake", "select_subprotocol"]

#: RFC 6455, section 1.3.
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: 7 and 8 are drafts whose frames are those of the RFC's 13.
VERSIONS = frozenset({"13", "8", "7"})
#: Sixteen bytes in base64.
KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
#: RFC 7230, section 3.2.6.
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: Those of a request that matter here, in lower case.
HEADERS = (
    "upgrade",
    "connection",
    "sec-websocket-version",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
)
#: How much of a client's own words an error quotes.
QUOTED_CHARACTERS = 60

_SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

SubprotocolPreference = Sequence[str] | Callable[[Sequence[str]], str | None] | None


class Handshake(NamedTuple):
    """What a valid request asks for."""

    key: str
    subprotocols: tuple[str, ...]
    #: what Sec-WebSocket-Extensions offers, as it came
    extensions: str = ""


def read_handshake(method: str, http_version: str, headers: Mapping[str, str]) -> Handshake:
    """Check the request of an upgrade; header names are in lower case, repeated headers joined with commas."""
    check_request_line(method, http_version)
    check_upgrade(headers)
    check_version(headers)
    return Handshake(read_key(headers), read_subprotocols(headers), headers.get("sec-websocket-extensions", ""))


def check_request_line(method: str, http_version: str) -> None:
    if method != "GET":
        raise InvalidHandshake(f"a websocket is opened with GET, not with {quoted(method)}")
    if http_version != "HTTP/1.1":
        raise InvalidHandshake(
            f"a websocket is opened with HTTP/1.1, but the request came as {quoted(http_version)}; "
            "a proxy on the way may have changed that"
        )


def check_upgrade(headers: Mapping[str, str]) -> None:
    upgrade = headers.get("upgrade", "")
    if "websocket" not in split_list(upgrade.lower()):
        received = f"Upgrade is {quoted(upgrade)}" if upgrade else "there is no Upgrade header"
        raise InvalidHandshake(f"the request does not ask for an upgrade to a websocket: {received}")
    # Connection is for one hop only, and some gateways drop it while they do pass Upgrade on. Without it there is no
    # doubt about what the client wants; a header that says something else is one.
    connection = headers.get("connection")
    if connection is not None and "upgrade" not in split_list(connection.lower()):
        raise InvalidHandshake(f"the Connection header must contain 'upgrade', but it is {quoted(connection)}")


def check_version(headers: Mapping[str, str]) -> None:
    version = headers.get("sec-websocket-version", "").strip(" \t")
    if version not in VERSIONS:
        received = f"is {quoted(version)}" if version else "is missing"
        raise UpgradeRequired(f"Sec-WebSocket-Version must be 13, but it {received}")


def read_key(headers: Mapping[str, str]) -> str:
    key = headers.get("sec-websocket-key", "").strip(" \t")
    if not key:
        raise InvalidHandshake("Sec-WebSocket-Key is missing")
    if not KEY.fullmatch(key):
        raise InvalidHandshake(f"Sec-WebSocket-Key must be 16 bytes in base64, but it is {quoted(key)}")
    return key


def read_subprotocols(headers: Mapping[str, str]) -> tuple[str, ...]:
    subprotocols = split_list(headers.get("sec-websocket-protocol", ""))
    for name in subprotocols:
        if not TOKEN.fullmatch(name):
            raise InvalidHandshake(f"Sec-WebSocket-Protocol contains {quoted(name)}, which is not a token")
    return tuple(dict.fromkeys(subprotocols))


def split_list(value: str) -> list[str]:
    # RFC 7230, section 7: a list may have empty elements, which do not count.
    return [item for part in value.split(",") if (item := part.strip(" \t"))]


def quoted(value: str) -> str:
    """A value of the client, fit for a log and for a response: short, and nothing but printable ASCII."""
    shown = ascii(value[:QUOTED_CHARACTERS])
    return shown if len(value) <= QUOTED_CHARACTERS else f"{shown}..."


def accept_key(key: str) -> str:
    """The proof that the request was read as a handshake (RFC 6455, section 4.2.2, step 5.4)."""
    digest = hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()
    return b2a_base64(digest, newline=False).decode()


def select_subprotocol(offered: Sequence[str], preference: SubprotocolPreference) -> str | None:
    """Choose one of the subprotocols that the client offers, or none.

    The preference is a list of names, best first, or a callable that is given the offered names and returns one of
    them, or None: what is offered alone is taken, and among several the server has no reason to choose.
    """
    if not offered:
        return None
    if preference is None:
        return offered[0] if len(offered) == 1 else None
    if callable(preference):
        return check_offered(preference(offered), offered)
    return next((name for name in preference if name in offered), None)


def check_offered(name: str | None, offered: Sequence[str]) -> str | None:
    # A client must fail the connection when it is given a subprotocol for which it did not ask.
    if name is not None and name not in offered:
        raise ValueError(f"subprotocol {name!r} was selected, but the client offers only {', '.join(offered)}")
    return name


def accept_response(key: str, subprotocol: str | None = None, extensions: str | None = None) -> bytes:
    """Build the whole HTTP response that opens the websocket."""
    response = f"{_SWITCHING}Sec-WebSocket-Accept: {accept_key(key)}\r\n"
    if subprotocol is not None:
        response += f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    if extensions is not None:
        response += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    return f"{response}\r\n".encode()
