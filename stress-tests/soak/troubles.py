"""What is broken at the moment, by intent."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping

#: how long a fault may show after all is well: a request may have waited for its answer
_AFTERMATH_SECONDS = 5.0


class Season:
    """The time in which what a kind of fault brings is excused."""

    def __init__(self) -> None:
        self._under_way = 0
        self._over = self._until = -math.inf
        self._concerned: frozenset[int] = frozenset()

    @property
    def well(self) -> bool:
        """Nothing is broken or mending."""
        return self._until < math.inf

    @property
    def lasts(self) -> bool:
        return time.monotonic() < self._until

    def lasted(self, since: float) -> bool:
        """At any time since then."""
        return since < self._until

    def begin(self) -> None:
        self._under_way += 1
        self._until = math.inf

    def finish(self, concerned: Collection[int]) -> None:
        """The fault is over; all is well as soon as these processes have heard their canaries."""
        self._under_way -= 1
        self._over = time.monotonic()
        self._concerned = frozenset(concerned)

    def heal(self, living: Collection[int], heard: Mapping[int, float]) -> None:
        waiting = self._concerned.intersection(living)
        if not self.well and not self._under_way and all(heard.get(pid, -math.inf) > self._over for pid in waiting):
            self._until = time.monotonic() + _AFTERMATH_SECONDS


class Troubles:
    """
    Attributes:
        confirmed: what had reached all loops before a worker was ended.
        away_since: when Redis went away; None while it is there.
    """

    def __init__(self) -> None:
        self.redis = Season()
        self.workers = Season()
        self.confirmed = -math.inf
        self.away_since: float | None = None
