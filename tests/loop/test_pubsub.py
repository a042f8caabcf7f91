"""The subscription against a real Valkey, in threads."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import hiredis
import pytest
import redis

from tests.servers import Valkey, wait_for
from ws4redis import settings
from ws4redis.broker import client as redis_client
from ws4redis.broker.pending import PendingReply
from ws4redis.broker.probe import Probe
from ws4redis.broker.pubsub import PubSub
from ws4redis.core.publication import Batch, Publication
from ws4redis.loop.hub import Hub
from ws4redis.runtime.threads import ThreadRuntime


class Stopped(BaseException):
    """The test is over: PubSub itself runs as long as its process."""


class Threads(ThreadRuntime):
    """Can be stopped, and remembers what failed."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = False
        self.errors: list[BaseException] = []

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        def run() -> None:
            try:
                function(*args)
            except Stopped:
                pass
            except BaseException as error:
                self.errors.append(error)

        threading.Thread(target=run, daemon=True).start()

    def sleep(self, seconds: float) -> None:
        if self.stopped:
            raise Stopped
        super().sleep(seconds)


class Listener:
    """Owns a PubSub and stands for its hub; what it is told is in ``log``, in order."""

    def __init__(self, *channels: bytes, quick: bool = True) -> None:
        self.wanted = set(channels)
        self.controls: set[bytes] = set()
        self.quick = quick
        self.log: list[tuple[Any, ...]] = []
        self.restorations = 0
        self.runtime = Threads()
        self.pubsub = PubSub(self.runtime, redis_client.client, self, self.restored)  # type: ignore[arg-type]

    def start(self) -> None:
        self.pubsub.start()
        self.wait(1)

    @property
    def channels(self) -> list[bytes]:
        return sorted(self.wanted)

    def deliver(self, publications: list[Publication]) -> Iterator[None]:
        """With a pause before each publication, unless it is quick."""
        for each in publications:
            if not self.quick:
                yield
            self.log.append((each.channel, each.payload))

    def restored(self) -> None:
        self.restorations += 1

    def wait(self, restorations: int) -> None:
        wait_for(lambda: self.restorations >= restorations, f"restored() for the {restorations}. time")

    def subscribe(self, *channels: bytes) -> None:
        self.wanted.update(channels)
        with self.runtime.lock:
            self.pubsub.subscribe(channels)

    def unsubscribe(self, *channels: bytes) -> None:
        self.wanted.difference_update(channels)
        with self.runtime.lock:
            self.pubsub.unsubscribe(channels)

    def fetch(self, *channels: bytes) -> Any:
        with self.runtime.lock:
            return self.pubsub.ask(("MGET", *channels), lambda values: self.log.append(("fetched", *values)))

    def expect(self, *log: tuple[Any, ...]) -> None:
        """Exactly this has been told since the last time."""
        wait_for(lambda: len(self.log) >= len(log), f"{log}")
        assert self.log == list(log)
        self.log.clear()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    listeners: list[Listener] = []

    def make(*channels: bytes, quick: bool = True) -> Listener:
        listeners.append(Listener(*channels, quick=quick))
        listeners[-1].start()
        return listeners[-1]

    yield make
    for listener in listeners:
        stop(listener)


def stop(listener: Listener) -> None:
    with listener.runtime.lock:
        listener.runtime.stopped = True
        if listener.pubsub._subscription is not None:
            listener.pubsub._subscription.close()
    assert listener.runtime.errors == []


@pytest.fixture
def client(redis_server: Valkey, settings_of_redis: None) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        client.flushdb()
        yield client


@pytest.fixture
def own_server() -> Iterator[Valkey]:
    """A Redis that the test may stop."""
    with Valkey() as server:
        settings.WS4REDIS_CONNECTION = server.url
        yield server
    del settings.WS4REDIS_CONNECTION


def listeners_of(client: redis.Redis, channel: bytes, count: int) -> None:
    wait_for(lambda: client.pubsub_numsub(channel) == [(channel, count)], f"{count} listeners of {channel!r}")


def test_what_is_wanted_at_the_start_is_subscribed(listen: Callable[..., Listener], client: redis.Redis) -> None:
    listener = listen(b"a", b"b")
    for channel in ("a", "b", "c"):
        client.publish(channel, "hi")
    listener.expect((b"a", b"hi"), (b"b", b"hi"))


