"""What a browser hears when its view's channels change; Redis' answers come when the test gives them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.loop.test_connection import Page, Process, Wire
from ws4redis.hearing import OwnMessages, Said
from ws4redis.loop.connection import Connection
from ws4redis.protocol.deflate import Deflater, Options
from ws4redis.publication import Publication

WATCHED = b"changes"


class Situation:
    """A browser that listens to ``a`` and ``b``, and whose view follows what is told on ``changes``."""

    def __init__(self, channels: bytes = b"a b", own: OwnMessages | None = None) -> None:
        page = Page(tuple(channels.split()), own)
        page.groups_channel = WATCHED
        self.open(page)

    def open(self, page: Page) -> None:
        self.page = page
        self.stamp: bytes | None = b"stamp"
        self.wire, self.process = Wire(), Process()
        self.connection = Connection(self.process, self.wire, self.page, b"101")  # type: ignore[arg-type]
        self.connection.open()

    def answer(self, *values: bytes | None) -> None:
        """Redis replies to the oldest MGET: the last messages, the stamp, and the last change."""
        if self.page.groups_channel is not None:
            values = (*values[:-1], self.stamp, values[-1])
        self.process.asked.pop(0)(values)

    def publish(self, *messages: tuple[bytes, bytes]) -> None:
        list(self.process.hub.deliver([Publication(channel, payload) for channel, payload in messages]))

    def change(self, channels: bytes) -> None:
        self.publish((WATCHED, channels))

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
    situation.answer(None, None, None)
    assert situation.sent() == b"101"
    situation.commands()
    return situation


def test_it_listens_for_changes_first() -> None:
    assert Situation().commands() == [("SUBSCRIBE", WATCHED), ("SUBSCRIBE", b"a"), ("SUBSCRIBE", b"b")]


@pytest.mark.contract("11.2 last message: decided: subscribed first, then read")
def test_it_hears_a_new_channel_from_its_last_message_on(browser: Situation) -> None:
    browser.change(b"a b c")
    assert browser.commands() == [("SUBSCRIBE", b"c")]
    browser.publish((b"c", b"2"), (b"a", b"3"))
    assert browser.sent() == b""
    browser.answer(b"1", b"a b c")
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
    browser.answer(b"x", b"1", b"b c")
    assert browser.commands() == [("UNSUBSCRIBE", b"a"), ("SUBSCRIBE", b"c")]
    assert browser.sent() == b"" and not browser.connection.connected
    browser.answer(b"1", b"3", b"b c")
    assert browser.sent() == b"101132"


def test_a_channel_that_was_left_before_it_is_connected() -> None:
    browser = Situation()
    browser.publish((b"a", b"x"), (b"b", b"2"))
    browser.answer(b"x", b"1", b"b")
    assert browser.sent() == b"10112"


def test_a_change_while_redis_is_asked_comes_with_the_answer(browser: Situation) -> None:
    browser.change(b"a b c")
    browser.change(b"a b d")
    assert len(browser.process.asked) == 1
    browser.answer(b"x", b"a b d")
    browser.answer(b"1", b"a b d")
    assert browser.sent() == b"1"
    assert browser.commands() == [("SUBSCRIBE", b"c"), ("UNSUBSCRIBE", b"c"), ("SUBSCRIBE", b"d")]


def test_two_changes_keep_what_the_first_has_brought(browser: Situation) -> None:
    browser.change(b"a b c")
    browser.answer(b"x", b"a b c d")
    browser.answer(b"1", b"2", b"a b c d")
    assert browser.sent() == b"12"


def test_after_a_loss_it_asks_what_has_changed(browser: Situation) -> None:
    browser.connection.resubscribed()
    browser.answer(b"a c")
    assert browser.commands() == [("SUBSCRIBE", b"c")]
    browser.answer(b"1", b"a c")
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
        browser.answer(b"1", b"a b")
    assert browser.sent() == sent
    browser.publish((b"a", b"2"))
    assert browser.sent() == b"2"


def test_who_comes_back_at_once_had_not_yet_got_the_last_message(browser: Situation) -> None:
    browser.change(b"a b c")
    browser.answer(None, b"a b")
    browser.change(b"a b c")
    browser.answer(b"1", b"a b c")
    assert browser.sent() == b"1"


def test_what_was_missed_during_a_loss_is_not_known(browser: Situation) -> None:
    browser.change(b"b")
    browser.process.absences.clear()
    browser.change(b"a b")
    browser.answer(b"1", b"a b")
    assert browser.sent() == b"1"


def test_a_ban_during_a_loss_is_known_before_anything_is_heard(browser: Situation) -> None:
    browser.connection.resubscribed()
    browser.publish((b"a", b"x"), (b"b", b"1"))
    assert browser.sent() == b""
    browser.answer(b"b")
    assert browser.sent() == b"1"


def test_redis_does_not_know_the_groups_of_a_newcomer() -> None:
    """It is connected when the groups are known, and has missed nothing since Redis has confirmed."""
    browser = Situation(channels=b"a")
    browser.stamp = None
    browser.answer(b"1", None)
    assert browser.page.lookups == 1 and not browser.process.asked
    assert browser.sent() == b"" and not browser.connection.connected
    browser.stamp = b"stamp"
    browser.change(b"a c")
    browser.publish((b"a", b"3"), (b"c", b"4"))
    browser.answer(b"2", b"5", b"a c")
    assert browser.sent() == b"1012534"


def test_a_newcomer_turns_out_to_be_in_no_group() -> None:
    browser = Situation(channels=b"a")
    browser.stamp = None
    browser.answer(b"1", None)
    browser.publish((b"a", b"2"))
    browser.stamp = b"stamp"
    browser.change(b"")
    browser.answer(b"")
    assert browser.sent() == b"101"


def test_redis_is_lost_while_a_newcomer_is_looked_up() -> None:
    browser = Situation(channels=b"a")
    browser.stamp = None
    browser.answer(b"1", None)
    browser.connection.resubscribed()
    browser.answer(None)
    assert browser.page.lookups == 2 and not browser.connection.connected
    browser.stamp = b"stamp"
    browser.change(b"a")
    browser.answer(b"2", b"a")
    assert browser.sent() == b"1012"


def test_after_a_loss_redis_does_not_know_the_groups(browser: Situation) -> None:
    browser.connection.resubscribed()
    browser.stamp = None
    browser.answer(None)
    assert browser.page.lookups == 1
    browser.publish((b"a", b"1"), (b"b", b"2"))
    assert browser.sent() == b""
    browser.change(b"b c")
    browser.stamp = b"stamp"
    browser.answer(b"2", b"3", b"b c")
    assert browser.sent() == b"23"
    assert browser.wait(3) == [b"a"]
    browser.change(b"b c d")
    browser.stamp = None
    browser.answer(b"4", b"b c d")
    assert browser.sent() == b"4" and browser.page.lookups == 1, "it is known since the loss"


def test_own_messages_do_not_come_back_while_redis_is_asked() -> None:
    own = OwnMessages()
    browser = Situation(own=own)
    browser.answer(None, None, None)
    browser.sent()
    browser.change(b"a b c")
    own.expect(b"a", b"m")
    browser.publish((b"a", b"m"), (b"a", b"1"))
    browser.answer(None, b"a b c")
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
    own, said = OwnMessages(), []
    browser = Situation()
    browser.open(Page((b"a",), own))
    browser.answer(None)
    browser.sent()
    for word in words.split():
        if word == "expect":
            said.append(Said())
            own.expect(b"a", b"m", said[-1])
        elif word in ("published", "failed"):
            own.published(said[-1], sure=word == "published")
        elif word in ("return", "other"):
            browser.publish((b"a", b"m"))
        elif word == "loss":
            browser.connection.resubscribed()
        elif browser.process.asked:
            browser.answer()
    assert browser.sent() == sent
    assert not browser.process.asked
    assert not own


def test_one_who_is_in_no_group_yet() -> None:
    browser = Situation(channels=b"")
    browser.answer(None)
    assert browser.sent() == b"101"
    browser.change(b"c")
    browser.answer(b"1", b"c")
    assert browser.sent() == b"1"


@pytest.mark.parametrize("steps", [[], [(None, None, None)], [(None, None, None), b"c"], [(None, None, None), b"b"]])
def test_nothing_is_left_when_it_leaves(steps: list[Any]) -> None:
    browser = Situation()
    for step in steps:
        if isinstance(step, tuple):
            browser.answer(*step)
        else:
            browser.change(step)
    browser.connection.lost()
    told = browser.commands() + [("UNSUBSCRIBE", name) for name in browser.wait(3)]
    assert not browser.process.hub.channels and not browser.process.hub.controls and not browser.process.asked
    subscribed = {name for command, name in told if command == "SUBSCRIBE"}
    assert {name for command, name in told if command == "UNSUBSCRIBE"} == subscribed


# whether frames may go past the listener, once it is connected
DIRECT = [
    (None, True),
    (Deflater(15, Options(), shared=True), True),
    (Deflater(15, Options(), shared=False), False),
]


@pytest.mark.parametrize(("deflater", "expected"), DIRECT)
def test_nothing_goes_past_it_that_it_must_see(deflater: Deflater | None, expected: bool) -> None:
    browser = Situation()
    browser.wire.deflater = deflater
    listener = browser.connection._listener
    assert listener.direct is None
    browser.answer(None, None, None)
    assert (listener.direct is browser.wire) == expected
    browser.change(b"a b c")
    assert listener.direct is None
    browser.answer(None, b"a b c")
    assert (listener.direct is browser.wire) == expected
