"""What one visitor may have and do, with both doors: each refusal has its status or close code, and is counted."""

from __future__ import annotations

import json
import socket
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory
from websocket import WebSocket, WebSocketBadStatusException

import tests.django_setup  # noqa: F401
from tests.browsers import counts, get, log_in, plain_socket
from tests.protocol.client import BINARY, PONG, TEXT, frame, header
from tests.servers import Site, Valkey, wait_for
from ws4redis.auth.client_address import client_address
from ws4redis.auth.limits import connection_limits
from ws4redis.core.identity import ANONYMOUS, Identity
from ws4redis.loop.limits import ConnectionLimits, LimitReached
from ws4redis.settings import Options


@pytest.fixture(scope="module")
def site(door: type[Site], redis_server: Valkey, database: Path) -> Iterator[Site]:
    """Every bound is low."""
    bounds: dict[str, Any] = {
        "WS4REDIS_MAX_WEBSOCKETS": 12,
        "WS4REDIS_MAX_WEBSOCKETS_PER_USER": 3,
        "WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS": 5,
        "WS4REDIS_TRUSTED_PROXIES": ["127.0.0.0/8"],
        "WS4REDIS_MAX_CHANNELS": 2,
        "WS4REDIS_MAX_MESSAGES_PER_SECOND": 2,
        "WS4REDIS_MAX_BYTES_PER_SECOND": 1000,
        "WS4REDIS_MAX_MESSAGE_SIZE": 9000,
    }
    environment = {name: json.dumps(value) for name, value in bounds.items()}
    with door(redis_server.url, DATABASE=str(database), **environment) as server:
        yield server


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


def connect_many(site: Site, count: int, path: str = "/ws/a", **options: Any) -> list[int]:
    """The status of each attempt; who gets in stays."""
    statuses = []
    for _ in range(count):
        try:
            statuses.append(site.connect(path, **options).getstatus())
        except WebSocketBadStatusException as error:
            statuses.append(error.status_code)
    return [int(each) for each in statuses]


def from_address(address: str) -> dict[str, Any]:
    return {"header": {"X-Forwarded-For": address}}


def counted(site: Site, reason: str) -> int:
    return int(counts(site)["counters"].get(reason, 0))


def all_have_left(site: Site) -> None:
    site.close_browsers()
    wait_for(lambda: counts(site)["connections"] == 0, "all have left")


def test_websockets_of_one_user(site: Site) -> None:
    john, mary = (f"sessionid={log_in(site, name)}" for name in ("john", "mary"))
    before = counted(site, "rejected with 429")
    assert connect_many(site, 5, cookie=john, **from_address("10.0.0.1")) == [101, 101, 101, 429, 429]
    assert connect_many(site, 1, cookie=mary, **from_address("10.0.0.2")) == [101]
    assert counted(site, "rejected with 429") == before + 2
    all_have_left(site)
    assert connect_many(site, 3, cookie=john, **from_address("10.0.0.1")) == [101] * 3, "all three may come back"


def test_websockets_of_one_address(site: Site) -> None:
    assert connect_many(site, 6, **from_address("10.0.0.3")) == [101] * 5 + [429]
    # what stands before the proxy's own entry is invented
    assert connect_many(site, 1, **from_address("1.2.3.4, 10.0.0.3")) == [429]
    assert connect_many(site, 1, **from_address("10.0.0.4")) == [101]
    all_have_left(site)
    # many addresses of one line
    statuses = [connect_many(site, 1, **from_address(f"[2001:db8::{number}]:1234"))[0] for number in range(6)]
    assert statuses == [101] * 5 + [429]
    assert connect_many(site, 1, **from_address("2001:db8:0:1::1")) == [101]


def test_websockets_of_one_process(site: Site) -> None:
    statuses = [status for number in range(14) for status in connect_many(site, 1, **from_address(f"10.1.0.{number}"))]
    assert statuses == [101] * 12 + [503] * 2
    all_have_left(site)
    assert connect_many(site, 1) == [101]