def test_subscribe_and_unsubscribe(listen: Callable[..., Listener], client: redis.Redis) -> None:
    listener = listen()
    listener.subscribe(b"a")
    listener.subscribe(b"b", b"c")
    listener.subscribe()
    listeners_of(client, b"c", 1)
    listener.unsubscribe(b"a", b"c")
    listener.unsubscribe()
    listeners_of(client, b"c", 0)
    assert [client.publish(channel, "hi") for channel in ("a", "b", "c")] == [0, 1, 0]
    listener.expect((b"b", b"hi"))


@pytest.mark.parametrize("quick", [True, False])
def test_publications_come_in_order(listen: Callable[..., Listener], client: redis.Redis, quick: bool) -> None:
    listener = listen(b"a", b"b", quick=quick)
    expected = [(b"ab"[number % 2 :][:1], str(number).encode()) for number in range(2000)]
    with client.pipeline(transaction=False) as pipeline:
        for channel, payload in expected:
            pipeline.publish(channel, payload)
        pipeline.execute()
    listener.expect(*expected)


PAYLOADS = [b"", b"\x00\r\n$1\r\n", b"\xff\xfe", b"message", b"x" * (3 << 20)]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: repr(payload[:10]))
def test_payloads_are_unchanged(listen: Callable[..., Listener], client: redis.Redis, payload: bytes) -> None:
    listener = listen(b"a")
    client.publish("a", payload)
    listener.expect((b"a", payload))


def test_fetch(listen: Callable[..., Listener], client: redis.Redis) -> None:
    client.mset({"a": b"\xff", "c": ""})
    listener = listen()
    listener.fetch(b"a", b"b", b"c")
    listener.expect(("fetched", b"\xff", None, b""))


@pytest.mark.contract("11.2 last message: decided: subscribed first, then read")
@pytest.mark.parametrize("quick", [True, False])
def test_the_answer_comes_at_a_known_point(listen: Callable[..., Listener], client: redis.Redis, quick: bool) -> None:
    """What is delivered before the answer is at most as new as the answer, what follows is newer."""
    listener = listen(b"a", quick=quick)

    def publish(numbers: range) -> None:
        for number in numbers:
            client.pipeline().set("a", number).publish("a", number).execute()

    publish(range(1))
    publishing = threading.Thread(target=publish, args=(range(1, 1000),))
    publishing.start()
    asked = 0
    while publishing.is_alive():
        listener.fetch(b"a")
        asked += 1
        time.sleep(0.001)
    publishing.join()
    wait_for(lambda: len(listener.log) >= 1000 + asked, "all publications and answers")
    last = b"0"
    for channel, payload in listener.log:
        if channel == "fetched":
            assert payload == last
        else:
            assert int(payload) == int(last) + 1 or payload == b"0"
            last = payload


def test_cancelled_questions_are_not_answered(listen: Callable[..., Listener], client: redis.Redis) -> None:
    client.mset({"a": "1", "b": "2"})
    listener = listen()
    client.client_pause(200, all=True)
    listener.fetch(b"a").cancel()
    listener.fetch(b"b")
    listener.expect(("fetched", b"2"))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage().split(",")[0] for each in caplog.records if each.levelno >= logging.WARNING]


