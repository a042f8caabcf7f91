from __future__ import annotations

import pytest

from ws4redis.loop.timer_wheel import TimerWheel


class Connection:
    def __init__(self, name: str = "") -> None:
        self.name, self.slot = name, 0

    def __repr__(self) -> str:
        return self.name


def turns(wheel: TimerWheel, ticks: range) -> list[int]:
    """In which of these somebody has a turn."""
    return [tick for tick in ticks if wheel.pop_due(tick, 10)]


@pytest.mark.parametrize("now", [0, 3, 4, 7, 1000])
@pytest.mark.parametrize("wait", [1, 2, 5])
def test_each_has_its_turn_once(now: int, wait: int) -> None:
    wheel, one = TimerWheel(5), Connection()
    wheel.schedule(one, now + wait)  # type: ignore[arg-type]
    assert (list(wheel), len(wheel)) == ([one], 1)
    assert turns(wheel, range(now + 1, now + 30)) == [now + wait]
    assert (list(wheel), len(wheel)) == ([], 0)


@pytest.mark.parametrize("first", range(1, 6))
@pytest.mark.parametrize("then", range(1, 6))
def test_the_last_word_counts(first: int, then: int) -> None:
    wheel, one = TimerWheel(5), Connection()
    wheel.schedule(one, first)  # type: ignore[arg-type]
    wheel.schedule(one, then)  # type: ignore[arg-type]
    assert len(wheel) == 1
    assert turns(wheel, range(1, 20)) == [then]


@pytest.mark.parametrize("wait", range(1, 6))
def test_who_has_left_has_no_turn(wait: int) -> None:
    wheel, one = TimerWheel(5), Connection()
    wheel.schedule(one, wait)  # type: ignore[arg-type]
    wheel.cancel(one)  # type: ignore[arg-type]
    wheel.cancel(one)  # type: ignore[arg-type]
    assert (list(wheel), len(wheel)) == ([], 0)
    assert turns(wheel, range(1, 20)) == []


def test_many_have_their_turns_bit_by_bit() -> None:
    """Who leaves between two bits has none, who is put off has it later."""
    wheel, everybody = TimerWheel(5), [Connection(str(number)) for number in range(25)]
    for each in everybody:
        wheel.schedule(each, 2)  # type: ignore[arg-type]
    first = wheel.pop_due(2, 10)
    gone, put_off, *rest = [each for each in everybody if each not in first]
    wheel.cancel(gone)  # type: ignore[arg-type]
    wheel.schedule(put_off, 4)  # type: ignore[arg-type]
    for each in first:
        wheel.schedule(each, 7)
    seconds = [*wheel.pop_due(2, 10), *wheel.pop_due(2, 10)]
    assert sorted(map(str, seconds)) == sorted(map(str, rest))
    assert wheel.pop_due(2, 10) == []
    assert wheel.pop_due(4, 10) == [put_off]
    assert sorted(map(str, wheel.pop_due(7, 10))) == sorted(map(str, first))
    assert len(wheel) == 0
