"""A backlog for a client that is too slow, where the site would rather drop messages than the client."""

from __future__ import annotations

from collections.abc import Container, Iterable

from ws4redis.core.metrics import counters
from ws4redis.core.publication import Publication


class Backlog:
    """Publications that found no room in the outbox.

    Args:
        limit: bytes that may wait; the oldest go first.
        conflate: True lets only the latest of each channel wait.
    """

    __slots__ = ("_conflate", "_limit", "_size", "_waiting")

    def __init__(self, limit: int, conflate: bool) -> None:
        self._limit = limit
        self._conflate = conflate
        self._size = 0
        #: in order; by channel where there is one of each
        self._waiting: dict[object, Publication] = {}

    def add(self, publications: Iterable[Publication]) -> None:
        for publication in publications:
            key: object = publication.channel if self._conflate else publication
            if key in self._waiting:
                self._drop(key)
            self._waiting[key] = publication
            self._size += len(publication.payload)
            while self._size > self._limit:
                self._drop(next(iter(self._waiting)))

    def forget(self, channels: Container[bytes]) -> None:
        for key in [key for key, each in self._waiting.items() if each.channel in channels]:
            self._size -= len(self._waiting.pop(key).payload)

    def take(self) -> list[Publication]:
        """All that waits."""
        waiting, self._waiting = list(self._waiting.values()), {}
        self._size = 0
        return waiting

    def _drop(self, key: object) -> None:
        self._size -= len(self._waiting.pop(key).payload)
        counters["dropped for a slow browser"] += 1
