"""Redis goes away and comes back: sockets stay open, and what is published then arrives."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import websocket

from tests.browsers import counts, handshake
from tests.servers import UWSGI, Site, Valkey, wait_for
from ws4redis import settings
from ws4redis.exceptions import RedisUnavailable
from ws4redis.loop.process import LoopProcess
from ws4redis.publisher import RedisPublisher


@pytest.fixture
def site(door: type[Site], valkey: Valkey, database: Path) -> Iterator[Site]:
    with door(valkey.url, DATABASE=str(database), WS4REDIS_TIMEOUT="2") as server:
        yield server


def publish_until_heard(valkey: Valkey, channel: str, listeners: int) -> float:
    begin = time.monotonic()
    wait_for(lambda: valkey.client().publish(channel, "again") == listeners, f"{listeners} listeners on {channel}")
    return time.monotonic() - begin


@pytest.mark.contract(
    "12 closing: decided: websockets stay open while Redis is away",
    "differs from 0.6: Redis restarts",
)
def test_redis_is_killed_and_started_again(site: Site, valkey: Valkey) -> None:
    browsers = [site.connect(f"/ws/{number % 10}?subscribe-broadcast&publish-broadcast") for number in range(50)]
    valkey.stop(signal.SIGKILL)
    wait_for(lambda: "Redis connection lost" in site.log(), "the warning")
    for browser in browsers:
        browser.ping("still here")
        opcode, data = browser.recv_data(control_frame=True)
        assert (opcode, data) == (websocket.ABNF.OPCODE_PONG, b"still here")
    assert counts(site)["connected"] == 50
    valkey.start()
    took = publish_until_heard(valkey, "broadcast:9", 1)
    print(f"subscribed again after {took:.2f} s")
    assert took < 2 * 3
    for number in range(10):
        assert valkey.client().publish(f"broadcast:{number}", f"to {number}") == 1
    for number, browser in enumerate(browsers):
        received = browser.recv()
        while received == "again":
            received = browser.recv()
        assert received == f"to {number % 10}"
    # what the browsers say arrives, too
    browsers[0].send("from a browser")
    assert browsers[10].recv() == "from a browser"
    assert site.log().count("Redis connection lost") == 1
    assert site.log().count("Redis connection restored") == 1


def test_own_messages_of_an_outage_do_not_swallow_later_ones(site: Site, valkey: Valkey) -> None:
    """The subscription is cut in the moment in which a message is published: it never comes back."""
    path = "/ws/x?subscribe-broadcast&publish-broadcast"
    browser = site.connect(path)
    for _ in range(20):
        client = valkey.client()
        client.client_kill_filter(_type="pubsub")
        browser.send("same")
    wait_for(lambda: site.log().count("Redis connection restored") >= 1, "the subscription is back")
    publish_until_heard(valkey, "broadcast:x", 1)
    wait_for(lambda: browser.recv() == "again", "what is published now")
    assert valkey.client().publish("broadcast:x", "same") == 1
    assert browser.recv() == "same"


def test_a_browser_that_comes_during_a_short_outage_waits(site: Site, valkey: Valkey) -> None:
    site.connect("/ws/x?subscribe-broadcast")
    valkey.stop(signal.SIGKILL)
    wait_for(lambda: "Redis connection lost" in site.log(), "the warning")

    def start_soon() -> None:
        time.sleep(0.5)
        valkey.start()

    starting = threading.Thread(target=start_soon)
    starting.start()
    late = site.connect("/ws/x?subscribe-broadcast")
    starting.join()
    assert valkey.client().publish("broadcast:x", "hi") == 1
    assert late.recv() == "hi"


def hang(valkey: Valkey) -> None:
    valkey.send_signal(signal.SIGSTOP)


def kill(valkey: Valkey) -> None:
    valkey.stop(signal.SIGKILL)


#: how Redis goes, and how it comes back
OUTAGES = {
    "killed": (kill, Valkey.start),
    "hanging": (hang, lambda valkey: valkey.send_signal(signal.SIGCONT)),
}

Outage = tuple[Callable[[Valkey], None], Callable[[Valkey], None]]


def status(site: Site, path: str = "/ws/x?subscribe-broadcast") -> int:
    try:
        site.connect(path)
    except websocket.WebSocketBadStatusException as error:
        return int(error.status_code)
    return 101


def refused_before_the_upgrade(site: Site) -> int:
    return int(counts(site)["counters"].get("rejected with 503", 0))


@pytest.mark.contract("9.1 answers: 503, decided: Redis is away")
@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_newcomers_are_refused_at_once_while_redis_is_away(site: Site, valkey: Valkey, outage: Outage) -> None:
    """From the time on after which the first of them was refused."""
    begin, end = outage
    stays = site.connect("/ws/stays?subscribe-broadcast")
    begin(valkey)
    assert status(site) == 503, "it has waited"
    wait_for(lambda: status(site) == 503 and refused_before_the_upgrade(site), "nobody waits any more")
    before = refused_before_the_upgrade(site)
    assert [status(site) for _ in range(5)] == [503] * 5
    assert [status(site, "/ws/x?publish-broadcast") for _ in range(5)] == [503] * 5
    assert refused_before_the_upgrade(site) == before + 10
    end(valkey)
    publish_until_heard(valkey, "broadcast:stays", 1)
    assert stays.recv() == "again"
    assert status(site) == 101
    # a hanging one may be back before its loss is noticed
    assert site.log().count("Redis connection lost") <= 1
    assert not any("WARNING" in line and "with 503" in line for line in site.log().split("\n")), "it is told once"


# ticks without a word of Redis, bytes that it has not taken, whether newcomers are refused at once
SILENCES = [
    (0, 0, False),
    (6, 0, False),
    (7, 0, True),
    (1, 2 << 20, False),
    (2, 1 << 20, False),
    (2, 2 << 20, True),
]


@pytest.mark.parametrize(("silent", "unsent", "away"), SILENCES)
def test_what_redis_does_not_take_is_bounded(silent: int, unsent: int, away: bool) -> None:
    """``stress-tests/abuse.py`` has newcomers by the thousand; all that they ask for waits in the memory."""
    process = SimpleNamespace(timeout=5, pubsub=SimpleNamespace(silent=silent, unsent=unsent))
    assert LoopProcess.redis_is_away.fget(process) == away


def test_nothing_is_looked_up_while_redis_is_away(door: type[Site], valkey: Valkey, database: Path) -> None:
    hook = {"WS4REDIS_PROCESS_REQUEST": '"tests.site.hooks.fails"', "WS4REDIS_TIMEOUT": "1"}
    with door(valkey.url, DATABASE=str(database), **hook) as site:
        assert status(site) == 500, "the hook fails"
        valkey.stop(signal.SIGKILL)
        wait_for(lambda: status(site) == 503, "it is no longer called")
        assert status(site) == 503


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_newcomers_who_give_up_leave_nothing(door: type[Site], valkey: Valkey, database: Path, outage: Outage) -> None:
    begin, end = outage
    count, facility = (300 if door is UWSGI else 50), "x" * 1000
    with door(valkey.url, DATABASE=str(database), WS4REDIS_TIMEOUT="60") as site:
        stays = site.connect("/ws/stays?subscribe-broadcast")
        begin(valkey)
        for _ in range(2):  # what was asked before the loss was noticed, and since
            for number in range(count):
                give_up(site, f"/ws/{number}{facility}?subscribe-broadcast")
            wait_for(lambda: "Redis connection lost" in site.log(), "the warning")

        def left() -> bool:
            found = counts(site)
            return (found["connections"], found["questions"], found["channels"]) == (1, 0, 1)

        wait_for(left, "all have left, and nothing is asked for them")
        end(valkey)
        publish_until_heard(valkey, "broadcast:stays", 1)
        assert stays.recv() == "again"
        assert counts(site)["questions"] == 0


def give_up(site: Site, path: str) -> None:
    """Ask for a websocket, and do not wait for an answer."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as browser:
        browser.sendall(handshake(path))


