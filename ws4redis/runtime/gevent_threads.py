"""Native threads for what blocks, beside gevent's loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic

import gevent
from gevent import monkey
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore
from gevent.queue import LifoQueue

from ws4redis.runtime.port import Result

#: the time for which the loop waits for a job in a thread
_QUICK_SECONDS = 0.001

_start_native_thread = monkey.get_original("_thread", "start_new_thread")
_allocate_native_lock = monkey.get_original("_thread", "allocate_lock")


class ThreadPool:
    """Native threads, started when they are needed.

    Not gevent's own: between two jobs its threads wait natively, with a hub that does not run. A patched lock (of
    logging, asgiref, a driver) that such a thread used last would wake the next waiter through that hub, so never.
    Here a thread waits in its hub.
    """

    def __init__(self, size: int) -> None:
        self._idle: LifoQueue[_Thread] = LifoQueue()
        self._to_be_started = size
        self._turn = BoundedSemaphore()
        #: jobs that were not quick, and are not done
        self._slow = 0

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Wait for a thread and for the result, while other greenlets run; called in the loop's thread only.

        While a job may still turn out to be quick no other one starts, and unless there are slow ones the loop itself
        waits: threads that want the interpreter at the same time take it from each other at every system call. That
        had been a fifth of what a connect with a session costs.
        """
        job: Job[Result] = Job(function, args)
        with self._turn:
            thread = self._start() if self._idle.empty() and self._to_be_started else self._idle.get()
            thread.begin(job)
            done = thread.wait(job, _QUICK_SECONDS) if self._slow else job.is_done(_QUICK_SECONDS)
        try:
            if not done:
                self._wait_long(thread, job)
        finally:
            self._idle.put(thread)
        return job.result()

    def _wait_long(self, thread: _Thread, job: Job[Any]) -> None:
        self._slow += 1
        try:
            thread.wait(job)
        finally:
            self._slow -= 1

    def _start(self) -> _Thread:
        self._to_be_started -= 1
        try:
            return _Thread()
        except BaseException:
            self._to_be_started += 1
            raise


class Job(Generic[Result]):
    """A call in another thread, and its result or error."""

    def __init__(self, function: Callable[..., Result], args: tuple[Any, ...]) -> None:
        self._call = partial(function, *args)
        self._running = _allocate_native_lock()
        self._running.acquire()
        self._value: Any = None
        self._error: BaseException | None = None
        #: set by the thread, through the loop
        self.waiter: Event | None = None

    def work(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error
        self._running.release()

    def is_done(self, seconds: float = 0) -> bool:
        """Now or within that time, in which no other greenlet runs; -1 waits as long as it takes."""
        return bool(self._running.acquire(timeout=seconds))

    def result(self) -> Result:
        if self._error is None:
            return self._value  # type: ignore[no-any-return]
        try:
            raise self._error
        finally:
            self._error = None  # whose traceback would keep this object alive


class _Thread:
    def __init__(self) -> None:
        self._loop = gevent.get_hub().loop
        self._jobs: deque[Job[Any]] = deque()
        self._wake: Callable[[], None] | None = None
        started = AsyncResult()
        _start_native_thread(self._main, (started,))
        self._wake = started.get()

    def begin(self, job: Job[Any]) -> None:
        self._jobs.append(job)
        assert self._wake is not None
        self._wake()

    def wait(self, job: Job[Any], seconds: float | None = None) -> bool:
        """Wait until it is done, while other greenlets run."""
        if job.waiter is None:
            job.waiter = Event()
        # it may have been done before there was a waiter
        return job.is_done() or job.waiter.wait(seconds)

    def _main(self, started: AsyncResult) -> None:
        """The thread: a greenlet that sleeps in the hub until the loop's thread sends a signal."""
        wanted = Event()
        signal = gevent.get_hub().loop.async_()
        signal.start(wanted.set)
        self._loop.run_callback_threadsafe(started.set, signal.send)
        while True:
            wanted.wait()
            wanted.clear()
            while self._jobs:
                self._work(self._jobs.popleft())

    def _work(self, job: Job[Any]) -> None:
        job.work()
        if job.waiter is not None:
            self._loop.run_callback_threadsafe(job.waiter.set)
