"""What a client gets when its channels change; Redis' replies come when the test gives them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.loop.test_connection import Opening, Page, Process, Wire
from ws4redis.core.channel_set import ChannelSet
from ws4redis.core.echo import EchoFilter, Sent
from ws4redis.core.encoding import RAW, encoding_of
from ws4redis.core.publication import Publication
from ws4redis.loop.connection import Connection
from ws4redis.protocol.deflate import Deflater, Options

CONTROL = b"changes"


class Grouped(Page):
    """Its channels are what was published last on ``changes``."""

    lookups = 0

    def on_open(self, connection: Any) -> None:
        self.names = ChannelSet(1000)
        self.names.replace(self.channels)
        connection.subscribe_control(CONTROL, self.changed, (b"stamp", CONTROL), self.restore)
        super().on_open(connection)
        self.names.connection = connection

    def changed(self, update: bytes | None) -> bool:
        if update is not None:
            self.names.replace(update.split())
        return True

    def restore(self, stamp: bytes | None, update: bytes | None) -> bool:
        """The stamp is missing where Redis has lost its data."""
        if stamp is None:
            self.lookups += 1
            self.changed(b"")
        return stamp is not None and self.changed(update)


class Situation:
    """A client that is subscribed to ``a`` and ``b``, and whose endpoint follows what is published on ``changes``."""

    def __init__(self, channels: bytes = b"a b", echo_filter: EchoFilter | None = None) -> None:
        self.open(Grouped(tuple(channels.split()), echo_filter))

    def open(self, page: Page) -> None:
        self.page: Any = page
        self.stamp: bytes | None = b"stamp"
        self.wire, self.process = Wire(), Process()
        self.connection = Connection(self.process, self.wire, self.page, Opening())  # type: ignore[arg-type]
        self.connection.open()

    def restore(self, update: bytes | None = None) -> None:
        """Redis replies what the groups are."""
        self._reply(b"stamp", [self.stamp, update])

    def answer(self, *values: bytes | None) -> None:
        """Redis replies with the last messages, to the oldest question, or to a mark."""
        [pending, *_] = [each for each in self.process.asked if b"stamp" not in each.command]
        assert pending.command[0] == "ECHO" or len(pending.command) == len(values) + 1, pending.command
        pending.resolve(values)

    def answer_all(self) -> None:
        """Nothing was kept."""
        while self.process.asked:
            self.process.asked[0].resolve([None] * 9)

    def _reply(self, key: bytes, values: list[bytes | None]) -> None:
        [pending, *_] = [each for each in self.process.asked if key in each.command]
        pending.resolve(values)

    def publish(self, *messages: tuple[bytes, bytes]) -> None:
        list(self.process.hub.deliver([Publication(channel, payload) for channel, payload in messages]))

    def change(self, channels: bytes) -> None:
        self.publish((CONTROL, channels))

    def wait(self, ticks: int) -> list[bytes]:
        """The channels to which nobody listens any more."""
        self.process.ticks += ticks
        return self.process.absences.tick(self.process.ticks)

    def sent(self) -> bytes:
        """All that was written since, without the frames' heads."""
        told = b"".join(each for each in self.wire.told if isinstance(each, bytes))
        self.wire.told.clear()
        return told.replace(b"\x81\x01", b"")

    def commands(self) -> list[tuple[str, bytes]]:
        told, self.process.commands = self.process.commands, []
        return told


@pytest.fixture
def browser() -> Situation:
    """One that is connected."""
    situation = Situation()
    situation.restore()
    situation.answer(None, None)
    assert situation.sent() == b"101"
    situation.commands()
    return situation


def test_it_listens_for_changes_first() -> None:
    assert Situation().commands() == [("SUBSCRIBE", CONTROL), ("SUBSCRIBE", b"a"), ("SUBSCRIBE", b"b")]


@pytest.mark.contract("11.2 last message: decided: subscribed first, then read")
def test_it_hears_a_new_channel_from_its_last_message_on(browser: Situation) -> None:
    browser.change(b"a b c")
    assert browser.commands() == [("SUBSCRIBE", b"c")]
    browser.publish((b"c", b"2"), (b"a", b"3"))
    assert browser.sent() == b""
    browser.answer(b"1")
    assert browser.sent() == b"123"
    browser.publish((b"c", b"4"))
    assert browser.sent() == b"4"


def test_it_no_longer_hears_what_it_has_left(browser: Situation) -> None:
    browser.change(b"b")
    browser.publish((b"a", b"1"), (b"b", b"2"))
    assert browser.sent() == b"2"
    assert not browser.process.asked
    assert (browser.commands(), browser.wait(2), browser.wait(1)) == ([], [], [b"a"]), "after a moment"


def test_a_change_that_changes_nothing_asks_for_nothing(browser: Situation) -> None:
    browser.change(b"a b")
    assert not browser.commands() and not browser.process.asked


