from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loop.test_subscriptions import Situation
from ws4redis.core.metrics import counters
from ws4redis.core.publication import Publication
from ws4redis.loop.slow_client import Backlog

# limit in bytes, conflate, what is published (channel and payload), what is left, how many are dropped
BACKLOGS: list[tuple[int, bool, str, str, int]] = [
    (9, False, "", "", 0),
    (9, False, "a1 b2 a3", "a1 b2 a3", 0),
    (2, False, "a1 b2 a3", "b2 a3", 1),
    (1, False, "a1 b2 a3", "a3", 2),
    (9, False, "a1 a1", "a1 a1", 0),
    (3, False, "a1 a4444 a3", "a3", 2),
    (9, True, "a1 b2 a3", "b2 a3", 1),
    (9, True, "a1 a2 a3", "a3", 2),
    (1, True, "a1 b2 c3", "c3", 2),
    (0, True, "a1", "", 1),
]


@pytest.fixture(autouse=True)
def dropped() -> Iterator[dict[str, int]]:
    counters.clear()
    yield counters
    counters.clear()


def publications(words: str) -> list[Publication]:
    return [Publication(word[:1].encode(), word[1:].encode()) for word in words.split()]


@pytest.mark.parametrize(("limit", "conflate", "published", "left", "lost"), BACKLOGS)
def test_backlogs(limit: int, conflate: bool, published: str, left: str, lost: int, dropped: dict[str, int]) -> None:
    backlog = Backlog(limit, conflate)
    backlog.add(publications(published))
    assert " ".join((each.channel + each.payload).decode() for each in backlog.take()) == left
    assert dropped.get("dropped for a slow browser", 0) == lost
    assert backlog.take() == []


@pytest.fixture
def browser() -> Situation:
    situation = Situation(channels=b"a b")
    situation.process.new_backlog = lambda: Backlog(3, conflate=False)
    situation.restore()
    situation.answer(None, None)
    situation.sent()
    return situation


def test_what_has_no_room_waits_until_the_browser_has_read(browser: Situation) -> None:
    browser.publish((b"a", b"1"))
    browser.wire.room = 6  # for two frames of three bytes
    browser.publish((b"a", b"2"), (b"a", b"3"), (b"b", b"4"), (b"b", b"5"))
    browser.publish((b"a", b"6"), (b"a", b"7"))
    assert browser.sent() == b"123"
    browser.wire.room = 1000
    browser.connection.drained()
    assert browser.sent() == b"567", "of what waited only three bytes were kept"
    browser.publish((b"a", b"8"))
    assert browser.sent() == b"8"


def test_nothing_waits_for_one_who_has_left(browser: Situation) -> None:
    browser.wire.room = 0
    browser.publish((b"a", b"1"))
    browser.connection.lost()
    browser.connection.drained()
    assert not browser.process.hub.channels
