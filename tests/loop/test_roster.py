from __future__ import annotations

import pytest

from ws4redis.loop.roster import Roster


class Connection:
    def __init__(self, name: str, connected: bool = True) -> None:
        self.name, self.connected = name, connected

    def __repr__(self) -> str:
        return self.name


@pytest.mark.parametrize("period", [1, 5])
def test_each_has_a_turn_in_each_period_and_is_told_the_time(period: int) -> None:
    roster = Roster(period)
    everybody = [Connection(str(number)) for number in range(20)]
    seconds = dict.fromkeys(everybody, 0)
    for second in range(100):
        if second < 20:
            roster.add(everybody[second])  # type: ignore[arg-type]
        for each, since in roster.turns(second):
            seconds[each] += since  # type: ignore[index]
    for number, each in enumerate(everybody):
        assert 100 - number - period < seconds[each] <= 100 - number, each
    assert len(roster) == 20
    assert set(roster) == set(everybody)


def test_newcomers_have_a_turn_in_each_second() -> None:
    roster = Roster(5)
    waiting = Connection("waiting", connected=False)
    roster.add(waiting)  # type: ignore[arg-type]
    assert [roster.turns(second) for second in range(3)] == [[(waiting, 1)]] * 3
    waiting.connected = True
    assert [roster.turns(second) for second in range(3, 9)] == [[(waiting, 1)], [], [], [], [], [(waiting, 5)]]


@pytest.mark.parametrize("seconds", range(7))
def test_who_has_left_has_no_turn(seconds: int) -> None:
    roster = Roster(5)
    gone = Connection("gone")
    roster.add(gone)  # type: ignore[arg-type]
    for second in range(seconds):
        roster.turns(second)
    roster.discard(gone)  # type: ignore[arg-type]
    assert (list(roster), len(roster)) == ([], 0)
    assert [roster.turns(second) for second in range(seconds, seconds + 10)] == [[]] * 10
