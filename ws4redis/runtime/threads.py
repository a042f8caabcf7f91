"""The port to threads, for servers that give each request a thread of its own."""

from __future__ import annotations

import logging
import os
import select
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ws4redis.runtime.port import Result
from ws4redis.runtime.sockets import has_hung_up

if TYPE_CHECKING:
    from ws4redis.runtime.io_uring import Ring

logger = logging.getLogger("ws4redis")


class ThreadRuntime:
    """One thread watches all sockets; what must wait runs in threads beside it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.ticks = 0
        self._selector: _Selector | None = None

    def start(self) -> None:
        """The loop has a thread of its own."""

    def watch_readable(self, descriptor: int) -> Watcher:
        return Watcher(self._selecting(), descriptor, selectors.EVENT_READ)

    def watch_writable(self, descriptor: int) -> Watcher:
        return Watcher(self._selecting(), descriptor, selectors.EVENT_WRITE)

    def has_hung_up(self, descriptor: int) -> bool:
        return has_hung_up(select.poll, descriptor)

    def open_ring(self, size: int) -> Ring | None:
        """None: a socket may be TLS, for which the kernel is not to be asked."""

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        # a partial has no name
        name = getattr(function, "__qualname__", "callback")
        threading.Thread(target=function, args=args, name=f"ws4redis {name}", daemon=True).start()

    def call_soon(self, function: Callable[[], Any]) -> None:
        self._selecting().call_soon(function)

    def run_in_loop(self, function: Callable[..., Result], *args: Any) -> Result:
        with self.lock:
            return function(*args)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def new_event(self) -> threading.Event:
        return threading.Event()

    def run_in_thread(self, function: Callable[..., Result], *args: Any) -> Result:
        return function(*args)

    def _selecting(self) -> _Selector:
        with self.lock:
            if self._selector is None or self._selector.pid != os.getpid():
                self._selector = _Selector(self.lock)
                self.spawn(self._selector.run)
            return self._selector


class Watcher:
    """Watches a descriptor for one kind of event; used under the runtime's lock."""

    __slots__ = ("_selector", "callback", "descriptor", "event")

    def __init__(self, selector: _Selector, descriptor: int, event: int) -> None:
        self._selector = selector
        self.descriptor = descriptor
        self.event = event
        self.callback: Callable[[], Any] | None = None

    def start(self, callback: Callable[[], Any]) -> None:
        self.callback = callback
        self._selector.add(self)

    def stop(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._selector.discard(self)

    close = stop


class _Selector:
    """A selector whose registrations are sets of watchers."""

    def __init__(self, lock: threading.RLock) -> None:
        self.pid = os.getpid()
        self._lock = lock
        self._selector = selectors.DefaultSelector()
        # a registration made while the selector waits is seen at once by epoll and kqueue, by others after this
        self._wake_end, wait_end = os.pipe()[::-1]
        os.set_blocking(wait_end, False)
        os.set_blocking(self._wake_end, False)
        self._selector.register(wait_end, selectors.EVENT_READ, None)
        self._soon: deque[Callable[[], Any]] = deque()

    def call_soon(self, function: Callable[[], Any]) -> None:
        self._soon.append(function)
        self._wake()

    def add(self, watcher: Watcher) -> None:
        watchers = self._watchers(watcher.descriptor)
        if watchers is None:
            self._selector.register(watcher.descriptor, watcher.event, {watcher})
        else:
            watchers.add(watcher)
            self._update(watcher.descriptor, watchers)
        self._wake()

    def discard(self, watcher: Watcher) -> None:
        watchers = self._watchers(watcher.descriptor)
        if watchers is not None:
            watchers.discard(watcher)
            self._update(watcher.descriptor, watchers)

    def run(self) -> None:
        while True:
            ready = self._selector.select()
            with self._lock:
                for key, events in ready:
                    if key.data is None:
                        self._drain(key.fd)
                    else:
                        self._call_watchers(list(key.data), events)
                for _ in range(len(self._soon)):  # what these add comes after the sockets
                    self._call(self._soon.popleft())

    def _call_watchers(self, watchers: list[Watcher], events: int) -> None:
        for watcher in watchers:
            # an earlier callback, or another thread, may have stopped it
            if events & watcher.event and watcher.callback is not None:
                self._call(watcher.callback)

    @staticmethod
    def _call(callback: Callable[[], Any]) -> None:
        try:
            callback()
        except Exception:
            logger.exception("loop callback failed")

    def _watchers(self, descriptor: int) -> set[Watcher] | None:
        key = self._selector.get_map().get(descriptor)
        return key.data if key is not None else None

    def _update(self, descriptor: int, watchers: set[Watcher]) -> None:
        events = 0
        for watcher in watchers:
            events |= watcher.event
        if events:
            self._selector.modify(descriptor, events, watchers)
        else:
            self._selector.unregister(descriptor)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it is awake
            os.write(self._wake_end, b"\0")

    @staticmethod
    def _drain(descriptor: int) -> None:
        with suppress(BlockingIOError):
            while os.read(descriptor, 4096):
                pass