def test_a_rejected_upgrade_is_not_counted(site: Site) -> None:
    every = "subscribe-session&subscribe-user&subscribe-group&subscribe-broadcast"
    john = f"sessionid={log_in(site, 'john')}"
    assert connect_many(site, 20, f"/ws/a?{every}", cookie=john) == [403] * 20
    assert connect_many(site, 3, cookie=john) == [101] * 3


CHANNELS = [
    ("subscribe-broadcast", 101),
    ("subscribe-broadcast&subscribe-user", 101),
    ("subscribe-broadcast&subscribe-user&subscribe-session", 403),
    ("subscribe-broadcast&subscribe-user&publish-broadcast&publish-user", 101),
    ("publish-broadcast&publish-user&publish-session", 403),
]


@pytest.mark.parametrize(("flags", "status"), CHANNELS)
def test_channels_of_one_websocket(site: Site, flags: str, status: int) -> None:
    assert connect_many(site, 1, f"/ws/a?{flags}", cookie=f"sessionid={log_in(site, 'john')}") == [status]


def messages(browser: WebSocket) -> None:
    for number in range(21):
        browser.send(str(number))


def large_messages(browser: WebSocket) -> None:
    for _ in range(2):
        browser.send("x" * 9000)


def pings(browser: WebSocket) -> None:
    for _ in range(100):
        browser.ping("x" * 125)


def fragments(browser: WebSocket) -> None:
    browser.sock.sendall(b"\x01\x80mask" + b"\x00\x80mask" * 2000)


def compressed_messages(browser: WebSocket) -> None:
    """Of some 30 bytes each."""
    payload = zlib.compress(bytes(9000), wbits=-15)
    for _ in range(2):
        browser.sock.sendall(header(BINARY | 0x40, len(payload), mask=bytes(4)) + payload)


TOO_MUCH: dict[str, Callable[[WebSocket], None]] = {
    "messages": messages,
    "bytes": large_messages,
    "bytes, decompressed": compressed_messages,
    "bytes of pings": pings,
    "fragments": fragments,
}


@pytest.mark.contract("differs from 0.6: how much a browser may say")
@pytest.mark.parametrize("send", TOO_MUCH.values(), ids=TOO_MUCH)
def test_who_sends_too_much_is_closed_with_1008(site: Site, facility: str, send: Callable[[WebSocket], None]) -> None:
    before = counted(site, "closed with 1008")
    other = site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast&echo")
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    browser = site.connect(f"/ws/{facility}?publish-broadcast", header=offer)
    send(browser)
    while (frame := browser.recv_frame()).opcode != 0x8:
        pass
    assert frame.data[:2] == (1008).to_bytes(2, "big")
    browser.close()
    other.send("all is well")
    while other.recv() != "all is well":
        pass
    wait_for(lambda: counted(site, "closed with 1008") == before + 1, "it is counted")


# many that publish


def test_a_view_gets_a_connection_while_browsers_hold_theirs(door: type[Site], valkey: Valkey, database: Path) -> None:
    settings = {
        "WS4REDIS_SUBSCRIBER": "tests.site.hooks.HoldingSubscriber",
        "WS4REDIS_MAX_CONNECTIONS": 4,
        "WS4REDIS_TIMEOUT": 20,
    }
    environment = {name: json.dumps(value) for name, value in settings.items()}
    redis = valkey.client()
    with door(valkey.url, DATABASE=str(database), **environment) as site:
        browsers = [site.connect("/ws/held?publish-broadcast") for _ in range(8)]
        ear = site.connect("/ws/held?subscribe-broadcast")
        for number, browser in enumerate(browsers):
            browser.send(str(number))
        wait_for(lambda: redis.info("clients")["blocked_clients"] >= 3, "browsers hold connections")
        for _ in range(10):
            assert get(site, "/publish?facility=view&message=hi") == "0"
        assert redis.info("clients")["blocked_clients"] == 3, "the others wait"
        redis.rpush("gate", *range(8))
        assert sorted(ear.recv() for _ in browsers) == [str(number) for number in range(8)]


