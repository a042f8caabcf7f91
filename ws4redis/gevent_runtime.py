"""The port to gevent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import gevent
from gevent import monkey
from gevent.event import AsyncResult, Event
from gevent.queue import LifoQueue
from gevent.thread import LockType

from ws4redis import settings
from ws4redis.loop.runtime import Result, Watcher

_READ, _WRITE = 1, 2

#: how soon a waiter for a lock looks himself whether it is free; each time twice as long, up to the latter
_LOOK_AGAIN_SECONDS = 0.02
_LOOK_AGAIN_AT_LEAST_SECONDS = 0.5

_start_native_thread = monkey.get_original("_thread", "start_new_thread")


def _let_waiters_look_again() -> None:
    """Make patched locks safe between threads.

    gevent wakes a waiter of another thread "in the hope" that this thread uses the lock again (``Semaphore.
    _handle_unswitched_notifications``); where it does not, he waits for ever for a lock that is free. The locks are
    everywhere (logging, asgiref, drivers), so all of them are mended.
    """
    acquire = LockType.acquire
    if acquire.__name__ == "patiently":
        return

    def patiently(lock: LockType, blocking: bool = True, timeout: float = -1) -> bool:
        if not blocking:
            return acquire(lock, blocking, timeout)  # type: ignore[no-any-return]
        end = time.monotonic() + timeout if timeout >= 0 else float("inf")
        look_again = _LOOK_AGAIN_SECONDS
        while not acquire(lock, True, max(0, min(look_again, end - time.monotonic()))):
            if time.monotonic() >= end:
                return False
            look_again = min(2 * look_again, _LOOK_AGAIN_AT_LEAST_SECONDS)
        return True

    LockType.acquire = LockType.__enter__ = patiently


_let_waiters_look_again()


class GeventRuntime:
    """gevent's loop of this process; used after the fork only."""

    def __init__(self) -> None:
        self.lock = nullcontext()
        self._threads: ThreadPool | None = None

    def watch_readable(self, descriptor: int) -> Watcher:
        return gevent.get_hub().loop.io(descriptor, _READ)  # type: ignore[no-any-return]

    def watch_writable(self, descriptor: int) -> Watcher:
        return gevent.get_hub().loop.io(descriptor, _WRITE)  # type: ignore[no-any-return]

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        gevent.spawn(function, *args)

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def run_in_thread(self, function: Callable[..., Result], *args: Any) -> Result:
        if self._threads is None:
            self._threads = ThreadPool(settings.WS4REDIS_THREADS)
        return self._threads.run(function, *args)


class ThreadPool:
    """Native threads, started when they are needed.

    Not gevent's own: between two jobs its threads wait natively, with a hub that does not run. A patched lock (of
    logging, asgiref, a driver) that such a thread used last tells the next in line through that very hub, that is
    never. Here a thread waits in its hub.
    """

    def __init__(self, size: int) -> None:
        self._idle: LifoQueue[_Thread] = LifoQueue()
        self._to_be_started = size

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Wait for a thread and for the result, while other greenlets run; called in the loop's thread only."""
        thread = self._start() if self._idle.empty() and self._to_be_started else self._idle.get()
        try:
            return thread.run(function, *args)
        finally:
            self._idle.put(thread)

    def _start(self) -> _Thread:
        self._to_be_started -= 1
        try:
            return _Thread()
        except BaseException:
            self._to_be_started += 1
            raise


class _Thread:
    def __init__(self) -> None:
        self._loop = gevent.get_hub().loop
        self._jobs: deque[tuple[AsyncResult, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._wake: Callable[[], None] | None = None
        started = AsyncResult()
        _start_native_thread(self._main, (started,))
        self._wake = started.get()

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        result = AsyncResult()
        self._jobs.append((result, function, args))
        assert self._wake is not None
        self._wake()
        return result.get()  # type: ignore[no-any-return]

    def _main(self, started: AsyncResult) -> None:
        """The thread: a greenlet that sleeps in the hub until the loop's thread sends a signal."""
        wanted = Event()
        signal = gevent.get_hub().loop.async_()
        signal.start(wanted.set)
        self._hand_over(started.set, signal.send)
        while True:
            wanted.wait()
            wanted.clear()
            while self._jobs:
                self._work(*self._jobs.popleft())

    def _work(self, result: AsyncResult, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            value = function(*args)
        except BaseException as error:
            self._hand_over(result.set_exception, error)
        else:
            self._hand_over(result.set, value)

    def _hand_over(self, function: Callable[[Any], None], value: Any) -> None:
        self._loop.run_callback_threadsafe(function, value)