def test_a_change_before_it_is_connected() -> None:
    """It is connected when all of its channels are confirmed, and gets nothing of those that are no longer its own."""
    browser = Situation()
    browser.publish((b"a", b"x"), (b"b", b"2"))
    browser.commands()
    browser.restore(b"b c")
    assert browser.commands() == [("UNSUBSCRIBE", b"a"), ("SUBSCRIBE", b"c")]
    browser.answer(b"x", b"1")
    assert browser.sent() == b"" and not browser.connection.accepted
    browser.answer(b"3")
    assert browser.sent() == b"101132"


def test_a_channel_that_was_left_before_it_is_connected() -> None:
    browser = Situation()
    browser.publish((b"a", b"x"), (b"b", b"2"))
    browser.answer(b"x", b"1")
    browser.restore(b"b")
    assert browser.sent() == b"10112"


def test_a_change_while_redis_is_asked(browser: Situation) -> None:
    browser.change(b"a b c")
    browser.change(b"a b d")
    assert browser.commands() == [("SUBSCRIBE", b"c"), ("UNSUBSCRIBE", b"c"), ("SUBSCRIBE", b"d")]
    browser.answer(b"x")
    assert browser.sent() == b""
    browser.answer(b"1")
    assert browser.sent() == b"1"


def test_a_change_before_the_groups_are_known_comes_after_them() -> None:
    browser = Situation()
    browser.change(b"b")
    assert len(browser.process.asked) == 2
    browser.restore(b"a c")
    for values in ((b"1", b"2"), (b"3",), (b"4",)):
        assert browser.sent() == b""
        browser.answer(*values)
    assert browser.sent() == b"1014"


def test_last_messages_come_in_the_order_of_the_channels() -> None:
    """Not in that of the replies: a group that was looked up stands before the session."""
    browser = Situation(channels=b"a d")
    browser.stamp = None
    browser.restore()
    browser.answer(b"1", b"4")
    browser.change(b"a d")
    browser.change(b"a b c d")
    for values in ((b"1", b"4"), (b"2", b"3")):
        browser.answer(*values)
    assert browser.sent() == b"1011234"


def test_two_changes_keep_what_the_first_has_brought(browser: Situation) -> None:
    browser.change(b"a b c")
    browser.change(b"a b c d")
    browser.answer(b"1")
    browser.answer(b"2")
    assert browser.sent() == b"12"


def test_after_a_loss_it_asks_what_has_changed(browser: Situation) -> None:
    browser.connection.subscriptions.resubscribed()
    browser.restore(b"a c")
    assert browser.commands() == [("SUBSCRIBE", b"c")]
    browser.answer(b"1")
    assert browser.sent() == b"1"
    assert browser.wait(3) == [b"b"]


# what is published on "a" while it is away, for how many ticks it is -> what it is sent when it is back
STAYS: list[tuple[list[bytes], int, bytes]] = [
    ([], 0, b""),
    ([], 2, b""),
    ([], 3, b"1"),
    ([b"x"], 0, b"1"),
]


@pytest.mark.parametrize(("missed", "ticks", "sent"), STAYS)
def test_who_comes_back_at_once_to_a_group_goes_on(
    browser: Situation, missed: list[bytes], ticks: int, sent: bytes
) -> None:
    browser.change(b"b")
    browser.publish(*((b"a", each) for each in missed))
    browser.wait(ticks)
    browser.change(b"a b")
    if browser.process.asked:
        browser.answer(b"1")
    assert browser.sent() == sent
    browser.publish((b"a", b"2"))
    assert browser.sent() == b"2"


def test_who_comes_back_at_once_had_not_yet_got_the_last_message(browser: Situation) -> None:
    browser.change(b"a b c")
    browser.change(b"a b")
    browser.answer(None)
    browser.change(b"a b c")
    browser.answer(b"1")
    assert browser.sent() == b"1"


def test_what_was_missed_during_a_loss_is_not_known(browser: Situation) -> None:
    browser.change(b"b")
    browser.process.absences.clear()
    browser.change(b"a b")
    browser.answer(b"1")
    assert browser.sent() == b"1"


def test_a_ban_during_a_loss_is_known_before_anything_is_heard(browser: Situation) -> None:
    browser.connection.subscriptions.resubscribed()
    browser.publish((b"a", b"x"), (b"b", b"1"))
    assert browser.sent() == b""
    browser.restore(b"b")
    assert browser.sent() == b"1"


def test_redis_does_not_know_the_groups_of_a_newcomer() -> None:
    """It is accepted when the groups are known, and has missed nothing since Redis has confirmed."""
    browser = Situation(channels=b"a")
    browser.stamp = None
    browser.restore()
    assert browser.page.lookups == 1
    browser.change(b"a c")
    browser.publish((b"a", b"3"), (b"c", b"4"))
    for values in ((b"0",), (b"2", b"5")):
        assert browser.sent() == b"" and not browser.connection.accepted
        browser.answer(*values)
    assert browser.sent() == b"1012534"


def test_a_newcomer_turns_out_to_be_in_no_group() -> None:
    browser = Situation(channels=b"a")
    browser.answer(b"1")
    browser.stamp = None
    browser.restore()
    browser.publish((b"a", b"2"))
    assert browser.sent() == b"" and not browser.connection.accepted
    browser.change(b"")
    assert browser.sent() == b"101"


