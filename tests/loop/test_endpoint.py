"""What an endpoint can do with its connection; Redis' replies come when the test gives them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.loop.test_connection import Opening, Process, Wire, ticks
from tests.servers import wait_for
from ws4redis.core.encoding import Dialect
from ws4redis.core.publication import Publication
from ws4redis.exceptions import RedisUnavailable, WebSocketError
from ws4redis.loop.connection import Connection
from ws4redis.loop.endpoint import Endpoint, Taking
from ws4redis.protocol.frames import Opcode


class Remembering(Endpoint):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_open(self, connection: Any) -> None:
        self.connection = connection

    def on_message(self, message: Any) -> None:
        if message == "fail":
            raise LookupError("on purpose")
        self.heard.append(message)

    def on_close(self, code: int, reason: str) -> None:
        self.heard.append("closed")


class Pulling(Remembering):
    taking = Taking.PULLED


class HandedOn(Remembering):
    taking = Taking.HANDED_ON


class Situation:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint: Any = endpoint
        self.wire, self.process = Wire(), Process()
        self.connection = Connection(self.process, self.wire, endpoint, Opening())  # type: ignore[arg-type]
        self.connection.open()

    def reply(self, *values: bytes | None) -> None:
        self.process.asked[0].resolve(values)

    def publish(self, channel: bytes, *payloads: bytes) -> None:
        list(self.process.hub.deliver([Publication(channel, each) for each in payloads]))

    def sent(self) -> bytes:
        told = b"".join(each for each in self.wire.told if isinstance(each, bytes))
        self.wire.told.clear()
        return told.replace(b"\x81\x01", b"")


# -- three ways to take messages --


def test_messages_that_are_handed_on_pause_nothing() -> None:
    one = Situation(HandedOn())
    for message in ("1", "2"):
        one.connection.received([message], 1, 1)
    assert one.endpoint.heard == ["1", "2"] and "pause" not in one.wire.told
    one.connection.received(["fail"], 1, 1)
    assert 1011 in one.wire.told


def test_an_inbox_is_pulled_from_another_thread() -> None:
    one = Situation(Pulling())
    pulled: list[Any] = []

    def pull() -> None:
        try:
            while True:
                pulled.append(one.connection.receive())
        except WebSocketError:
            pulled.append("closed")

    thread = threading.Thread(target=pull)
    thread.start()
    one.connection.received(["1", "2"], 1, 1)
    wait_for(lambda: pulled == ["1", "2"], "both messages")
    one.connection.received(["3"], 1, 1)
    one.wire.abort()
    thread.join()
    assert pulled == ["1", "2", "3", "closed"]
    one.process.run_spawned()
    assert one.endpoint.heard == ["closed"]


# what is received, whether reading pauses then
INBOXES = [(["x"] * 63, False), (["x"] * 64, True), (["x" * (1 << 18)], True), (["x" * (1 << 17)], False)]


@pytest.mark.parametrize(("messages", "pauses"), INBOXES)
def test_an_inbox_is_bounded(messages: list[str], pauses: bool) -> None:
    one = Situation(Pulling())
    one.connection.received([*messages], len(messages), 1)
    assert one.wire.paused == pauses
    assert [one.connection.receive() for _ in messages] == messages
    assert not one.wire.paused
    with pytest.raises(TimeoutError):
        one.connection.receive(timeout=0.01)


@pytest.mark.parametrize("kind", [Remembering, HandedOn])
def test_what_is_given_is_not_pulled(kind: type[Remembering]) -> None:
    with pytest.raises(TypeError, match="PULLED"):
        Situation(kind()).connection.receive()


class Asking(Remembering):
    """Is accepted by itself."""

    accepts_at_once = False


class AskingHandedOn(Asking):
    taking = Taking.HANDED_ON


@pytest.mark.parametrize("kind", [Asking, AskingHandedOn])
def test_who_speaks_before_the_answer_waits(kind: type[Asking]) -> None:
    one = Situation(kind())
    one.connection.received(["1"], 1, 1)
    assert one.endpoint.heard == [] and one.wire.paused and one.sent() == b""
    one.connection.accept()
    one.process.run_spawned()
    assert one.endpoint.heard == ["1"] and one.sent() == b"101" and not one.wire.paused


def test_a_rejected_client_gets_a_response() -> None:
    one = Situation(Asking())
    one.connection.reject(RedisUnavailable("on purpose"))
    assert one.sent() == b"503" and one.wire.closed
    one.process.run_spawned()
    assert one.endpoint.heard == ["closed"]


# -- subscriptions --


def test_it_is_told_when_redis_has_confirmed() -> None:
    one, told = Situation(Remembering()), []
    one.connection.subscribe(b"a", confirmed=lambda: told.append("a"))
    assert not told
    one.reply(None)
    one.connection.subscribe(b"a", confirmed=lambda: told.append("again"))
    assert told == ["a"]
    one.reply()
    assert told == ["a", "again"]


def test_publications_of_another_channel() -> None:
    """They wait like its own while Redis is asked."""
    one = Situation(Remembering())
    one.connection.deliver([Publication(b"topic", b"1")])
    one.connection.subscribe(b"a")
    one.connection.deliver([Publication(b"topic", b"3")])
    assert one.sent() == b"1011"
    one.reply(b"2")
    assert one.sent() == b"23"


class Controlled(Remembering):
    def on_open(self, connection: Any) -> None:
        super().on_open(connection)
        connection.subscribe_control(b"control", self.heard.append)


# the last value, what is published before it is known and afterwards -> what the handler is given
CONTROLS: list[tuple[bytes | None, list[bytes], list[bytes], list[bytes]]] = [
    (None, [], [], []),
    (b"0", [], [b"1"], [b"0", b"1"]),
    (None, [b"1"], [b"2"], [b"1", b"2"]),
    (b"0", [b"1"], [], [b"0", b"1"]),
]


@pytest.mark.parametrize(("last", "early", "late", "given"), CONTROLS)
def test_a_control_subscription(last: Any, early: list[bytes], late: list[bytes], given: list[bytes]) -> None:
    one = Situation(Controlled())
    one.publish(b"control", *early)
    assert one.sent() == b"" and one.endpoint.heard == []
    one.reply(last)
    assert one.sent() == b"101"
    one.publish(b"control", *late)
    assert one.endpoint.heard == given and one.sent() == b""
    one.connection.subscriptions.resubscribed()
    one.reply(b"9")
    assert one.endpoint.heard == [*given, b"9"]


def failing(payload: bytes) -> None:
    raise LookupError("on purpose")


@pytest.mark.parametrize("last", [None, b"0"])
def test_a_control_handler_that_fails_drops_its_client_only(last: bytes | None) -> None:
    one = Situation(Remembering())
    one.connection.subscribe_control(b"control", failing)
    one.reply(last)
    one.publish(b"control", b"1")
    assert one.wire.closed


# -- sending --


def test_send_waits_for_room() -> None:
    one = Situation(Remembering())
    one.wire.room, sent = 0, []
    one.wire.send = lambda message, binary=None: sent.append(message)  # type: ignore[attr-defined]
    thread = threading.Thread(target=one.connection.send, args=("hi",), kwargs={"wait": True})
    thread.start()
    wait_for(lambda: one.connection._room is not None, "it waits")
    assert not sent
    one.wire.room = 100
    one.connection.drained()
    thread.join()
    assert sent == ["hi"]


def test_send_waits_for_nobody_who_is_gone() -> None:
    one = Situation(Remembering())
    one.wire.room = 0
    one.wire.abort()
    with pytest.raises(WebSocketError):
        one.connection.send("hi", wait=True)


class Shouting(Remembering):
    dialect = Dialect(lambda publication: (Opcode.TEXT, publication.payload.upper()), lambda message: message.lower())


def test_an_endpoint_has_a_dialect() -> None:
    one = Situation(Shouting())
    one.connection.subscribe(b"a")
    one.reply(b"x")
    one.publish(b"a", b"y")
    assert one.sent() == b"101XY"
    one.connection.received(["Z"], 1, 1)
    one.process.run_spawned()
    assert one.endpoint.heard == ["z"]


class History:
    """A fake of what is to come: two commands, of which the second fails."""

    def start(self, pubsub: Any, channels: Any, done: Callable[..., None]) -> Any:
        found: list[Publication] = []
        return [
            pubsub.ask(("XRANGE",), lambda entries: found.extend(Publication(channels[0], each) for each in entries)),
            pubsub.ask(("XINFO",), lambda _reply: done(found), lambda _error: done(found)),
        ]


class Recovering(Remembering):
    catch_up = History()

    def on_open(self, connection: Any) -> None:
        connection.subscribe(b"a")


def test_catching_up_is_a_strategy() -> None:
    one = Situation(Recovering())
    one.publish(b"a", b"3")
    one.reply(b"1", b"2")
    assert one.sent() == b""
    one.process.asked[0].resolve(error_reply())
    assert one.sent() == b"101123"


def error_reply() -> Any:
    import hiredis

    reader = hiredis.Reader()
    reader.feed(b"-ERR on purpose\r\n")
    return reader.gets()


def test_liveness_of_one_who_pulls_slowly() -> None:
    """It is pinged, and never dead of silence, for its answers are not read."""
    one = Situation(Pulling())
    one.connection.received(["x"] * 64, 64, 1)
    assert {each for _, each in ticks(one.process, one.wire, 100)} == {"ping"}
