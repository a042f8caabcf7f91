"""What a connection does as time goes by: ticks are counted here, not waited for."""

from __future__ import annotations

import socket
import threading
from contextlib import nullcontext
from typing import Any

import pytest

from ws4redis.broker.pending import PendingReply
from ws4redis.core.echo import EchoFilter
from ws4redis.core.encoding import RAW, Dialect, encoding_of
from ws4redis.core.publication import Publication
from ws4redis.exceptions import RedisUnavailable
from ws4redis.loop.absences import Absences
from ws4redis.loop.connection import Connection
from ws4redis.loop.directory import Directory
from ws4redis.loop.endpoint import Endpoint
from ws4redis.loop.hub import Hub
from ws4redis.loop.limits import Allowance, ConnectionLimits
from ws4redis.loop.liveness import MAX_DELAY, Heartbeat
from ws4redis.loop.timer_wheel import TimerWheel
from ws4redis.websocket import WebSocket


class Wire:
    """Stands for the websocket; remembers what it is told."""

    def __init__(self) -> None:
        self.open, self.closed, self.told, self.written = True, False, [], 0

    close_code, close_reason, encoding = 1000, "", encoding_of(RAW)
    paused = peer_has_left = listed = False
    #: something waits there, and it takes so many bytes
    outbox, room, stalled = "not empty", 1 << 20, 0

    def has_room(self, size: int) -> bool:
        return size <= self.room

    def start(self, owner: Any) -> None:
        self.owner = owner
        self.told.append("start")

    def write(self, data: bytes) -> None:
        self.written = self.owner._loop.ticks
        self.room -= len(data)
        if data:
            self.told.append(data)

    def speak(self, dialect: Dialect) -> None:
        self.encoding = encoding_of(dialect)

    def ping(self) -> None:
        self.told.append("ping")

    def close(self, code: int, reason: str = "") -> None:
        self.open = False
        self.told.append(int(code))
        self.owner.closing()

    def close_slow(self) -> None:
        self.close(1013)

    def read_to_the_end(self) -> None:
        self.told.append("read to the end")

    def abort(self) -> None:
        self.open, self.closed = False, True
        self.told.append("abort")
        self.outbox = None
        self.owner.lost()

    def pause(self) -> None:
        self.paused = True
        self.told.append("pause")

    def resume(self) -> None:
        self.paused = False
        self.told.append("resume")


class Process:
    """Stands for the loop's process: what is spawned runs when the test says so."""

    def __init__(self, heartbeat: str | None = None) -> None:
        self.heartbeat = Heartbeat(heartbeat) if heartbeat else None
        self.lock = nullcontext()
        self.timeout, self.ticks, self.new_backlog = 5, 0, None
        self.redis_is_away = False
        self.allowance, self.limits = Allowance.per_second(None, None), ConnectionLimits()
        self.connections, self.directory = TimerWheel(MAX_DELAY), Directory[Any]()
        self.runtime = self.pubsub = self
        self.hub = Hub(self)  # type: ignore[arg-type]
        self.absences = Absences(self.hub)
        self.spawned: list[Any] = []
        self.replies: list[PendingReply] = []
        self.commands: list[Any] = []

    def spawn(self, function: Any, *args: Any) -> None:
        self.spawned.append((function, args))

    def run_in_loop(self, function: Any, *args: Any) -> Any:
        return function(*args)

    def new_event(self) -> threading.Event:
        return threading.Event()

    def run_spawned(self) -> None:
        while self.spawned:
            function, args = self.spawned.pop(0)
            function(*args)

    def subscribe(self, channels: list[bytes]) -> None:
        self.commands += [("SUBSCRIBE", each) for each in channels]

    def unsubscribe(self, channels: list[bytes]) -> None:
        self.commands += [("UNSUBSCRIBE", each) for each in channels]

    def ask(self, command: Any, on_reply: Any, on_error: Any = None) -> PendingReply:
        self.replies.append(PendingReply(command, on_reply, on_error))
        return self.replies[-1]

    def mark(self, reached: Any) -> PendingReply:
        return self.ask(("ECHO", "mark"), lambda _mark: reached())

    @property
    def asked(self) -> list[PendingReply]:
        """What Redis has not replied to."""
        return [each for each in self.replies if not each.done]


class Opening:
    def accept(self, subprotocol: str | None = None) -> bytes:
        return b"101"

    def reject(self, error: Exception) -> bytes:
        assert isinstance(error, RedisUnavailable)
        return b"503"