def test_a_killed_connection_comes_back(
    listen: Callable[..., Listener], client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(b"a")
    for number in (2, 3):
        client.client_kill_filter(_type="pubsub")
        listener.wait(number)
        listener.subscribe(b"b")
        listener.fetch(b"c")
        listener.expect(("fetched", None))
        assert [client.publish(channel, "hi") for channel in ("a", "b")] == [1, 1]
        listener.expect((b"a", b"hi"), (b"b", b"hi"))
    wait_for(
        lambda: messages(caplog) == ["Redis connection lost", "Redis connection restored"] * 2,
        "both lines for each loss",
    )


def test_redis_goes_and_comes_back(
    own_server: Valkey, listen: Callable[..., Listener], caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(b"a", b"left")
    own_server.stop()
    wait_for(lambda: messages(caplog), "the warning")
    listener.subscribe(b"b")
    listener.unsubscribe(b"left")
    listener.fetch(b"a")
    listener.fetch(b"cancelled").cancel()
    listener.fetch(b"b")
    time.sleep(0.5)  # some tries in vain
    assert (messages(caplog), listener.log, listener.restorations) == (["Redis connection lost"], [], 1)
    own_server.start()
    listener.wait(2)
    listener.expect(("fetched", None), ("fetched", None))
    with own_server.client() as client:
        assert [client.publish(channel, "hi") for channel in ("a", "b", "left")] == [1, 1, 0]
    listener.expect((b"a", b"hi"), (b"b", b"hi"))
    time.sleep(0.2)
    assert listener.restorations == 2
    wait_for(
        lambda: messages(caplog) == ["Redis connection lost", "Redis connection restored"],
        "one line at the loss, one at the return",
    )


def test_what_redis_had_not_answered_is_asked_again(own_server: Valkey, listen: Callable[..., Listener]) -> None:
    listener = listen(b"a")
    own_server.send_signal(signal.SIGSTOP)
    listener.fetch(b"a")
    cancelled = listener.fetch(b"a")
    time.sleep(0.1)
    cancelled.cancel()
    own_server.stop(signal.SIGKILL)
    own_server.start()
    listener.wait(2)
    listener.expect(("fetched", None))


def test_redis_is_away_at_the_start(own_server: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    own_server.stop()
    listener = Listener(b"a")
    listener.fetch(b"a")
    listener.pubsub.start()
    wait_for(lambda: messages(caplog), "the warning")
    own_server.start()
    listener.expect(("fetched", None))
    assert listener.restorations == 1
    wait_for(lambda: messages(caplog) == ["Redis connection lost", "Redis connection restored"], "both lines")
    stop(listener)


def test_many_channels_are_subscribed_again(
    listen: Callable[..., Listener], client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(*[b"channel:%04d" % number for number in range(2500)])
    client.config_resetstat()
    client.client_kill_filter(_type="pubsub")
    listener.wait(2)
    assert client.publish("channel:0000", "hi") == client.publish("channel:2499", "hi") == 1
    listener.expect((b"channel:0000", b"hi"), (b"channel:2499", b"hi"))
    assert len(client.pubsub_channels("channel:*")) == 2500
    assert client.info("commandstats")["cmdstat_subscribe"]["calls"] == 3, "1,000 at once"


# who is told of Redis' error, whether the subscription begins anew
ERRORS = [("handler", False), ("nobody", True), ("cancelled", False), ("subscribe", True)]


@pytest.mark.parametrize(("told", "begins_anew"), ERRORS)
def test_an_error_reaches_no_other_question(
    listen: Callable[..., Listener], client: redis.Redis, told: str, begins_anew: bool
) -> None:
    """As Redis replies while it loads, or where an ACL forbids it."""
    listener = listen(b"a")

    def failed(error: Exception) -> None:
        listener.log.append(("error", str(error)[:3]))

    with listener.runtime.lock:
        if told == "subscribe":
            listener.pubsub._put(PendingReply(("SUBSCRIBE",), None, confirmations=1))
        else:  # MGET without a key is an error
            pending = listener.pubsub.ask(("MGET",), listener.log.append, failed if told == "handler" else None)
            if told == "cancelled":
                pending.cancel()
        listener.pubsub.subscribe([b"b"])
        listener.pubsub.ask(("MGET", b"c", b"d"), lambda values: listener.log.append(("fetched", *values)))
    if begins_anew:
        listener.wait(2)
    expected = [("error", "ERR")] if told == "handler" else []
    listener.expect(*expected, ("fetched", None, None))
    assert listener.restorations == 1 + begins_anew
    client.publish("a", "hi")
    listener.expect((b"a", b"hi"))


def test_a_callback_that_fails_is_no_end(
    listen: Callable[..., Listener], client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(b"a")

    def fail(values: list[bytes | None]) -> None:
        raise LookupError("on purpose")

    with listener.runtime.lock:
        listener.pubsub.ask(("MGET", b"a"), fail)
    listener.fetch(b"a")
    listener.expect(("fetched", None))
    client.publish("a", "hi")
    listener.expect((b"a", b"hi"))
    assert any(each.exc_info for each in caplog.records), "the log says why"


@pytest.mark.parametrize("error", [MemoryError, OSError])
def test_no_answer_reaches_another_question(listen: Callable[..., Listener], client: redis.Redis, error: Any) -> None:
    """What could not be sent is asked anew, and so is all that was asked before."""
    client.mset({"a": "1", "b": "2", "c": "3"})
    listener = listen(b"a")

    def fail(command: Any) -> None:
        raise error

    with listener.runtime.lock:
        listener.fetch(b"a")
        listener.pubsub._subscription.send = fail  # type: ignore[union-attr, method-assign]
        listener.fetch(b"b")
    listener.fetch(b"c")
    listener.expect(("fetched", b"1"), ("fetched", b"2"), ("fetched", b"3"))
    client.publish("a", "hi")
    listener.expect((b"a", b"hi"))


@pytest.mark.parametrize("step", ["spawn", "_log_failure", "_new_subscription"])
def test_what_connects_is_started_again(
    listen: Callable[..., Listener],
    client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    listener = listen(b"a")
    owner = listener.runtime if step == "spawn" else listener.pubsub
    works = getattr(owner, step)

    def fail(*args: Any) -> Any:
        monkeypatch.setattr(owner, step, works)
        raise MemoryError

    with listener.runtime.lock:
        monkeypatch.setattr(owner, step, fail)
        listener.pubsub.reconnect()

    def a_second_goes_by() -> bool:
        listener.runtime.ticks += 1
        listener.pubsub.tick()
        return listener.restorations == 2

    wait_for(a_second_goes_by, "it is back")
    client.publish("a", "hi")
    listener.expect((b"a", b"hi"))
    wait_for(lambda: "connecting to Redis hangs" in caplog.text, "the log says so")
    listener.runtime.errors.clear()


def push(*words: Any) -> Any:
    return hiredis.PushNotification(words)


def test_who_comes_hears_nothing_that_was_meant_for_those_who_left() -> None:
    """By hand: the order of events is chance with a real Redis."""
    listener = Listener()
    listener.pubsub._subscription = SimpleNamespace(send=lambda command: None, close=lambda: None)  # type: ignore[assignment]
    for _ in range(2):
        listener.subscribe(b"a")
        listener.unsubscribe(b"a")
    listener.subscribe(b"a")
    replied = partial(listener.pubsub._replied, listener.pubsub._subscription)
    replied([push(b"message", b"a", b"older"), push(b"message", b"b", b"other")])
    replied([push(b"unsubscribe", b"a", 0), push(b"message", b"a", b"old")])
    replied([push(b"unsubscribe", b"a", 0), push(b"subscribe", b"a", 1), push(b"message", b"a", b"new")])
    assert [payload for _, payload in listener.log] == [b"other", b"new"]


class Follower:
    """Hears ``a`` and ``b`` until it is told otherwise on ``control``."""

    direct = echo_filter = None

    def __init__(self, pubsub: PubSub, hub: Hub, control: bool = False) -> None:
        self.pubsub, self.hub, self.control = pubsub, hub, control
        self.heard: list[bytes] = []
        self.watch: Follower | None = None

    def deliver(self, bundles: Sequence[Batch]) -> None:
        for bundle in bundles:
            self.heard += [each.payload for each in bundle.publications]
        if self.watch is not None:
            self.pubsub.unsubscribe(self.hub.leave(self.watch, [b"a"]))

    def failed(self) -> None:
        raise AssertionError


class Rounds(Threads):
    """What shall run soon does when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], Any]] = []

    def call_soon(self, function: Callable[[], Any]) -> None:
        self.waiting.append(function)

    def run(self) -> int:
        rounds = 0
        while self.waiting:
            self.waiting.pop(0)()
            rounds += 1
        return rounds


A, B, BAN = (b"a", b"b", b"control")
# what is read at once, what is heard of it by one who leaves "a" because of the control; "x" is on "a"
BANS = [
    ([(A, b"x1"), (BAN, b""), (A, b"x2")], [b"x1"]),
    ([(A, b"x1"), (B, b"1"), (BAN, b""), (A, b"x2"), (B, b"2")], [b"x1", b"1", b"2"]),
    ([(BAN, b""), (A, b"x1"), (B, b"1")], [b"1"]),
    ([(A, b"x1"), (BAN, b""), (BAN, b""), (A, b"x2")], [b"x1"]),
    ([(A, b"x1"), (A, b"x2"), (B, b"1"), (BAN, b"")], [b"x1", b"x2", b"1"]),
]


@pytest.mark.parametrize("others", [0, 1, 600])
@pytest.mark.parametrize(("read", "heard"), BANS)
def test_control_takes_effect_in_the_stream(read: list[tuple[bytes, bytes]], heard: list[bytes], others: int) -> None:
    """By hand; what comes before is delivered to the end, in a long fan-out, too; what follows is addressed then."""
    runtime = Rounds()
    hub = Hub(runtime)
    pubsub = PubSub(runtime, redis_client.client, hub, lambda: None)
    pubsub._subscription = SimpleNamespace(  # type: ignore[assignment]
        send=lambda command: None, close=lambda: None, pause=lambda: None, resume=lambda: None
    )
    banned, control = Follower(pubsub, hub), Follower(pubsub, hub, control=True)
    staying = [Follower(pubsub, hub) for _ in range(others)]
    control.watch = banned
    hub.join(control, [BAN])
    for each in [*staying, banned]:
        hub.join(each, [A, B])
    pubsub._replied(pubsub._subscription, [push(b"message", *each) for each in read])
    rounds = runtime.run()
    assert [each for each in banned.heard if each.startswith(b"x")] == [each for each in heard if each.startswith(b"x")]
    assert sorted(banned.heard) == sorted(heard)
    assert all(sorted(each.heard) == sorted(payload for name, payload in read if name != BAN) for each in staying)
    assert bool(rounds) == (others > 256)
    assert not pubsub.pauses


@pytest.mark.parametrize("quick", [True, False])
def test_nothing_is_lost_between_two_losses(own_server: Valkey, listen: Callable[..., Listener], quick: bool) -> None:
    """What has been received is handed on before the loss is noticed, however long that takes."""
    listener = listen(b"a", quick=quick)
    listener.deliver = slowly(listener.deliver)  # type: ignore[method-assign]
    with own_server.client() as client:
        for number in range(3):
            client.publish("a", number)
        client.client_kill_filter(_type="pubsub")
        listener.wait(2)
        client.publish("a", "later")
    listener.expect((b"a", b"0"), (b"a", b"1"), (b"a", b"2"), (b"a", b"later"))


def slowly(deliver: Callable[[Any], Iterator[None]]) -> Callable[[Any], Iterator[None]]:
    def slow(publications: Any) -> Iterator[None]:
        time.sleep(0.05)
        return deliver(publications)

    return slow


def test_what_fails_after_a_pause_does_not_end_the_reading(
    listen: Callable[..., Listener], client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(b"a", quick=False)

    def fail(publications: Any) -> Iterator[None]:
        listener.deliver = deliver  # type: ignore[method-assign]
        yield
        raise LookupError("on purpose")

    deliver, listener.deliver = listener.deliver, fail  # type: ignore[method-assign]
    client.publish("a", "lost")
    listener.wait(2)
    client.publish("a", "next")
    listener.expect((b"a", b"next"))
    assert "on purpose" in caplog.text


def test_a_subscription_that_is_given_up_begins_anew(listen: Callable[..., Listener], client: redis.Redis) -> None:
    listener = listen(b"a")
    with listener.runtime.lock:
        listener.pubsub.reconnect()
    listener.wait(2)
    client.publish("a", "hi")
    listener.expect((b"a", b"hi"))


def test_a_long_fan_out_is_no_silence(listen: Callable[..., Listener], client: redis.Redis) -> None:
    """However many seconds it takes; a fan-out that stands still is one, though."""
    listener, probe = listen(), Probe("")
    listener.subscribe(b"a", probe.channel)
    listeners_of(client, probe.channel, 1)
    deliver, going_on, stands = listener.deliver, threading.Event(), threading.Event()

    def slow(publications: list[Publication]) -> Iterator[None]:
        while not going_on.is_set():
            stands.wait(0.01)
            yield
        yield from deliver(publications)

    def second() -> None:
        with listener.runtime.lock:
            listener.runtime.ticks += 1
            probe.tick(listener.pubsub)

    def seconds(count: int) -> None:
        for _ in range(count):
            wait_for(lambda: not listener.pubsub.silent, "it goes on")
            second()

    listener.deliver = slow  # type: ignore[method-assign]
    client.publish("a", "1")
    wait_for(lambda: listener.pubsub.pauses, "the fan-out is under way")
    seconds(20)
    listener.deliver = deliver  # type: ignore[method-assign]
    going_on.set()
    wait_for(lambda: not listener.pubsub.pauses, "its end")
    listener.expect((b"a", b"1"))
    assert listener.restorations == 1
    with listener.runtime.lock:  # in which nothing is received
        for _ in range(7):
            second()
    listener.wait(2)


def test_a_mark_is_behind_all_that_was_published(listen: Callable[..., Listener], client: redis.Redis) -> None:
    listener = listen(b"a")
    for number in range(100):
        client.publish("a", number)
    with listener.runtime.lock:
        listener.pubsub.mark(lambda: listener.log.append(("mark",)))
    listener.expect(*((b"a", str(number).encode()) for number in range(100)), ("mark",))


def test_it_publishes_between_its_other_commands(listen: Callable[..., Listener], client: redis.Redis) -> None:
    listener = listen(b"a")
    with listener.runtime.lock:
        for number in range(100):
            listener.pubsub.publish(b"a", str(number).encode())
    listener.expect(*((b"a", str(number).encode()) for number in range(100)))
