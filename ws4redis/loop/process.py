"""The websocket loop's parts, made once per process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable

from redis import Redis

from ws4redis import settings
from ws4redis.loop.connection import Connection, Heartbeat
from ws4redis.loop.hub import Hub
from ws4redis.loop.pubsub import PubSub
from ws4redis.loop.runtime import Runtime
from ws4redis.protocol.frames import CloseCode
from ws4redis.websocket import WebSocket

logger = logging.getLogger("ws4redis")

#: after so many connections of a tick the others may run
_PAUSE_EVERY = 256

_TICK_SECONDS = 1.0


class LoopProcess:
    """Owns the hub, the subscription, all connections and the clock; satisfies ``connection.Loop``."""

    def __init__(self, runtime: Runtime, client: Callable[[], Redis]) -> None:
        self.pid = os.getpid()
        self.runtime = runtime
        self.heartbeat = Heartbeat(settings.WS4REDIS_HEARTBEAT) if settings.WS4REDIS_HEARTBEAT else None
        #: ticks that a browser waits for Redis before it is refused
        self.patience = settings.WS4REDIS_TIMEOUT
        self.connections: set[Connection] = set()
        self.hub = Hub(pause=self._pause)
        self.pubsub = PubSub(runtime, client, lambda: self.hub.channels, self.hub.deliver, self._resubscribed)

    def start(self) -> None:
        self.pubsub.start()
        self.runtime.spawn(self._tick)

    @property
    def websockets(self) -> set[WebSocket]:
        """Those that are open."""
        return {connection.websocket for connection in self.connections if connection.connected}

    def close(self, code: int = CloseCode.SERVICE_RESTART, reason: str = "") -> None:
        """Close all websockets."""
        for connection in list(self.connections):
            connection.close(code, reason)

    def _pause(self) -> None:
        self.runtime.sleep(0)

    def _resubscribed(self) -> None:
        for connection in self.connections:
            connection.resubscribed()

    def _tick(self) -> None:
        while True:
            self.runtime.sleep(_TICK_SECONDS)
            with self.runtime.lock:
                self.pubsub.tick()
            self._tick_all(list(self.connections))

    def _tick_all(self, connections: Iterable[Connection]) -> None:
        for number, connection in enumerate(connections, 1):
            try:
                with self.runtime.lock:
                    connection.tick()
            except Exception:
                logger.exception("a connection's second failed")
            if number % _PAUSE_EVERY == 0:
                self._pause()


_current: LoopProcess | None = None
_starting = threading.Lock()


def loop_process(runtime: Runtime, client: Callable[[], Redis]) -> LoopProcess:
    """The loop of this process, started at the first call after the fork.

    Args:
        client: returns the client whose Redis it listens to.
    """
    global _current
    with _starting:
        process = running_process()
        if process is None:
            process = _current = LoopProcess(runtime, client)
            process.start()
        return process


def running_process() -> LoopProcess | None:
    """The loop of this process, where one was started."""
    return _current if _current is not None and _current.pid == os.getpid() else None