@pytest.mark.parametrize("connections", [1, 16])
def test_a_view_is_answered_while_hundreds_publish(
    door: type[Site], redis_server: Valkey, database: Path, facility: str, connections: int
) -> None:
    """All want a connection all the time; nobody waits in vain for one, but for as long as a starved machine takes."""
    settings = {
        "WS4REDIS_MAX_CONNECTIONS": connections,
        "WS4REDIS_TIMEOUT": 15,
        "WS4REDIS_MAX_MESSAGES_PER_SECOND": None,
    }
    environment = {name: json.dumps(value) for name, value in settings.items()}
    count = 300 if door.__name__ == "UWSGI" else 30
    with door(redis_server.url, DATABASE=str(database), **environment) as site, ExitStack() as stack:
        path = f"/ws/{facility}?publish-broadcast"
        browsers = [stack.enter_context(closing(plain_socket(site, path))) for _ in range(count)]
        for browser in browsers:
            browser.sendall(frame(TEXT, b"hi") * 400)
        for _ in range(10):
            assert get(site, f"/publish?facility={facility}&message=view") == "0"
        assert counts(site)["connected"] == count and "is not available" not in site.log()


# slow browsers

POLICIES = {"close": 1013, "conflate": None, "drop": None}
LIMIT = 1 << 20


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def slow_site(door: type[Site], redis_server: Valkey, database: Path, policy: str) -> Iterator[Site]:
    environment = {"WS4REDIS_SLOW_BROWSER": json.dumps(policy), "WS4REDIS_OUTBOX_SIZE": json.dumps(LIMIT)}
    with door(redis_server.url, DATABASE=str(database), **environment) as server:
        yield server


def numbered(number: int) -> str:
    return f"{number:08} " + "x" * 50_000


def test_slow_browsers(slow_site: Site, redis_server: Valkey, policy: str) -> None:
    """One does not read while 300 times as much is published as may wait; what it gets then depends."""
    redis, total = redis_server.client(), 1000
    fast_client = {"skip_utf8_validation": True}  # else it would be the slow one, where wsaccel is not installed
    small_buffer = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
    slow = slow_site.connect("/ws/flood?subscribe-broadcast", sockopt=small_buffer, **fast_client)
    quick = slow_site.connect("/ws/flood?subscribe-broadcast", **fast_client)
    for number in range(total):
        redis.publish("broadcast:flood", numbered(number))
        assert quick.recv() == numbered(number), "nobody waits for the slow one"
    got = []
    while True:
        opcode, data = slow.recv_data()
        if opcode == 0x8:
            assert int.from_bytes(data[:2], "big") == POLICIES[policy] and data[2:] == b"too slow"
            break
        got.append(int(data.split()[0]))
        if got[-1] == total - 1:
            break
    assert got == sorted(set(got)), "in order, none twice"
    assert len(got) < total
    if policy == "close":
        assert got == list(range(len(got))), "all until it was closed"
        wait_for(lambda: counted(slow_site, "closed with 1013") == 1, "it is counted")
        return
    assert got[-1] == total - 1
    lost = total - len(got)
    assert counted(slow_site, "dropped for a slow browser") == lost
    assert slow_site.log().count("reads too slowly") >= 1
    if policy == "conflate":
        first_gap = next(number for number, each in enumerate(got) if number != each)
        print(f"{lost} of {total} dropped, the first after {first_gap}")
    redis.publish("broadcast:flood", "afterwards")
    assert [slow.recv(), quick.recv()] == ["afterwards"] * 2