@pytest.mark.contract("12 closing: 1013, decided: a browser's message cannot be published")
def test_a_browsers_message_during_an_outage_closes_with_1013(site: Site, valkey: Valkey) -> None:
    browser = site.connect("/ws/x?publish-broadcast")
    valkey.stop(signal.SIGKILL)
    browser.send("lost")
    opcode, data = browser.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (8, 1013)


def test_connections_that_rest_are_killed(site: Site, valkey: Valkey) -> None:
    """As by Redis' own time-out: who publishes next does not notice."""
    browser = site.connect("/ws/rest?subscribe-broadcast&publish-broadcast&echo")
    for message in "before", "after":
        browser.send(message)
        assert browser.recv() == message
        # a pool's connection is at rest only when the reply has been read, too
        wait_for(lambda: valkey.client().client_kill_filter(_type="normal", skipme=True), "there is one to be killed")


@pytest.mark.contract("differs from 0.6: Redis is away")
def test_publishing_without_redis_fails_within_the_bound(valkey: Valkey) -> None:
    settings.WS4REDIS_CONNECTION, settings.WS4REDIS_TIMEOUT = valkey.url, 1
    try:
        publisher = RedisPublisher(facility="x", broadcast=True)
        assert publisher.publish_message("hi") == 0
        valkey.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(RedisUnavailable):
            publisher.publish_message("hi")
        print(f"hanging: failed after {time.monotonic() - begin:.2f} s, the bound is 1 s")
        assert time.monotonic() - begin < 1 * 4
        valkey.send_signal(signal.SIGCONT)
        valkey.stop(signal.SIGKILL)
        begin = time.monotonic()
        with pytest.raises(RedisUnavailable):
            publisher.publish_message("hi")
        print(f"gone: failed after {time.monotonic() - begin:.2f} s, the bound is 1 s")
        assert time.monotonic() - begin < 1 * 4
    finally:
        del settings.WS4REDIS_CONNECTION, settings.WS4REDIS_TIMEOUT
