"""The port to gevent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

import gevent
from gevent import monkey
from gevent._socketcommon import SocketMixin
from gevent.event import AsyncResult, Event
from gevent.exceptions import ConcurrentObjectUseError
from gevent.lock import BoundedSemaphore
from gevent.queue import LifoQueue
from gevent.thread import LockType

from ws4redis.runtime.borrowed import must_have
from ws4redis.runtime.port import Result, Watcher

if TYPE_CHECKING:
    from ws4redis.runtime.io_uring import Ring

_READ, _WRITE = 1, 2

#: how soon a waiter for a lock looks himself whether it is free; each time twice as long, up to the latter
_LOOK_AGAIN_SECONDS = 0.02
_LOOK_AGAIN_AT_LEAST_SECONDS = 0.5

#: so long the loop waits for a job in a thread
_QUICK_SECONDS = 0.001

must_have("gevent", SocketMixin, "hub", "_read_event", "_write_event", "_wait", "_drop_events_and_close")

_start_native_thread = monkey.get_original("_thread", "start_new_thread")
_allocate_native_lock = monkey.get_original("_thread", "allocate_lock")


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
        if BoundedSemaphore.acquire(lock, False):  # as most are, and this is the short way to know
            return True
        end = time.monotonic() + timeout if timeout >= 0 else float("inf")
        look_again = _LOOK_AGAIN_SECONDS
        while not acquire(lock, True, max(0, min(look_again, end - time.monotonic()))):
            if time.monotonic() >= end:
                return False
            look_again = min(2 * look_again, _LOOK_AGAIN_AT_LEAST_SECONDS)
        return True

    LockType.acquire = LockType.__enter__ = patiently


_let_waiters_look_again()


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
        sock.hub, sock._read_event, sock._write_event = hub, io(descriptor, _READ), io(descriptor, _WRITE)

    def wait_here(sock: Any, watcher: Any, *args: Any, **options: Any) -> None:
        reads = watcher is sock._read_event
        move_here(sock)
        wait(sock, sock._read_event if reads else sock._write_event, *args, **options)

    def close_here(sock: Any, *args: Any, **options: Any) -> None:
        move_here(sock)
        close(sock, *args, **options)

    SocketMixin._wait, SocketMixin._drop_events_and_close = wait_here, close_here


_let_sockets_move()


class GeventRuntime:
    """gevent's loop of this process; used after the fork only."""

    #: in how many ``run_in_thread`` runs what it is given, at most; set by the server, before the first use
    threads = 16

    def __init__(self) -> None:
        self.lock = nullcontext()
        self.ticks = 0
        self._pool: ThreadPool | None = None
        #: of the loop's thread
        self._hub: Any = None

    def start(self) -> None:
        self._hub = gevent.get_hub()

    def watch_readable(self, descriptor: int) -> Watcher:
        return gevent.get_hub().loop.io(descriptor, _READ)  # type: ignore[no-any-return]

    def watch_writable(self, descriptor: int) -> Watcher:
        return gevent.get_hub().loop.io(descriptor, _WRITE)  # type: ignore[no-any-return]

    def open_ring(self, size: int) -> Ring | None:
        try:
            from ws4redis.runtime.io_uring import Ring  # Pythons that were built without libffi have no ctypes

            return Ring(size)
        except (ImportError, OSError):
            return None

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        gevent.spawn(function, *args)

    def soon(self, function: Callable[[], Any]) -> None:
        gevent.get_hub().loop.run_callback(function)

    def run_in_loop(self, function: Callable[..., Result], *args: Any) -> Result:
        hub = self._hub
        if hub is None or hub is gevent.get_hub():
            return function(*args)
        job: _Job[Result] = _Job(function, args)
        hub.loop.run_callback_threadsafe(job.work)
        job.is_done(-1)
        return job.result()

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def new_event(self) -> Event:
        return Event()

    def run_in_thread(self, function: Callable[..., Result], *args: Any) -> Result:
        if self._pool is None:
            self._pool = ThreadPool(self.threads)
        return self._pool.run(function, *args)


class ThreadPool:
    """Native threads, started when they are needed.

    Not gevent's own: between two jobs its threads wait natively, with a hub that does not run. A patched lock (of
    logging, asgiref, a driver) that such a thread used last tells the next in line through that very hub, that is
    never. Here a thread waits in its hub.
    """

    def __init__(self, size: int) -> None:
        self._idle: LifoQueue[_Thread] = LifoQueue()
        self._to_be_started = size
        self._turn = BoundedSemaphore()
        #: jobs that were not quick, and are not done
        self._slow = 0

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Wait for a thread and for the result, while other greenlets run; called in the loop's thread only.

        While a job may still turn out to be quick no other one begins, and unless there are slow ones even the loop
        rests: threads that want the interpreter at the same time take it from each other at every system call. That
        had been a fifth of what a connect with a session costs.
        """
        job: _Job[Result] = _Job(function, args)
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

    def _wait_long(self, thread: _Thread, job: _Job[Any]) -> None:
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


class _Job(Generic[Result]):
    """A call in another thread, and what came of it."""

    def __init__(self, function: Callable[..., Result], args: tuple[Any, ...]) -> None:
        self._call = partial(function, *args)
        self._running = _allocate_native_lock()
        self._running.acquire()
        self._value: Any = None
        self._error: BaseException | None = None
        #: whom the thread tells through the loop
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
        self._jobs: deque[_Job[Any]] = deque()
        self._wake: Callable[[], None] | None = None
        started = AsyncResult()
        _start_native_thread(self._main, (started,))
        self._wake = started.get()

    def begin(self, job: _Job[Any]) -> None:
        self._jobs.append(job)
        assert self._wake is not None
        self._wake()

    def wait(self, job: _Job[Any], seconds: float | None = None) -> bool:
        """Until it is done, while other greenlets run."""
        if job.waiter is None:
            job.waiter = Event()
        # it may have been done before anybody waited
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

    def _work(self, job: _Job[Any]) -> None:
        job.work()
        if job.waiter is not None:
            self._loop.run_callback_threadsafe(job.waiter.set)
