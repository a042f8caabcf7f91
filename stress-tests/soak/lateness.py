"""How busy the machine is: by how much this process ran later than it wanted to."""

from __future__ import annotations

import asyncio
import time
from collections import deque

_STEP_SECONDS = 0.1
_KEPT_SECONDS = 60.0


class Lateness:
    def __init__(self) -> None:
        #: when, and by how many seconds
        self._late: deque[tuple[float, float]] = deque()
        self.most = 0.0

    async def run(self) -> None:
        while True:
            begin = time.monotonic()
            await asyncio.sleep(_STEP_SECONDS)
            now = time.monotonic()
            late = now - begin - _STEP_SECONDS
            self.most = max(self.most, late)
            self._late.append((now, late))
            while self._late[0][0] < now - _KEPT_SECONDS:
                self._late.popleft()

    def since(self, begin: float) -> float:
        """In all, in seconds; the workers may have stood still as long."""
        return sum(late for when, late in self._late if when > begin)
