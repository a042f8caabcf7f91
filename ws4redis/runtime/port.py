"""The port to the kind of concurrency that a door has chosen: gevent under uWSGI, threads under runserver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from ws4redis.runtime.io_uring import Ring

Result = TypeVar("Result")


class Watcher(Protocol):
    """Calls back whenever a descriptor is ready, in no greenlet: what is called must not block, nor log."""

    def start(self, callback: Callable[[], Any]) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None:
        """Stop for good; must come before the descriptor is closed."""


class Event(Protocol):
    def set(self) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        """Returns whether it is set."""


class Runtime(Protocol):
    #: seconds, counted by the loop's process: the time for what need not know it exactly
    ticks: int

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held, and never while waiting, by whoever changes what the loop knows; its callbacks are called under it.

        Greenlets switch only where they wait and need none; threads do.
        """

    def start(self) -> None:
        """Called in the loop's thread, before all others."""

    def watch_readable(self, descriptor: int) -> Watcher: ...

    def watch_writable(self, descriptor: int) -> Watcher: ...

    def has_hung_up(self, descriptor: int) -> bool:
        """Whether the peer has closed its end of a connection, known without reading."""

    def open_ring(self, size: int) -> Ring | None:
        """Sends to so many sockets at once; None where the kernel does not allow it."""

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run beside the caller, in a greenlet or thread of its own."""

    def call_soon(self, function: Callable[[], Any]) -> None:
        """Call it in the loop as a watcher's callback, when what runs now is done."""

    def run_in_loop(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call it under the lock; where only the loop's thread may do that, another one waits for the result."""

    def sleep(self, seconds: float) -> None:
        """Let the others run; 0 gives way to those that are ready."""

    def new_event(self) -> Event:
        """A flag for which greenlets, or threads, can wait."""

    def run_in_thread(self, function: Callable[..., Result], *args: Any) -> Result:
        """Run in a real thread and wait for the result while the loop goes on."""