def test_redis_is_lost_while_a_newcomer_is_looked_up() -> None:
    browser = Situation(channels=b"a")
    browser.stamp = None
    browser.restore()
    browser.connection.subscriptions.resubscribed()
    browser.restore()
    assert browser.page.lookups == 2 and not browser.connection.accepted
    browser.change(b"a")
    for value in (b"1", b"2"):
        assert browser.sent() == b""
        browser.answer(value)
    assert browser.sent() == b"1012"


def test_after_a_loss_redis_does_not_know_the_groups(browser: Situation) -> None:
    browser.connection.subscriptions.resubscribed()
    browser.stamp = None
    browser.restore()
    assert browser.page.lookups == 1
    browser.publish((b"a", b"1"), (b"b", b"2"))
    assert browser.sent() == b""
    browser.change(b"b c")
    browser.answer(b"2", b"3")
    assert browser.sent() == b"23"
    assert browser.wait(3) == [b"a"]
    browser.change(b"b c d")
    browser.answer(b"4")
    assert browser.sent() == b"4" and browser.page.lookups == 1, "it is known since the loss"


def test_own_messages_do_not_come_back_while_redis_is_asked() -> None:
    own = EchoFilter()
    browser = Situation(echo_filter=own)
    browser.restore()
    browser.answer(None, None)
    browser.sent()
    browser.change(b"a b c")
    own.expect(b"a", b"m")
    browser.publish((b"a", b"m"), (b"a", b"1"))
    browser.answer(None)
    assert browser.sent() == b"1"


# what happens to a message "m" of its own on "a", and to another one that is equal -> what it is sent
#: expect, return (of the own one), other, loss, answer (by Redis, to the oldest question), published (Redis' answer)
INTERRUPTIONS = [
    ("expect published return other", b"m"),
    ("expect return published other", b"m"),
    # it was published before the loss, so it never comes
    ("expect published loss mark other", b"m"),
    # it is under way meanwhile, and comes back
    ("expect loss return published mark other", b"m"),
    ("expect loss mark return published mark other", b"m"),
    ("expect loss published return mark other", b"m"),
    # or does not
    ("expect loss published mark other", b"m"),
    # of two the second is expected on
    ("expect loss published expect mark return", b""),
    ("expect failed mark other", b"m"),
    ("expect failed return mark other", b"m"),
    ("expect loss loss published mark mark other", b"m"),
]


@pytest.mark.parametrize(("words", "sent"), INTERRUPTIONS)
def test_own_messages_do_not_come_back_when_the_subscription_is_restored(words: str, sent: bytes) -> None:
    own, sent_ones = EchoFilter(), []
    browser = Situation()
    browser.open(Page((b"a",), own))
    browser.answer(None)
    browser.sent()
    for word in words.split():
        if word == "expect":
            sent_ones.append(Sent())
            own.expect(b"a", b"m", sent_ones[-1])
        elif word in ("published", "failed"):
            own.published(sent_ones[-1], sure=word == "published")
        elif word in ("return", "other"):
            browser.publish((b"a", b"m"))
        elif word == "loss":
            browser.connection.subscriptions.resubscribed()
        elif browser.process.asked:
            browser.answer()
    assert browser.sent() == sent
    assert not browser.process.asked
    assert not own


def test_one_who_is_in_no_group_yet() -> None:
    browser = Situation(channels=b"")
    browser.restore()
    assert browser.sent() == b"101"
    browser.change(b"c")
    browser.answer(b"1")
    assert browser.sent() == b"1"


@pytest.mark.parametrize("steps", ["", "restored", "restored answered", "restored answered c", "restored answered b"])
def test_nothing_is_left_when_it_leaves(steps: str) -> None:
    browser = Situation()
    for step in steps.split():
        if step == "restored":
            browser.restore()
        elif step == "answered":
            browser.answer(None, None)
        else:
            browser.change(step.encode())
    browser.connection.lost()
    told = browser.commands() + [("UNSUBSCRIBE", name) for name in browser.wait(3)]
    assert not browser.process.hub.channels and not browser.process.hub.controls and not browser.process.asked
    subscribed = {name for command, name in told if command == "SUBSCRIBE"}
    assert {name for command, name in told if command == "UNSUBSCRIBE"} == subscribed


# whether frames may go past the subscriptions, once Redis has confirmed
DIRECT = [
    (None, True),
    (Deflater(15, Options(), shared=True), True),
    (Deflater(15, Options(), shared=False), False),
]


@pytest.mark.parametrize(("deflater", "expected"), DIRECT)
def test_nothing_goes_past_it_that_it_must_see(deflater: Deflater | None, expected: bool) -> None:
    browser = Situation()
    browser.wire.encoding = encoding_of(RAW, deflater)
    subscriptions = browser.connection.subscriptions
    assert subscriptions.direct is None
    browser.restore()
    browser.answer(None, None)
    assert (subscriptions.direct is browser.wire) == expected
    browser.wire.listed = expected
    browser.change(b"a b c")
    assert subscriptions.direct is None
    assert not browser.wire.listed
    browser.answer(None)
    assert (subscriptions.direct is browser.wire) == expected
