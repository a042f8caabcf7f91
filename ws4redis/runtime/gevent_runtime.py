"""The port to gevent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey
from gevent.event import Event

from ws4redis.runtime.gevent_patches import READ, WRITE
from ws4redis.runtime.gevent_threads import Job, ThreadPool
from ws4redis.runtime.port import Result, Watcher
from ws4redis.runtime.sockets import has_hung_up

if TYPE_CHECKING:
    from ws4redis.runtime.io_uring import Ring

_poll = monkey.get_original("select", "poll")


class GeventRuntime:
    """gevent's loop of this process; used after the fork only."""

    #: the threads of ``run_in_thread``, at most; set by the server, before the first use
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
        return gevent.get_hub().loop.io(descriptor, READ)  # type: ignore[no-any-return]

    def watch_writable(self, descriptor: int) -> Watcher:
        return gevent.get_hub().loop.io(descriptor, WRITE)  # type: ignore[no-any-return]

    def has_hung_up(self, descriptor: int) -> bool:
        return has_hung_up(_poll, descriptor)

    def open_ring(self, size: int) -> Ring | None:
        try:
            from ws4redis.runtime.io_uring import Ring  # Pythons that were built without libffi have no ctypes

            return Ring(size)
        except (ImportError, OSError):
            return None

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        gevent.spawn(function, *args)

    def call_soon(self, function: Callable[[], Any]) -> None:
        gevent.get_hub().loop.run_callback(function)

    def run_in_loop(self, function: Callable[..., Result], *args: Any) -> Result:
        hub = self._hub
        if hub is None or hub is gevent.get_hub():
            return function(*args)
        job: Job[Result] = Job(function, args)
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
