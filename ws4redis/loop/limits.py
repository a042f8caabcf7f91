"""Connection limits: counts of websockets by process, user or address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple

#: over which a client's rate is measured
WINDOW_TICKS = 10


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


class Allowance(NamedTuple):
    """What a client may send within ``WINDOW_TICKS``; inf is no limit."""

    #: messages, their fragments, pings and so on
    frames: float
    #: decompressed
    bytes: float

    @staticmethod
    def per_second(frames: int | None, size: int | None) -> Allowance:
        return Allowance(WINDOW_TICKS * (frames or inf), WINDOW_TICKS * (size or inf))


class Rate:
    """What one client sends."""

    __slots__ = ("_bytes", "_frames", "_window")

    def __init__(self) -> None:
        #: in the current window, and the number of that window
        self._frames = self._bytes = self._window = 0

    def exceeds(self, allowance: Allowance, tick: int, frames: int, size: int) -> bool:
        """Count what has come in this tick; True where that is more than is allowed."""
        window = tick // WINDOW_TICKS
        if window != self._window:
            self._window = window
            self._frames = self._bytes = 0
        self._frames += frames
        self._bytes += size
        return self._frames > allowance.frames or self._bytes > allowance.bytes
