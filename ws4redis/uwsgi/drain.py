"""How an ending worker sends its browsers away: bit by bit to the workers that stay, or all at once where none does."""

from __future__ import annotations

import fcntl
import logging
import sys
import termios
import time
from random import uniform
from typing import TYPE_CHECKING

from ws4redis.protocol.frames import CloseCode

if TYPE_CHECKING:
    from ws4redis.loop.process import LoopProcess

logger = logging.getLogger("ws4redis")

#: the time between two batches, on average; within it all workers have heard of a reload that concerns them all
_STEP_SECONDS = 0.1

#: how long it is waited for browsers that neither answer the close frame nor read what is on its way
_SILENCE_SECONDS = 1.0

_LOOK_SECONDS = 0.05

#: kept back of the time after which uWSGI kills
_SPARE_SECONDS = 1.0


class AcceptLocks:
    """Which workers accept on a listening socket: each holds a lock on a byte of it.

    A record lock (``fcntl``) needs nothing that was made before the fork, and ends with its process, however that ends.

    Args:
        descriptor: the listening socket; None is one that nobody else knows.
        number: of this worker, which accepts from now on.
    """

    def __init__(self, descriptor: int | None, number: int) -> None:
        self._descriptor = descriptor
        self._number = number
        if descriptor is not None:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, number)
            except OSError as error:
                logger.warning("workers cannot know of each other, so browsers will leave at once: %s", error)
                self._descriptor = None

    def leave(self) -> None:
        """This worker accepts no more."""
        if self._descriptor is not None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._number)

    def others(self) -> bool:
        """Whether any worker accepts; this one must have left."""
        if self._descriptor is None:
            return False
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        return False


class Drain:
    """The end of one worker.

    Args:
        grace_seconds: seconds from its beginning until uWSGI kills.
        seconds: over which browsers are sent away (``WS4REDIS_DRAIN_SECONDS``).
    """

    def __init__(self, accept_locks: AcceptLocks, grace_seconds: float, seconds: float) -> None:
        self._accept_locks = accept_locks
        self._grace_seconds = grace_seconds
        self._seconds = seconds
        self._began: float | None = None
        self._is_stop = False

    @property
    def begun(self) -> bool:
        return self._began is not None

    def begin(self, is_stop: bool = False) -> None:
        """Nothing is accepted any more; requests may still run.

        Args:
            is_stop: nobody comes back in this worker's place, unless others accept.
        """
        self._is_stop = self._is_stop or is_stop
        if self._began is None:
            self._began = time.monotonic()
            self._accept_locks.leave()

    def close_all(self, process: LoopProcess) -> None:
        """Close all websockets, and wait for the browsers' answers."""
        self.begin()
        logger.info("%s browsers are sent away", len(process.connections))
        self._close(process)
        self._wait(process)

    def _close(self, process: LoopProcess) -> None:
        """Those that are left by batches; again and again it is looked whether anybody can take them."""
        for left in range(max(1, int(self._time() / _STEP_SECONDS)), 0, -1):
            process.runtime.sleep(_STEP_SECONDS * uniform(0.5, 1.5))
            others = self._accept_locks.others()
            code = CloseCode.GOING_AWAY if self._is_stop and not others else CloseCode.SERVICE_RESTART
            process.close(code, share=1 / left if others else 1)
            if not (others and process.connections):
                return

    def _wait(self, process: LoopProcess) -> None:
        """Until all have gone, or nothing has moved for a while."""
        now = time.monotonic()
        end, silent_at, last = now + max(self._time(), _SILENCE_SECONDS), now + _SILENCE_SECONDS, None
        while process.connections and now < min(end, silent_at):
            process.runtime.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            current = len(process.connections), _underway(process)
            if current != last:
                last, silent_at = current, now + _SILENCE_SECONDS

    def _time(self) -> float:
        """Seconds that browsers may still be given."""
        assert self._began is not None
        left = self._began + self._grace_seconds - _SPARE_SECONDS - time.monotonic()
        return min(self._seconds, left)


def _underway(process: LoopProcess) -> int:
    """Bytes that the kernel has taken and no browser has confirmed."""
    descriptors = (connection.websocket.get_file_descriptor() for connection in process.connections)
    return sum(int.from_bytes(fcntl.ioctl(each, termios.TIOCOUTQ, bytes(4)), sys.byteorder) for each in descriptors)
