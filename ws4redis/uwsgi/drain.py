"""Drain a worker: close its websockets in batches while other workers accept, at once if none does."""

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

#: the time between two batches, on average; within it a reload of all workers has reached each of them
_STEP_SECONDS = 0.1

#: the wait for clients that neither answer the close frame nor read what is on its way
_SILENCE_SECONDS = 1.0

_POLL_SECONDS = 0.05

#: left of the time after which uWSGI kills
_SPARE_SECONDS = 1.0


class AcceptLocks:
    """Tell which workers accept on a listening socket: each holds a lock on a byte of it.

    A record lock (``fcntl``) needs nothing that was made before the fork, and ends with its process, however that ends.

    Args:
        descriptor: the listening socket; None means that no other worker accepts on it.
        number: of this worker, which holds its lock from now on.
    """

    def __init__(self, descriptor: int | None, number: int) -> None:
        self._descriptor = descriptor
        self._number = number
        if descriptor is not None:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, number)
            except OSError as error:
                logger.warning("cannot lock the listening socket: draining without batches: %s", error)
                self._descriptor = None

    def release(self) -> None:
        """This worker accepts no more."""
        if self._descriptor is not None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._number)

    def others_accept(self) -> bool:
        """Whether any worker accepts; this one must have released its lock."""
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
        grace_seconds: from the start until uWSGI kills.
        seconds: over which websockets are closed (``WS4REDIS_DRAIN_SECONDS``); 0 closes all at once.
    """

    def __init__(self, accept_locks: AcceptLocks, grace_seconds: float, seconds: float) -> None:
        self._accept_locks = accept_locks
        self._grace_seconds = grace_seconds
        self._seconds = seconds
        self._started_at: float | None = None
        self._is_stop = False

    @property
    def started(self) -> bool:
        return self._started_at is not None

    def start(self, is_stop: bool = False) -> None:
        """Nothing is accepted any more; requests may still run.

        Args:
            is_stop: no worker follows this one.
        """
        self._is_stop = self._is_stop or is_stop
        if self._started_at is None:
            self._started_at = time.monotonic()
            self._accept_locks.release()

    def close_all(self, process: LoopProcess) -> None:
        """Close all websockets, and wait for the clients' answers."""
        self.start()
        logger.info("worker ends, closing %s websockets", len(process.connections))
        self._close(process)
        self._wait(process)

    def _close(self, process: LoopProcess) -> None:
        """In batches, as long as others accept."""
        for left in range(max(1, int(self._time() / _STEP_SECONDS)), 0, -1):
            process.runtime.sleep(_STEP_SECONDS * uniform(0.5, 1.5))
            others_accept = self._accept_locks.others_accept()
            code = CloseCode.GOING_AWAY if self._is_stop and not others_accept else CloseCode.SERVICE_RESTART
            process.close(code, share=1 / left if others_accept else 1)
            if not (others_accept and process.connections):
                return

    def _wait(self, process: LoopProcess) -> None:
        """Wait until all are closed, or nothing has moved for a while."""
        now = time.monotonic()
        end, silent_at, last = now + max(self._time(), _SILENCE_SECONDS), now + _SILENCE_SECONDS, None
        while process.connections and now < min(end, silent_at):
            process.runtime.sleep(_POLL_SECONDS)
            now = time.monotonic()
            current = len(process.connections), _underway(process)
            if current != last:
                last, silent_at = current, now + _SILENCE_SECONDS

    def _time(self) -> float:
        """Seconds that are left for closing."""
        assert self._started_at is not None
        left = self._started_at + self._grace_seconds - _SPARE_SECONDS - time.monotonic()
        return min(self._seconds, left)


def _underway(process: LoopProcess) -> int:
    """Bytes that the kernel has taken and no client has acknowledged."""
    descriptors = (connection.websocket.get_file_descriptor() for connection in process.connections)
    return sum(int.from_bytes(fcntl.ioctl(each, termios.TIOCOUTQ, bytes(4)), sys.byteorder) for each in descriptors)
