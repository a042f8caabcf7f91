"""The connections of a process, and when each has its turn to look at the clock."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ws4redis.loop.connection import Connection


class Roster:
    """A set of connections in parts, one for each second of a period.

    Ten thousand that are idle cost nothing but the looks at them, so these are as few as can be.

    Args:
        period: seconds between two turns of a connection.
    """

    def __init__(self, period: int) -> None:
        self._period = period
        #: not yet connected, and impatient: they have a turn in each second
        self._newcomers: set[Connection] = set()
        self._parts: list[set[Connection]] = [set() for _ in range(period)]

    def __len__(self) -> int:
        return len(self._newcomers) + sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Connection]:
        return chain(self._newcomers, *self._parts)

    def add(self, connection: Connection) -> None:
        self._newcomers.add(connection)

    def discard(self, connection: Connection) -> None:
        self._newcomers.discard(connection)
        for part in self._parts:
            part.discard(connection)

    def turns(self, second: int) -> list[tuple[Connection, int]]:
        """Whose turn it is, each with the seconds since the last one."""
        part = self._parts[second % self._period]
        turns = [(each, 1) for each in self._newcomers] + [(each, self._period) for each in part]
        connected = {each for each in self._newcomers if each.connected}
        self._newcomers -= connected
        part |= connected
        return turns