def test_who_never_reads_is_cut_off(door: type[Site], redis_server: Valkey, database: Path, policy: str) -> None:
    """However alive it is otherwise; one that reads a little now and then is not. The clock runs faster."""
    count, mebibyte = 20, "x" * (1 << 20)
    environment = {"WS4REDIS_SLOW_BROWSER": json.dumps(policy), "TICK_SECONDS": "0.2"}
    with door(redis_server.url, DATABASE=str(database), **environment) as site, ExitStack() as stack:
        counts(site)  # which sets the clock
        path = "/ws/large?subscribe-broadcast"
        stuck = [stack.enter_context(closing(plain_socket(site, path, 4096))) for _ in range(count)]
        slow = stack.enter_context(closing(plain_socket(site, path, 4096)))
        published = 3 if policy == "close" else 6
        for _ in range(published):
            redis_server.client().publish("broadcast:large", mebibyte)
        wait_for(lambda: counts(site)["waiting"] > count << 20, "much waits")

        def closed() -> bool:
            for browser in stuck:
                with suppress(OSError):
                    browser.sendall(frame(PONG))
            slow.sendall(frame(PONG))
            return bool(slow.recv(1 << 14)) and counted(site, "closed with 1013") == count

        wait_for(closed, "all that never read are closed", timeout=60)
        assert counts(site)["connections"] == 1
        assert counts(site)["waiting"] < 4 << 20, "of one alone"


def test_fifty_of_a_thousand_never_read(door: type[Site], redis_server: Valkey, database: Path) -> None:
    """The others get everything, and memory stays below what the bounds allow."""
    sockets, silent, number, size = (1000, 50, 100, 20_000) if door.__name__ == "UWSGI" else (150, 50, 50, 20_000)
    environment = {"WS4REDIS_OUTBOX_SIZE": json.dumps(LIMIT)}
    with door(redis_server.url, DATABASE=str(database), **environment) as site:
        stalled = [plain_socket(site, "/ws/stream?subscribe-broadcast") for _ in range(silent)]
        for each in stalled:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        readers = [plain_socket(site, "/ws/stream?subscribe-broadcast") for _ in range(sockets - silent)]
        wait_for(lambda: counts(site)["connected"] == sockets, "all are connected")
        before = counts(site)["memory"]
        expected = number * (size + 4)
        received = dict.fromkeys(readers, 0)
        for each in range(number):
            redis_server.client().publish("broadcast:stream", str(each % 10) * size)
            for reader, count in received.items():
                while received[reader] < (each + 1) * (size + 4):
                    received[reader] += len(reader.recv(1 << 16))
                assert count <= expected
        grown = counts(site)["memory"] - before
        most = silent * LIMIT + 64 * (1 << 20)
        print(f"{grown / (1 << 20):.1f} MiB more, {most / (1 << 20):.0f} MiB allowed")
        assert grown < most
        assert set(received.values()) == {expected}
        for each in [*stalled, *readers]:
            each.close()


# the parts

