"""The port to the kind of concurrency that a door has chosen: gevent under uWSGI, threads under runserver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from ws4redis.runtime.io_uring import Ring

Result = TypeVar("Result")


class Watcher(Protocol):
    """Calls back whenever a descriptor is ready, in no greenlet: the callback must not block, nor log."""

    def start(self, callback: Callable[[], Any]) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None:
        """Stop for good; must come before the descriptor is closed."""


class Event(Protocol):
    def set(self) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        """Returns whether it is set."""


class Runtime(Protocol):
    #: seconds, counted by the loop: a clock that is cheap and not exact
    ticks: int

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Protects the loop's state. Hold it to change that state; never block while holding it.

        Loop callbacks run with it held. Greenlets switch only where they wait, and need no real one.
        """

    def start(self) -> None:
        """Must be called in the loop's thread, before all others."""

    def watch_readable(self, descriptor: int) -> Watcher: ...

    def watch_writable(self, descriptor: int) -> Watcher: ...

    def has_hung_up(self, descriptor: int) -> bool:
        """Whether the peer has closed its end of a connection, known without reading."""

    def open_ring(self, size: int) -> Ring | None:
        """A ring that sends to ``size`` sockets at once; None where the kernel does not allow it."""

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run beside the caller, in a greenlet or thread of its own."""

    def call_soon(self, function: Callable[[], Any]) -> None:
        """Call it in the loop as a watcher's callback, when the current callback is done."""

    def run_in_loop(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call it under the lock and return its result; where only the loop's thread may, another thread waits."""

    def sleep(self, seconds: float) -> None:
        """Let other greenlets or threads run; 0 gives way to those that are ready."""

    def new_event(self) -> Event: ...

    def run_in_thread(self, function: Callable[..., Result], *args: Any) -> Result:
        """Run in a real thread and wait for the result while the loop goes on."""
