"""Compression on the wire, with both doors; browsers are ``websockets`` clients that know what was negotiated."""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import ClientConnection, connect

from tests.servers import Site, Valkey, wait_for

#: the setting, the extension's header of the response
SETTINGS: dict[str, tuple[Any, str | None]] = {
    "off": (False, None),
    "on": (True, "server_no_context_takeover; client_no_context_takeover; client_max_window_bits=15"),
    "with contexts": ({"context_takeover": True, "threshold": 0}, "client_max_window_bits=15"),
    "small": (
        {"window_bits": 9, "level": 9},
        "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=9",
    ),
}


@pytest.fixture(scope="module", params=SETTINGS)
def setting(request: pytest.FixtureRequest) -> tuple[Any, str | None]:
    return SETTINGS[request.param]


@pytest.fixture(scope="module")
def site(door: type[Site], redis_server: Valkey, database: Path, setting: tuple[Any, str | None]) -> Iterator[Site]:
    with door(redis_server.url, DATABASE=str(database), WS4REDIS_DEFLATE=json.dumps(setting[0])) as server:
        yield server


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


def browser(site: Site, path: str, **options: Any) -> ClientConnection:
    return connect(site.url(path, "ws"), open_timeout=20, **options)


def test_what_is_agreed_on(site: Site, setting: tuple[Any, str | None]) -> None:
    with browser(site, "/ws/a") as compressing, browser(site, "/ws/a", compression=None) as plain:
        parameters = setting[1]
        expected = None if parameters is None else f"permessage-deflate; {parameters}"
        assert compressing.response is not None and plain.response is not None
        assert compressing.response.headers.get("Sec-WebSocket-Extensions") == expected
        assert plain.response.headers.get("Sec-WebSocket-Extensions") is None


MESSAGES: list[str | bytes] = ["", "short", "long" * 1000, "Grüße 🎉" * 3000, b"\xff" * 5000, "x" * 500_000]


def test_all_messages_arrive_whoever_compresses(site: Site, redis_server: Valkey, facility: str) -> None:
    """Kept, published and said, to browsers that compress in different ways and to one that does not."""
    redis_server.client().set(f"broadcast:{facility}", "kept" * 1000)
    path = f"/ws/{facility}?subscribe-broadcast&publish-broadcast"
    small = [ClientPerMessageDeflateFactory(server_max_window_bits=9)]
    with (
        browser(site, path) as one,
        browser(site, path) as same,
        browser(site, path, compression=None) as plain,
        browser(site, path, compression=None, extensions=small) as other,
    ):
        browsers = [one, same, plain, other]
        assert [each.recv(timeout=20) for each in browsers] == ["kept" * 1000] * 4
        for message in MESSAGES * 2:
            redis_server.client().publish(f"broadcast:{facility}", message)
            assert [each.recv(timeout=20) for each in browsers] == [message] * 4
            for sender in browsers:
                sender.send(message)
                assert [each.recv(timeout=20) for each in browsers if each is not sender] == [message] * 3


def offering(site: Site, facility: str, offer: str) -> BinaryIO:
    """What is received, to be read frame by frame: most clients hide which are compressed."""
    header = {"Sec-WebSocket-Extensions": offer}
    received: BinaryIO = site.connect(f"/ws/{facility}?subscribe-broadcast", header=header).sock.makefile("rb")
    return received


def next_frame(received: BinaryIO) -> tuple[bool, bytes]:
    """Whether it is compressed, and its payload."""
    first, length = received.read(2)
    assert first in (0x81, 0xC1)
    if length > 125:
        length = int.from_bytes(received.read(2 if length == 126 else 8), "big")
    return first == 0xC1, received.read(length)


def test_one_window_for_all(site: Site, redis_server: Valkey, facility: str, setting: tuple[Any, str | None]) -> None:
    """A message is compressed once, not for each window that somebody asks for."""
    windows = range(9, 16)
    browsers = [offering(site, facility, f"permessage-deflate; server_max_window_bits={each}") for each in windows]
    wanted, redis = setting[0], redis_server.client()
    # where there are several compressors, each has its own; and the only window may be the smallest
    expected = [] if not wanted else [15] if wanted is True else [*windows]

    def compressed() -> list[int]:
        redis.publish(f"broadcast:{facility}", "x" * 100_000)
        return [bits for bits, each in zip(windows, browsers, strict=True) if next_frame(each)[0]]

    wait_for(lambda: compressed() == expected, "the budget is not spent, by other tests", timeout=10)


def test_what_is_beyond_the_budget_is_not_compressed(
    site: Site, redis_server: Valkey, facility: str, setting: tuple[Any, str | None]
) -> None:
    """And arrives all the same, in order, in one stream of a compressor's; soon there is more of it."""
    is_on, redis = bool(setting[0]), redis_server.client()
    large, small = f"{'large':{24 << 20 if is_on else 1 << 20}}".encode(), b"small" * 1000
    raw, inflater = offering(site, facility, "permessage-deflate"), zlib.decompressobj(-15)

    def receive() -> tuple[bool, bytes]:
        compressed, data = next_frame(raw)
        return compressed, inflater.decompress(data + b"\x00\x00\xff\xff") if compressed else data

    def is_compressed() -> bool:
        redis.publish(f"broadcast:{facility}", small)
        compressed, message = receive()
        assert message == small
        return compressed

    if is_on:
        wait_for(is_compressed, "there is some left")
    with redis.pipeline() as pipeline:
        for message in (large, small, small):
            pipeline.publish(f"broadcast:{facility}", message)
        pipeline.execute()
    assert [receive() for _ in range(3)] == [(is_on, large), (False, small), (False, small)]
    if is_on:
        wait_for(is_compressed, "there is more of it")


def test_a_burst(site: Site, redis_server: Valkey, facility: str) -> None:
    messages = [f"{number} " * 300 for number in range(500)]
    with browser(site, f"/ws/{facility}?subscribe-broadcast") as listener, redis_server.client().pipeline() as pipeline:
        for message in messages:
            pipeline.publish(f"broadcast:{facility}", message)
        pipeline.execute()
        assert [listener.recv(timeout=20) for _ in messages] == messages