class Page(Endpoint):
    """An endpoint with some channels."""

    error: type[Exception] = RuntimeError

    def __init__(self, channels: tuple[bytes, ...] = (), echo_filter: EchoFilter | None = None) -> None:
        self.channels, self.echo_filter = channels, echo_filter
        self.heard: list[Any] = []

    def on_open(self, connection: Any) -> None:
        if self.echo_filter is not None:
            connection.filter_echo(self.echo_filter)
        if self.channels:
            connection.subscribe(*self.channels)

    def on_message(self, message: Any) -> None:
        if message == "fail":
            raise self.error("the endpoint fails")
        self.heard.append(message)

    def on_close(self, code: int, reason: str) -> None:
        self.heard.append("closed")


def connection(heartbeat: str | None = None, page: Endpoint | None = None) -> tuple[Connection, Wire, Process]:
    wire, process = Wire(), Process(heartbeat)
    made = Connection(process, wire, page or Page(), Opening())  # type: ignore[arg-type]
    made.open()
    return made, wire, process


def ticks(process: Process, wire: Wire, count: int) -> list[tuple[int, Any]]:
    """What the websocket is told in so many seconds of silence, and when."""
    wire.told.clear()
    told = []
    for second in range(1, count + 1):
        process.ticks += 1
        for each in process.connections.pop_due(process.ticks, 10):
            each.check_timers()
        told += [(second, each) for each in wire.told]
        wire.told.clear()
    return told


@pytest.mark.contract(
    "8.5 uWSGI: decided: a ping after 25 s of silence, the end after 60",
    "8.6 websocket: decided: silence is pinged, behind both doors",
    "10 heartbeat: without the setting nothing is sent",
    "14 manual: 15 silent browsers are pinged and closed, behind both doors",
    "asks deployment: #186, #56, #123, #10: idle websockets are cut off",
)
def test_silence() -> None:
    _, wire, process = connection()
    assert ticks(process, wire, 80) == [(25, "ping"), (50, "ping"), (60, 1001), (70, "abort")]
    assert not process.connections


def test_silence_begins_among_the_newcomers() -> None:
    _, wire, process = connection(page=Page((b"c",)))
    assert ticks(process, wire, 3) == []
    process.asked[0].resolve([None])
    assert ticks(process, wire, 77) == [(22, "ping"), (47, "ping"), (57, 1001), (67, "abort")]


def test_a_sign_of_life_begins_anew() -> None:
    made, wire, process = connection()
    ticks(process, wire, 59)
    made.received([], 1, 1)
    assert ticks(process, wire, 80) == [(25, "ping"), (50, "ping"), (60, 1001), (70, "abort")]


def test_who_is_alive_is_seldom_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand that are idle cost little."""
    made, wire, process = connection()
    looks = []
    monkeypatch.setattr(
        Connection, "check_timers", lambda one, check=Connection.check_timers: (looks.append(process.ticks), check(one))
    )
    for _ in range(100):
        for _, told in ticks(process, wire, 1):
            assert told == "ping"
            made.received([], 1, 1)
    assert looks == [1, 25, 50, 75, 100]


@pytest.mark.contract(
    "10 heartbeat: a browser gets the very text at least every four seconds",
)
def test_heartbeats_when_idle() -> None:
    _, wire, process = connection(heartbeat="beat")
    assert ticks(process, wire, 9) == [(3, b"\x81\x04beat"), (6, b"\x81\x04beat"), (9, b"\x81\x04beat")]


@pytest.mark.contract(
    "10 heartbeat: decided: a heartbeat is sent only if nothing else is, or as an answer",
    "differs from 0.6: heartbeats",
)
def test_no_heartbeat_while_there_are_messages() -> None:
    made, wire, process = connection(heartbeat="beat")
    for _ in range(12):
        assert ticks(process, wire, 2) == []
        wire.write(b"something")
    made.received([], 1, 1)
    assert ticks(process, wire, 4) == [(3, b"\x81\x04beat")]


def test_silence_with_heartbeats() -> None:
    """They are no sign of the browser's life."""
    _, wire, process = connection(heartbeat="beat")
    told = [(second, each) for second, each in ticks(process, wire, 80) if each != b"\x81\x04beat"]
    assert told == [(25, "ping"), (50, "ping"), (60, 1001), (70, "abort")]


