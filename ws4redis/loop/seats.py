"""How many websockets each visitor has in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping


class NoSeat(Exception):
    """``holder`` has as many websockets as it may."""

    def __init__(self, holder: str, most: int) -> None:
        super().__init__(f"{holder} has {most} websockets already")
        self.holder = holder


class Seats:
    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def take(self, limits: Mapping[str, int]) -> tuple[str, ...]:
        """One for each holder, if all of them have less than they may; returns them, to be given back.

        Raises:
            NoSeat: one of them has not.
        """
        for holder, most in limits.items():
            if self._taken[holder] >= most:
                raise NoSeat(holder, most)
        for holder in limits:
            self._taken[holder] += 1
        return tuple(limits)

    def give_back(self, holders: Iterable[str]) -> None:
        for holder in holders:
            self._taken[holder] -= 1
            if not self._taken[holder]:
                del self._taken[holder]
