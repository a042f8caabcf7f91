"""Compression on the wire, with both doors; browsers are ``websockets`` clients that know what was negotiated."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import ClientConnection, connect

from tests.servers import Site, Valkey

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


def test_a_burst(site: Site, redis_server: Valkey, facility: str) -> None:
    messages = [f"{number} " * 300 for number in range(500)]
    with browser(site, f"/ws/{facility}?subscribe-broadcast") as listener, redis_server.client().pipeline() as pipeline:
        for message in messages:
            pipeline.publish(f"broadcast:{facility}", message)
        pipeline.execute()
        assert [listener.recv(timeout=20) for _ in messages] == messages