@pytest.mark.parametrize("seconds", [1, 10, 24, 25, 26, 59])
@pytest.mark.parametrize("heartbeat", [None, "beat"])
def test_a_browser_that_does_not_finish_closing(heartbeat: str | None, seconds: int) -> None:
    """Whoever began it, and whenever; it is given ten seconds."""
    _, wire, process = connection(heartbeat)
    ticks(process, wire, seconds)
    wire.close(1000)
    assert ticks(process, wire, 80) == [(10, "abort")]
    assert not process.connections


@pytest.mark.parametrize("act", ["write", "ping"])
def test_a_turn_shows_that_nobody_is_there(monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    _, wire, process = connection("beat")
    monkeypatch.setattr(wire, act, lambda *_args: wire.abort())
    assert [told for _, told in ticks(process, wire, 80)].count("abort") == 1
    assert not process.connections


# at which second something begins to wait, until when the kernel takes some of it, when it is given up
STALLS = [(0, 0, 30), (1, 1, 31), (3, 3, 33), (24, 24, 54), (26, 26, 56), (0, 20, 50), (0, 100, 130)]


@pytest.mark.parametrize("heartbeat", [None, "beat"])
@pytest.mark.parametrize(("begin", "until", "end"), STALLS)
def test_a_browser_that_takes_nothing(heartbeat: str | None, begin: int, until: int, end: int) -> None:
    """Exactly 30 seconds after the last that it took, however alive it is; then it has ten to close."""
    made, wire, process = connection(heartbeat)
    told = []
    for second in range(1, 150):
        wire.stalled = max(0, second - max(begin, min(until, second)))
        if wire.open:
            made.received([], 1, 1)
        told += [(second, each) for _, each in ticks(process, wire, 1) if each in (1013, "abort")]
    assert told == [(end, 1013), (end + 10, "abort")]
    assert not process.connections


def test_redis_does_not_answer() -> None:
    _, wire, process = connection(page=Page((b"c",)))
    told = ticks(process, wire, 8)
    assert [second for second, _ in told] == [6, 6]
    assert [each for _, each in told] == [b"503", "abort"]
    assert process.asked == []
    assert process.commands == [("SUBSCRIBE", b"c"), ("UNSUBSCRIBE", b"c")]


KEPT: list[tuple[list[bytes | None], list[tuple[bytes, bytes]], bytes]] = [
    ([None, None], [], b""),
    ([b"A", None], [], b"A"),
    ([b"A", b"B"], [], b"AB"),
    ([b"A", None], [(b"a", b"A")], b"A"),
    ([b"A", None], [(b"a", b"x"), (b"a", b"A"), (b"a", b"y")], b"xAy"),
    ([b"A", b"B"], [(b"a", b"x"), (b"b", b"B")], b"AxB"),
    ([b"A", b"A"], [(b"b", b"A")], b"AA"),
]


@pytest.mark.contract(
    "11.2 last message: the last message looks like any other",
    "11.2 last message: what is live comes after the last message",
    "11.2 last message: decided: nothing is missed or doubled while a browser connects",
)
@pytest.mark.parametrize(("kept", "live", "sent"), KEPT)
def test_what_is_kept_and_what_is_live_is_sent_once(kept: Any, live: list[tuple[bytes, bytes]], sent: bytes) -> None:
    _, wire, process = connection(page=Page((b"a", b"b")))
    list(process.hub.deliver([Publication(channel, payload) for channel, payload in live]))
    assert wire.told == ["start"]
    process.asked[0].resolve(kept)
    [answer] = wire.told[1:]
    assert answer == b"101" + b"".join(b"\x81\x01" + sent[i : i + 1] for i in range(len(sent)))


@pytest.mark.contract(
    "11.3 order: decided: all that a browser sends arrives complete and in order, too",
)
def test_messages_are_handled_in_order_and_reading_waits() -> None:
    page = Page()
    made, wire, process = connection(page=page)
    made.received(["1", "2"], 1, 1)
    made.received(["3"], 1, 1)
    assert wire.told[-1] == "pause" and page.heard == []
    process.run_spawned()
    assert page.heard == ["1", "2", "3"] and wire.told[-1] == "resume"


@pytest.mark.parametrize("step", ["handled", "attempt"])
def test_a_client_whose_messages_cannot_be_handled_does_not_wait_for_good(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*args: Any) -> None:
        raise MemoryError

    page = Page()
    made, wire, process = connection(page=page)
    made.received(["1"], 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, step, fail)
        with pytest.raises(MemoryError):
            process.run_spawned()
    assert wire.closed
    process.run_spawned()
    assert page.heard[-1:] == ["closed"]


@pytest.mark.contract("12 closing: 1011, decided: the server fails; nothing follows the close frame")
@pytest.mark.parametrize("kind", [RuntimeError, OSError])
def test_a_failing_endpoint_closes_with_1011(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    """A file that is missing, say, is no loss of Redis."""
    monkeypatch.setattr(Page, "error", kind)
    page = Page()
    made, wire, process = connection(page=page)
    made.received(["1", "fail", "2"], 1, 1)
    process.run_spawned()
    assert page.heard == ["1"] and 1011 in wire.told
    assert "the endpoint fails" in caplog.text


def test_what_was_said_before_leaving_is_handled_before_the_end() -> None:
    page = Page()
    made, wire, process = connection(page=page)
    made.received(["last words"], 1, 1)
    wire.open, wire.closed = False, True
    made.lost()
    process.run_spawned()
    assert page.heard == ["last words", "closed"]
    assert not process.connections


@pytest.mark.parametrize("channels", [(), (b"c",)])
def test_a_browser_that_is_gone_before_it_is_answered_leaves_nothing(channels: tuple[bytes, ...]) -> None:
    """Over a real socket, whose other end is closed."""
    page, process = Page(channels), Process()
    here, there = socket.socketpair()
    there.close()
    made = Connection(process, WebSocket(Watchers(), here), page, Opening())  # type: ignore[arg-type]
    made.open()
    for each in process.asked:
        each.resolve([None])
    process.run_spawned()
    assert not process.connections and not process.hub.channels
    assert page.heard == ["closed"]


class Watchers:
    """A loop in which nothing ever is ready."""

    ticks = 0

    def watch_readable(self, descriptor: int) -> Watchers:
        return self

    watch_writable = watch_readable

    def start(self, callback: Any) -> None:
        pass

    def close(self) -> None:
        pass


def test_what_is_held_over_a_loss_is_older_than_what_is_fetched_then() -> None:
    made, wire, process = connection(page=Page((b"a",)))
    list(process.hub.deliver([Publication(b"a", b"old")]))
    made.subscriptions.resubscribed()
    process.asked[0].resolve([b"new"])
    assert wire.told == ["start", b"101\x81\x03new"]


def test_a_client_that_is_not_read_is_pinged_and_never_dead() -> None:
    made, wire, process = connection()
    made.received(["slow"], 1, 1)
    made.received(["next"], 1, 1)
    assert wire.paused
    assert ticks(process, wire, 100) == [(second, "ping") for second in (25, 50, 75, 100)]
    process.run_spawned()
    assert not wire.paused
    assert ticks(process, wire, 30) == [(25, "ping")]


@pytest.mark.parametrize("seconds", [0, 1, 7, 24])
def test_a_client_that_leaves_while_it_is_not_read_is_noticed(seconds: int) -> None:
    """Within four seconds; what it has sent before is still read."""
    made, wire, process = connection()
    ticks(process, wire, seconds)
    for message in ("slow", "next"):
        made.received([message], 1, 1)
    ticks(process, wire, seconds)
    wire.peer_has_left = True
    assert (0, "read to the end") < ticks(process, wire, 4)[0] <= (3, "read to the end")


# messages and bytes per second, what is sent at which second (messages, bytes, growth), whether it is too much
SENT: list[tuple[int | None, int | None, list[tuple[int, ...]], bool]] = [
    (None, None, [(0, 10_000, 10**9)], False),
    (2, None, [(0, 20, 10**9)], False),
    (2, None, [(0, 21, 0)], True),
    (2, None, [(0, 11, 0), (9, 10, 0)], True),
    (2, None, [(0, 20, 0), (10, 20, 0), (20, 20, 0)], False),
    (None, 100, [(0, 0, 1000)], False),
    (None, 100, [(0, 0, 1001)], True),
    (None, 100, [(3, 1, 600), (4, 0, 600)], True),
    (None, 100, [(0, 1, 100, 900)], False),
    (None, 100, [(0, 1, 100, 901)], True),
    (None, None, [(0, 1, 100, 10**9)], False),
]


@pytest.mark.parametrize(("messages", "size", "sent", "too_much"), SENT)
def test_what_a_browser_may_send(
    messages: int | None, size: int | None, sent: list[tuple[int, ...]], too_much: bool
) -> None:
    made, wire, process = connection()
    process.allowance = Allowance.per_second(messages, size)
    for second, *what in sent:
        process.ticks = second
        made.received(["x"], *what)
    assert (1008 in wire.told) == too_much
