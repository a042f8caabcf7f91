"""Browsers for the tests, one at a time and by the thousand."""

from __future__ import annotations

import json
import socket
import urllib.request
from typing import Any

from tests.servers import Site


def get(site: Site, path: str) -> str:
    with urllib.request.urlopen(site.url(path), timeout=60) as response:
        return response.read().decode()


def counts(site: Site) -> dict[str, Any]:
    return json.loads(get(site, "/counts"))


def log_in(site: Site, name: str) -> str:
    """The session key of a fresh login."""
    return get(site, f"/login/{name}")


def all_counts(site: Site) -> dict[int, dict[str, Any]]:
    """The counts of every worker, by number."""
    found: dict[int, dict[str, Any]] = {}
    while len(found) < site.workers:
        answer = counts(site)
        found[answer["worker"]] = answer
    return found


_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def handshake(path: str) -> bytes:
    return _HANDSHAKE.format(path=path).encode()


def plain_socket(site: Site, path: str, receive_buffer: int | None = None) -> socket.socket:
    """A websocket of which nothing but the handshake is known: light enough for thousands."""
    browser = socket.socket()
    browser.settimeout(60)
    if receive_buffer is not None:
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    browser.connect(("127.0.0.1", site.port))
    browser.sendall(handshake(path))
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += browser.recv(4096)
    assert received.startswith(b"HTTP/1.1 101 "), received
    return browser
