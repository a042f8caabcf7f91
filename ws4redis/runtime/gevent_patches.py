"""Corrections to gevent, and its private names."""

from __future__ import annotations

import time
from typing import Any

import gevent
from gevent._socketcommon import SocketMixin
from gevent.exceptions import ConcurrentObjectUseError
from gevent.lock import BoundedSemaphore
from gevent.thread import LockType

from ws4redis.runtime.borrowed import must_have

READ, WRITE = 1, 2

#: a waiter for a lock polls it after the first delay; each further one is twice as long, up to the second
_FIRST_POLL_SECONDS = 0.02
_LONGEST_POLL_SECONDS = 0.5

must_have("gevent", SocketMixin, "hub", "_read_event", "_write_event", "_wait", "_drop_events_and_close")


def _let_waiters_poll() -> None:
    """Make patched locks safe between threads.

    gevent wakes a waiter of another thread "in the hope" that this thread uses the lock again (``Semaphore.
    _handle_unswitched_notifications``); where it does not, the waiter never wakes for a lock that is free. The locks
    are everywhere (logging, asgiref, drivers), so all of them are corrected.
    """
    acquire = LockType.acquire
    if acquire.__name__ == "acquire_polling":
        return

    def acquire_polling(lock: LockType, blocking: bool = True, timeout: float = -1) -> bool:
        if not blocking:
            return acquire(lock, blocking, timeout)  # type: ignore[no-any-return]
        if BoundedSemaphore.acquire(lock, False):  # as most are, and this is the short way to know
            return True
        end = time.monotonic() + timeout if timeout >= 0 else float("inf")
        delay = _FIRST_POLL_SECONDS
        while not acquire(lock, True, max(0, min(delay, end - time.monotonic()))):
            if time.monotonic() >= end:
                return False
            delay = min(2 * delay, _LONGEST_POLL_SECONDS)
        return True

    LockType.acquire = LockType.__enter__ = acquire_polling


_let_waiters_poll()


def _let_sockets_move() -> None:
    """Let a socket wait, and be closed, in another thread than it was made in.

    gevent binds it to the hub of the thread that made it. But drivers pool their connections for the whole process,
    and ours are used by the loop and by the threads in which hooks run.
    """
    wait, close = SocketMixin._wait, SocketMixin._drop_events_and_close
    if wait.__name__ == "wait_here":
        return

    def move_here(sock: Any) -> None:
        hub = gevent.get_hub()
        if sock.hub is hub or sock._read_event is None:
            return
        if sock._read_event.callback is not None or sock._write_event.callback is not None:
            raise ConcurrentObjectUseError("another thread waits for this socket")
        io, descriptor = hub.loop.io, sock.fileno()
        sock._read_event.close()
        sock._write_event.close()
        sock.hub, sock._read_event, sock._write_event = hub, io(descriptor, READ), io(descriptor, WRITE)

    def wait_here(sock: Any, watcher: Any, *args: Any, **options: Any) -> None:
        reads = watcher is sock._read_event
        move_here(sock)
        wait(sock, sock._read_event if reads else sock._write_event, *args, **options)

    def close_here(sock: Any, *args: Any, **options: Any) -> None:
        move_here(sock)
        close(sock, *args, **options)

    SocketMixin._wait, SocketMixin._drop_events_and_close = wait_here, close_here


_let_sockets_move()