ADDRESSES: list[tuple[list[str] | None, str, str | None, str]] = [
    (None, "1.1.1.1", None, "1.1.1.1"),
    (None, "1.1.1.1", "2.2.2.2", "1.1.1.1"),
    (["10.0.0.0/8"], "1.1.1.1", "2.2.2.2", "1.1.1.1"),
    (["10.0.0.0/8"], "10.0.0.1", "2.2.2.2", "2.2.2.2"),
    (["10.0.0.0/8"], "10.0.0.1", "3.3.3.3, 2.2.2.2", "2.2.2.2"),
    (["10.0.0.0/8"], "10.0.0.1", "3.3.3.3, 2.2.2.2, 10.0.0.2", "2.2.2.2"),
    (["10.0.0.1"], "10.0.0.1", "garbage", "unknown"),
    (["10.0.0.1"], "10.0.0.1", "", ""),
    (["10.0.0.1"], "10.0.0.1", "2.2.2.2, ", "unknown"),
    (["unix"], "", "2.2.2.2, ", "unknown"),
    (["unix"], "", "2.2.2.2, 3.3.3.300", "unknown"),
    (["unix"], "", "2.2.2.2, for=3.3.3.3", "unknown"),
    (["unix"], "", "x" * 100_000, "unknown"),
    # with ports, brackets, zones, and IPv4 in IPv6
    (["unix"], "", "2.2.2.2:1234", "2.2.2.2"),
    (["unix"], "", "[2001:db8::1]:1234", "2001:db8::1"),
    (["unix"], "", "[2001:db8::1]", "2001:db8::1"),
    (["unix"], "", "2001:DB8:0::1", "2001:db8::1"),
    (["unix"], "", "fe80::1%eth0", "fe80::1"),
    (["unix"], "", "[fe80::1%25eth0]:1234", "fe80::1"),
    (["unix"], "", "::ffff:2.2.2.2", "2.2.2.2"),
    (["unix"], "", "[::ffff:202:202]:1234", "2.2.2.2"),
    (["10.0.0.0/8"], "::ffff:10.0.0.1", "2.2.2.2", "2.2.2.2"),
    (["10.0.0.0/8"], "10.0.0.1", "2.2.2.2, 10.0.0.2:1234", "2.2.2.2"),
    (["10.0.0.0/8", "2001:db8::/32"], "10.0.0.1", "2.2.2.2, [2001:db8::2]:1234", "2.2.2.2"),
    (["10.0.0.0/8"], "::ffff:1.1.1.1", "2.2.2.2", "1.1.1.1"),
    (["10.0.0.1"], "10.0.0.1", None, ""),
    (["unix"], "", "2.2.2.2", "2.2.2.2"),
    (["unix"], "0.0.0.0", "2.2.2.2", "2.2.2.2"),
    ([], "0.0.0.0", "2.2.2.2", ""),
    (["10.0.0.0/8"], "", "2.2.2.2", ""),
    (["::1/128"], "::1", "2001:db8::1", "2001:db8::1"),
]


@pytest.mark.parametrize(("proxies", "remote", "forwarded", "address"), ADDRESSES)
def test_client_address(proxies: list[str] | None, remote: str, forwarded: str | None, address: str) -> None:
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    assert client_address(RequestFactory().get("/ws/a", REMOTE_ADDR=remote, **headers), proxies or ()) == address


# two addresses, and whether they count as one
SUBSCRIBERS: list[tuple[str, str, bool]] = [
    ("2.2.2.2", "2.2.2.3", False),
    ("2.2.2.2", "::ffff:2.2.2.2", True),
    ("2.2.2.2", "2.2.2.2:1234", True),
    ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
    ("2001:db8::1", "[2001:DB8::2]:1234", True),
    ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ("fe80::1%eth0", "fe80::1%eth1", True),
    ("garbage", "other garbage", True),
    ("garbage", "2.2.2.2", False),
]


@pytest.mark.parametrize(("one", "other", "share"), SUBSCRIBERS)
def test_which_addresses_count_as_one(one: str, other: str, share: bool) -> None:
    options = Options(max_websockets_per_address=5, trusted_proxies=["unix"])
    first, second = (
        connection_limits(
            RequestFactory().get("/ws/a", REMOTE_ADDR="", HTTP_X_FORWARDED_FOR=address), ANONYMOUS, options
        )
        for address in (one, other)
    )
    assert list(first.values()) == list(second.values()) == [5]
    assert (first == second) == share


def test_by_default_only_users_are_counted() -> None:
    request = RequestFactory().get("/ws/a")
    assert connection_limits(request, ANONYMOUS, Options()) == {}
    assert connection_limits(request, Identity("john"), Options()) == {"user john": 2000}


def test_limits_are_acquired_all_or_none() -> None:
    limits = ConnectionLimits()
    assert limits.acquire({"a": 1, "b": 2}) == ("a", "b")
    with pytest.raises(LimitReached, match="a has 1 websockets already"):
        limits.acquire({"b": 2, "a": 1})
    assert limits.acquire({"b": 2}) == ("b",)
    for keys in (("a", "b"), ("b",)):
        limits.release(keys)
    assert not limits._counts
