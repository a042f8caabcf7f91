"""The connection of the subscription against a real Valkey, in threads: nothing in it waits."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import pytest

from tests.servers import Valkey, wait_for
from tests.subscriptions import Heard
from ws4redis.broker.connection import SubscriberConnection
from ws4redis.exceptions import RedisUnavailable
from ws4redis.runtime.threads import ThreadRuntime


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def heard(valkey: Valkey) -> Iterator[Heard]:
    with Heard(valkey.client()) as heard:
        yield heard


CHANNELS = [b"channel:%06d" % number for number in range(200_000)]


def test_what_redis_does_not_take_waits(heard: Heard, valkey: Valkey) -> None:
    """Ten megabytes for a Redis that hangs: nobody waits, and nothing is lost or mixed up."""
    valkey.send_signal(signal.SIGSTOP)
    for start in range(0, len(CHANNELS), 1000):
        heard.send("SUBSCRIBE", *CHANNELS[start : start + 1000])
    large = b"x" * (8 << 20)
    heard.send("ECHO", large)
    heard.send("PING")
    wait_for(lambda: heard.subscription._writer is not None, "the kernel is full")
    assert heard.replies == []
    valkey.send_signal(signal.SIGCONT)
    wait_for(lambda: heard.replies and heard.replies[-1] == b"PONG", "the last answer", timeout=60)
    assert [reply[1] for reply in heard.replies[:-2]] == CHANNELS
    assert heard.replies[-2] == large
    assert heard.subscription._writer is None
    assert heard.ends == []


def test_a_flush_that_could_not_be_called_is_made_up_for(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the next command, such as the probe of each second."""
    with monkeypatch.context() as patched:
        patched.setattr(heard.runtime, "call_soon", lambda function: None)
        heard.send("ECHO", "first")
    heard.send("ECHO", "second")
    wait_for(lambda: len(heard.replies) == 2, "both are answered")
    assert heard.replies == [b"first", b"second"]


ENDS: dict[str, Callable[[Heard, Valkey], Any]] = {
    "given up": lambda heard, valkey: heard.subscription.shutdown(),
    "given up, with something to be sent": lambda heard, valkey: (
        heard.subscription.shutdown(),
        heard.send("ECHO", b"x" * (8 << 20)),
    ),
    "killed": lambda heard, valkey: valkey.client().client_kill_filter(_type="normal", skipme=True),
    "Redis is gone": lambda heard, valkey: valkey.stop(signal.SIGKILL),
    "Redis is gone while it hangs": lambda heard, valkey: (
        valkey.send_signal(signal.SIGSTOP),
        heard.send("ECHO", b"x" * (8 << 20)),
        valkey.stop(signal.SIGKILL),
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_end_is_told_once(heard: Heard, valkey: Valkey, end: str) -> None:
    heard.send("PING")
    wait_for(lambda: heard.replies, "the answer")
    ENDS[end](heard, valkey)
    wait_for(lambda: heard.ends, "the end")
    heard.send("PING")  # to nobody
    with heard.runtime.lock:
        heard.subscription.resume()
    assert [type(each) for each in heard.ends] == [RedisUnavailable]
    assert len(heard.replies) == 1


def test_an_error_is_a_reply(heard: Heard) -> None:
    heard.send("MGET")
    heard.send("PING")
    wait_for(lambda: len(heard.replies) == 2, "both replies")
    assert isinstance(heard.replies[0], hiredis.ReplyError) and "MGET" in str(heard.replies[0]).upper()
    assert heard.ends == []


def test_while_it_pauses_what_redis_sends_waits(heard: Heard, valkey: Valkey) -> None:
    heard.send("SUBSCRIBE", "a")
    wait_for(lambda: len(heard.replies) == 1, "the confirmation")
    with heard.runtime.lock:
        heard.subscription.pause()
    with valkey.client() as client:
        for number in range(100):
            client.publish("a", number)
    assert len(heard.replies) == 1
    with heard.runtime.lock:
        heard.subscription.resume()
    wait_for(lambda: len(heard.replies) == 101, "all publications")
    assert [int(reply[2]) for reply in heard.replies[1:]] == list(range(100))


def test_without_redis() -> None:
    with Valkey() as server:
        client = server.client()
    with pytest.raises(RedisUnavailable):
        SubscriberConnection(ThreadRuntime(), client)
