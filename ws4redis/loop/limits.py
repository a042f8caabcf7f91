"""Connection limits: counts of websockets by process, user or address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping


class LimitReached(Exception):
    """``key`` has as many websockets as it may."""

    def __init__(self, key: str, most: int) -> None:
        super().__init__(f"{key} has {most} websockets already")
        self.key = key


class ConnectionLimits:
    """Counts websockets by key, such as ``user john``."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def acquire(self, limits: Mapping[str, int]) -> tuple[str, ...]:
        """Count one more for each key, if all of them are below their limits; returns the keys, for ``release``.

        Raises:
            LimitReached: one of them is not; nothing was counted.
        """
        for key, most in limits.items():
            if self._counts[key] >= most:
                raise LimitReached(key, most)
        for key in limits:
            self._counts[key] += 1
        return tuple(limits)

    def release(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
