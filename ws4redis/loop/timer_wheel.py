"""The connections of a process, and when each has its turn to look at the clock."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ws4redis.loop.connection import Connection


class Roster:
    """A set of connections in a timing wheel, with a part for each tick (Varghese and Lauck, 1987).

    Ten thousand that are idle cost nothing but the looks at them, so each says when the next one is worth it.

    Args:
        furthest: in how many ticks a turn may be.
    """

    def __init__(self, furthest: int) -> None:
        self._parts: list[set[Connection]] = [set() for _ in range(furthest + 1)]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Connection]:
        return chain(*self._parts)

    def put(self, connection: Connection, tick: int) -> None:
        """Its next turn is then, and not when it was to be before."""
        self.discard(connection)
        connection.turn = tick % len(self._parts)
        self._parts[connection.turn].add(connection)

    def discard(self, connection: Connection) -> None:
        self._parts[connection.turn].discard(connection)

    def take(self, tick: int, most: int) -> list[Connection]:
        """Some of those whose turn it is; whoever does not leave must be put again."""
        place = tick % len(self._parts)
        part = self._parts[place]
        if len(part) <= most:
            self._parts[place] = set()  # for one that was large keeps its memory
            return [*part]
        return [part.pop() for _ in range(most)]
