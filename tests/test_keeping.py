"""What a browser leaves in Redis: in proportion to what it has sent, and never in another program's key; both doors."""

from __future__ import annotations

import json
import random
import uuid
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import redis
from websocket import WebSocket

from tests.browsers import counts
from tests.protocol.client import BINARY, header
from tests.servers import Site, Valkey, wait_for

MIB = 1 << 20


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


def speaker(site: Site, facility: str) -> WebSocket:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    return site.connect(f"/ws/{facility}?publish-broadcast", header=offer)


def plain(browser: WebSocket, message: bytes) -> int:
    frame = header(BINARY, len(message), mask=bytes(4)) + message
    browser.sock.sendall(frame)
    return len(frame)


def compressed(browser: WebSocket, message: bytes) -> int:
    """Returns how many bytes that takes."""
    compressor = zlib.compressobj(9, wbits=-15)
    payload = (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    frame = header(BINARY | 0x40, len(payload), mask=bytes(4)) + payload
    browser.sock.sendall(frame)
    return len(frame)


def table(rows: int) -> bytes:
    """As pages send them."""
    values = random.Random(1)
    return json.dumps([{"id": values.randrange(10**6), "price": values.random()} for _ in range(rows)]).encode()


# what is sent before, the message and how it is sent; whether it is kept
SAID: dict[str, tuple[list[bytes], bytes, Callable[[WebSocket, bytes], int], bool]] = {
    "nothing": ([], b"", compressed, True),
    "a line of a chat": ([], b"hello", compressed, True),
    "a small one, compressed to nothing": ([], b"x" * 1000, compressed, True),
    "a page's text": ([], table(1000), compressed, True),
    "a large one, as it is": ([], bytes(MIB), plain, True),
    "a bomb": ([], bytes(MIB), compressed, False),
    "a small bomb": ([], bytes(20_000), compressed, False),
    "well compressed, by somebody who has said much": ([bytes(MIB // 8)], bytes(MIB), compressed, True),
}


@pytest.mark.parametrize(("before", "message", "send", "is_kept"), SAID.values(), ids=SAID)
def test_what_is_kept(
    site: Site,
    redis_server: Valkey,
    facility: str,
    before: list[bytes],
    message: bytes,
    send: Callable[[WebSocket, bytes], int],
    is_kept: bool,
) -> None:
    """What is not kept is delivered all the same, and the older one is no longer the last."""
    client, channel = redis_server.client(), f"broadcast:{facility}"
    client.set(channel, "older", ex=100)
    listener, browser = site.connect(f"/ws/{facility}?subscribe-broadcast"), speaker(site, facility)
    assert listener.recv() == "older"
    for each in before:
        plain(browser, each)
        assert len(listener.recv()) == len(each)
    send(browser, message)
    received = listener.recv()
    assert (received.encode() if isinstance(received, str) else received) == message
    assert client.get(channel) == (message if is_kept else None)
    assert (client.ttl(channel) > 3500) is is_kept


#: what one connection publishes; each leaves as much as it can
ATTACKS: dict[str, bytes] = {
    "a megabyte from a kilobyte": bytes(MIB),
    "as much as is kept of a kilobyte": bytes(10_000) + random.Random(2).randbytes(1000),
    "as much as is kept of nothing": b"x" * 1000,
}


@pytest.mark.parametrize("message", ATTACKS.values(), ids=ATTACKS)
def test_redis_keeps_no_more_than_twenty_times_what_was_sent(
    site: Site, redis_server: Valkey, facility: str, message: bytes
) -> None:
    """By 300 connections, each on a facility of its own, at most 5 MB in all; shown with a tenth of them."""
    client, sent = redis_server.client(), 0
    for number in range(30):
        listener = site.connect(f"/ws/{facility}{number}?subscribe-broadcast")
        sent += compressed(speaker(site, f"{facility}{number}"), message) + 200  # no handshake is shorter
        assert len(listener.recv()) == len(message)
    left = sum(client.memory_usage(each) for each in client.scan_iter(f"*{facility}*", count=10_000))
    print(f"{left} bytes are left, {left / sent:.1f} times what was sent")
    assert left <= 5_000_000 / 10
    assert left <= 20 * sent


# what is there before, whether it is taken for a kept message
KEYS: dict[str, tuple[Callable[[redis.Redis, str], Any], bool]] = {
    "nothing": (lambda client, name: None, True),
    "a kept message": (lambda client, name: client.set(name, "older", ex=100), True),
    "a string that stays": (lambda client, name: client.set(name, "theirs"), False),
    "a counter": (lambda client, name: client.incr(name), False),
    "a hash": (lambda client, name: client.hset(name, "a", "b"), False),
    "a list": (lambda client, name: client.rpush(name, "a"), False),
    "a set that expires": (lambda client, name: (client.sadd(name, "a"), client.expire(name, 100)), False),
    "a stream that expires": (lambda client, name: (client.xadd(name, {"a": "b"}), client.expire(name, 100)), False),
}


@pytest.mark.parametrize("message", [b"hi", bytes(MIB)], ids=["small", "bomb"])
@pytest.mark.parametrize(("make", "is_ours"), KEYS.values(), ids=KEYS)
def test_another_programs_key_stays_as_it_is(
    site: Site, redis_server: Valkey, facility: str, make: Callable[..., Any], is_ours: bool, message: bytes
) -> None:
    client, channel = redis_server.client(), f"broadcast:{facility}"
    browser, listener = speaker(site, facility), site.connect(f"/ws/{facility}?subscribe-broadcast")
    make(client, channel)
    before, ttl = client.dump(channel), client.ttl(channel)
    compressed(browser, message)
    assert len(listener.recv()) == len(message)
    if is_ours:
        assert client.get(channel) == (message if len(message) < 10 else None)
        return
    assert client.dump(channel) == before
    assert (client.ttl(channel) == -1) is (ttl == -1)
    wait_for(lambda: counts(site)["counters"].get("not kept: the key is not ours"), "it is counted")
    wait_for(lambda: site.log().count("is no last message") == 1, "it is told, once for all of these tests")


def test_what_the_site_publishes_is_kept_whatever_it_is(
    redis_server: Valkey, settings_of_redis: None, facility: str
) -> None:
    from ws4redis.publisher import RedisPublisher

    client, channel = redis_server.client(), f"broadcast:{facility}"
    client.hset(channel, "a", "b")
    RedisPublisher(facility=facility, broadcast=True).publish_message(bytes(MIB))
    assert client.get(channel) == bytes(MIB)
