"""Signs of life, in both directions."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import websocket

from tests.servers import Site, Valkey
from ws4redis.publisher import RedisPublisher

HEARTBEAT = "--heartbeat--"


@pytest.fixture(scope="module")
def site(door: type[Site], redis_server: Valkey, database: Path) -> Iterator[Site]:
    with door(redis_server.url, DATABASE=str(database), WS4REDIS_HEARTBEAT=f'"{HEARTBEAT}"') as server:
        yield server


@pytest.mark.contract(
    "10 heartbeat: a browser gets the very text at least every four seconds",
    "14 manual: 11 a heartbeat at least every 4 s",
)
def test_idle_browsers_get_one_at_least_every_4_seconds(site: Site) -> None:
    browser = site.connect("/ws/idle?subscribe-broadcast")
    times = [time.monotonic()]
    for _ in range(3):
        assert browser.recv() == HEARTBEAT
        times.append(time.monotonic())
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    print("gaps:", *(f"{gap:.2f} s" for gap in gaps))
    assert max(gaps) < 4 * 2
    assert min(gaps[1:]) > 1, "a heartbeat is for idle browsers"


@pytest.mark.contract(
    "10 heartbeat: a browser's heartbeat, text or binary, is neither published nor kept",
    "10 heartbeat: decided: a heartbeat is sent only if nothing else is, or as an answer",
    "differs from 0.6: heartbeats",
)
@pytest.mark.parametrize("opcode", [websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY])
def test_a_browsers_heartbeat_is_answered_and_goes_no_further(site: Site, redis_server: Valkey, opcode: int) -> None:
    facility = uuid.uuid4().hex
    path = f"/ws/{facility}?subscribe-broadcast&publish-broadcast&echo"
    browser, other = site.connect(path), site.connect(path)
    browser.send(HEARTBEAT, opcode)
    assert browser.recv() == HEARTBEAT
    assert redis_server.client().get(f"broadcast:{facility}") is None
    browser.send("message")
    received = [other.recv()]
    while received[-1] != "message":
        received.append(other.recv())
    assert len(received) <= 2, "at most one, for being idle"


def until(browser: websocket.WebSocket, last: str) -> list[str]:
    """What arrives before the last."""
    return list(iter(browser.recv, last))


@pytest.mark.contract("7 URLs: without a flag a websocket gets heartbeats")
def test_without_any_flag_it_arrives_too(site: Site) -> None:
    assert site.connect("/ws/idle").recv() == HEARTBEAT


@pytest.mark.contract("10 heartbeat: a heartbeat that is published by hand is sent on")
def test_published_by_hand_it_is_sent_on(site: Site, redis_server: Valkey) -> None:
    browser = site.connect("/ws/byhand?subscribe-broadcast")
    for message in [HEARTBEAT] * 5 + ["end"]:
        redis_server.client().publish("broadcast:byhand", message)
    assert until(browser, "end").count(HEARTBEAT) >= 5


@pytest.mark.contract(
    "10 heartbeat: decided: a heartbeat between own messages does not bring them back",
    "asks delivery: #173: own messages come back without echo",
)
def test_one_between_own_messages_does_not_bring_them_back(site: Site, redis_server: Valkey) -> None:
    facility = uuid.uuid4().hex
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast")
    other = site.connect(f"/ws/{facility}?subscribe-broadcast")
    for message in ("one", HEARTBEAT, "two", HEARTBEAT):
        browser.send(message)
    assert set(until(other, "two")) - {HEARTBEAT} == {"one"}
    redis_server.client().publish(f"broadcast:{facility}", "end")
    assert set(until(browser, "end")) == {HEARTBEAT}


@pytest.mark.contract("10 heartbeat: without the setting nothing is filtered")
def test_without_the_setting_nothing_is_filtered(
    door: type[Site], redis_server: Valkey, settings_of_redis: None
) -> None:
    with door(redis_server.url) as quiet:
        browser = quiet.connect("/ws/unset?subscribe-broadcast&publish-broadcast&echo")
        browser.send(HEARTBEAT)
        assert browser.recv() == HEARTBEAT
        assert RedisPublisher().fetch_message(None, "unset") == HEARTBEAT.encode()
