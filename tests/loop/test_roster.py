from __future__ import annotations

import pytest

from ws4redis.loop.timer_wheel import Roster


class Connection:
    def __init__(self, name: str = "") -> None:
        self.name, self.turn = name, 0

    def __repr__(self) -> str:
        return self.name


def turns(roster: Roster, ticks: range) -> list[int]:
    """In which of these somebody has a turn."""
    return [tick for tick in ticks if roster.take(tick, 10)]


@pytest.mark.parametrize("now", [0, 3, 4, 7, 1000])
@pytest.mark.parametrize("wait", [1, 2, 5])
def test_each_has_its_turn_once(now: int, wait: int) -> None:
    roster, one = Roster(5), Connection()
    roster.put(one, now + wait)  # type: ignore[arg-type]
    assert (list(roster), len(roster)) == ([one], 1)
    assert turns(roster, range(now + 1, now + 30)) == [now + wait]
    assert (list(roster), len(roster)) == ([], 0)


@pytest.mark.parametrize("first", range(1, 6))
@pytest.mark.parametrize("then", range(1, 6))
def test_the_last_word_counts(first: int, then: int) -> None:
    roster, one = Roster(5), Connection()
    roster.put(one, first)  # type: ignore[arg-type]
    roster.put(one, then)  # type: ignore[arg-type]
    assert len(roster) == 1
    assert turns(roster, range(1, 20)) == [then]


@pytest.mark.parametrize("wait", range(1, 6))
def test_who_has_left_has_no_turn(wait: int) -> None:
    roster, one = Roster(5), Connection()
    roster.put(one, wait)  # type: ignore[arg-type]
    roster.discard(one)  # type: ignore[arg-type]
    roster.discard(one)  # type: ignore[arg-type]
    assert (list(roster), len(roster)) == ([], 0)
    assert turns(roster, range(1, 20)) == []


def test_many_have_their_turns_bit_by_bit() -> None:
    """Who leaves between two bits has none, who is put off has it later."""
    roster, everybody = Roster(5), [Connection(str(number)) for number in range(25)]
    for each in everybody:
        roster.put(each, 2)  # type: ignore[arg-type]
    first = roster.take(2, 10)
    gone, put_off, *rest = [each for each in everybody if each not in first]
    roster.discard(gone)  # type: ignore[arg-type]
    roster.put(put_off, 4)  # type: ignore[arg-type]
    for each in first:
        roster.put(each, 7)
    seconds = [*roster.take(2, 10), *roster.take(2, 10)]
    assert sorted(map(str, seconds)) == sorted(map(str, rest))
    assert roster.take(2, 10) == []
    assert roster.take(4, 10) == [put_off]
    assert sorted(map(str, roster.take(7, 10))) == sorted(map(str, first))
    assert len(roster) == 0
