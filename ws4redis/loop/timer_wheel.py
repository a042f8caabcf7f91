"""A timing wheel: when each connection must next be checked (Varghese and Lauck, 1987)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ws4redis.loop.connection import Connection


class TimerWheel:
    """Schedules connections by tick. An idle one costs nothing until its tick comes.

    Args:
        max_delay: the furthest a check may be scheduled ahead, in ticks.
    """

    def __init__(self, max_delay: int) -> None:
        self._slots: list[set[Connection]] = [set() for _ in range(max_delay + 1)]

    def __len__(self) -> int:
        return sum(map(len, self._slots))

    def __iter__(self) -> Iterator[Connection]:
        return chain(*self._slots)

    def schedule(self, connection: Connection, tick: int) -> None:
        """Make it due at ``tick``, replacing an earlier schedule."""
        self.cancel(connection)
        connection.slot = tick % len(self._slots)
        self._slots[connection.slot].add(connection)

    def cancel(self, connection: Connection) -> None:
        self._slots[connection.slot].discard(connection)

    def pop_due(self, tick: int, limit: int) -> list[Connection]:
        """Remove and return up to ``limit`` connections due at ``tick``; those that stay must be re-scheduled."""
        slot = tick % len(self._slots)
        due = self._slots[slot]
        if len(due) <= limit:
            self._slots[slot] = set()  # a set that was large keeps its memory
            return [*due]
        return [due.pop() for _ in range(limit)]
