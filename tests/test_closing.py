"""The end of a websocket, whoever begins it (RFC 6455, section 7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import websocket

from tests.browsers import counts
from tests.servers import Site, Valkey, wait_for


@pytest.fixture(scope="module")
def site(door: type[Site], redis_server: Valkey, database: Path) -> Iterator[Site]:
    with door(redis_server.url, DATABASE=str(database), LOG_LEVEL="DEBUG") as server:
        yield server


# what the browser sends in its close frame, what comes back
CLOSES = [
    (b"", 1000, ""),
    (b"\x03\xe8", 1000, ""),
    (b"\x03\xe9going", 1001, "going"),
    (b"\x03\xea", 1002, ""),
    (b"\x03\xeb", 1003, ""),
    (b"\x03\xef\xc3\xbc", 1007, "ü"),
    (b"\x03\xf0", 1008, ""),
    (b"\x03\xf1", 1009, ""),
    (b"\x03\xf2", 1010, ""),
    (b"\x03\xf3", 1011, ""),
    (b"\x0b\xb8", 3000, ""),
    (b"\x13\x87", 4999, ""),
    (b"\x03", 1002, None),
    (b"\x03\xec", 1002, None),
    (b"\x03\xed", 1002, None),
    (b"\x03\xee", 1002, None),
    (b"\x03\xf7", 1002, None),
    (b"\x00\x00", 1002, None),
    (b"\x07\xd0", 1002, None),
    (b"\x13\x88", 1002, None),
    (b"\x03\xe8\xff", 1007, None),
]


def closed_with(browser: websocket.WebSocket) -> tuple[int, str]:
    frame = browser.recv_frame()  # which does not answer, as recv_data() would
    assert frame.opcode == websocket.ABNF.OPCODE_CLOSE
    return int.from_bytes(frame.data[:2], "big"), frame.data[2:].decode()


@pytest.mark.contract(
    "8.5 uWSGI: decided: close frames are sent",
    "12 closing: the browser closes without a code: 1000",
    "12 closing: the browser closes with a code: the same, with its reason",
    "12 closing: 1002: a code that must not be sent, or half of one",
    "12 closing: 1007: text or a reason that is no UTF-8",
    "asks unicode: #135, #139, #142: close frames under Python 3",
    "asks deployment: #238, #239: a close code where a status should be",
    "differs from 0.6: how a websocket ends",
)
@pytest.mark.parametrize(("payload", "code", "reason"), CLOSES)
def test_the_browser_closes(site: Site, payload: bytes, code: int, reason: str | None) -> None:
    browser = site.connect()
    browser.send(payload, websocket.ABNF.OPCODE_CLOSE)
    answer = closed_with(browser)
    assert answer[0] == code
    if reason is not None:
        assert answer[1] == reason
    assert browser.sock.recv(1) == b"", "the server ends the connection first"


# raw bytes that break the protocol, and with what they are answered
BROKEN = {
    "not masked": (b"\x81\x02hi", 1002),
    "reserved bit": (b"\xc1\x80\x00\x00\x00\x00", 1002),
    "reserved opcode": (b"\x83\x80\x00\x00\x00\x00", 1002),
    "fragmented ping": (b"\x09\x80\x00\x00\x00\x00", 1002),
    "nothing to continue": (b"\x80\x80\x00\x00\x00\x00", 1002),
    "text that is no UTF-8": (b"\x81\x81\x00\x00\x00\x00\xff", 1007),
    "too big": (b"\x81\xff\x00\x00\x00\x00\x00\x10\x00\x01\x00\x00\x00\x00", 1009),
}


@pytest.mark.contract(
    "8.5 uWSGI: decided: fragments of two browsers do not mix, and a bad one ends its own websocket only",
    "12 closing: 1002: a reserved bit or opcode",
    "12 closing: 1002: a control frame that is fragmented or too long",
    "12 closing: 1007: text or a reason that is no UTF-8",
    "12 closing: 1009, decided: a message is too large",
)
@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN)
def test_the_protocol_is_broken(site: Site, data: bytes, code: int) -> None:
    browser = site.connect()
    browser.sock.sendall(data + b"whatever follows")
    assert closed_with(browser)[0] == code
    browser.shutdown()
    wait_for(lambda: counts(site)["connections"] == 0, "it has left")


@pytest.mark.contract("12 closing: decided: a browser that just goes gets no close frame")
def test_the_browser_just_goes(site: Site) -> None:
    site.connect().shutdown()
    wait_for(lambda: counts(site)["connections"] == 0, "it has left")


@pytest.mark.contract("12 closing: decided: a normal end is quiet")
def test_the_log_tells_openings_and_ends_at_debug(site: Site) -> None:
    browser = site.connect("/ws/logged?subscribe-broadcast")
    browser.send(b"\x03\xe9see you", websocket.ABNF.OPCODE_CLOSE)
    found = wait_for(lambda: re.search(r"DEBUG websocket (\w+) opens on '/ws/logged'", site.log()), "the opening")
    line = f"DEBUG websocket {found[1]} closed with 1001 'see you'"
    wait_for(lambda: line in site.log(), line)
    assert "Traceback" not in site.log()
