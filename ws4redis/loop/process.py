"""The websocket loop of one process: its parts and its clock."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from random import random, sample
from typing import TYPE_CHECKING, Any

from ws4redis.broker.last_message import keeping
from ws4redis.broker.probe import Probe
from ws4redis.broker.pubsub import PubSub
from ws4redis.core.channels import prefix
from ws4redis.core.metrics import counters
from ws4redis.exceptions import RedisIsAway
from ws4redis.loop.absences import Absences
from ws4redis.loop.connection import Connection
from ws4redis.loop.directory import Directory
from ws4redis.loop.hub import PAUSE_EVERY, Hub
from ws4redis.loop.limits import Allowance, ConnectionLimits
from ws4redis.loop.liveness import MAX_DELAY, Heartbeat
from ws4redis.loop.slow_client import Backlog
from ws4redis.loop.timer_wheel import TimerWheel
from ws4redis.protocol.deflate import Budget
from ws4redis.protocol.frames import CloseCode
from ws4redis.runtime.port import Runtime
from ws4redis.websocket import WebSocket

if TYPE_CHECKING:
    from redis import Redis

    from ws4redis.settings import Options

logger = logging.getLogger("ws4redis")

#: connections that are checked before other greenlets may run
_PAUSE_EVERY = 256

_TICK_SECONDS = 1.0

#: bytes that wait for a silent Redis before newcomers are rejected at once
_MOST_UNSENT = 1 << 20

#: bytes that are compressed in a tick, which takes a tenth of it
_COMPRESSED_PER_TICK = 8 << 20


class LoopProcess:
    """Owns the hub, the subscription, all connections and the clock; satisfies ``connection.Loop``."""

    def __init__(self, runtime: Runtime, client: Callable[[], Redis], options: Options) -> None:
        self.pid = os.getpid()
        self.runtime = runtime
        runtime.start()
        self.options = options
        self.heartbeat: Heartbeat | None = None
        #: ticks that a client waits for Redis before it is rejected
        self.timeout = options.timeout
        self.connections = TimerWheel(MAX_DELAY)
        self.directory: Directory[Connection] = Directory()
        self.limits = ConnectionLimits()
        self.allowance = Allowance.per_second(options.max_messages_per_second, options.max_bytes_per_second)
        self.compression = Budget(_COMPRESSED_PER_TICK)
        self.new_backlog = _backlogs(options)
        self.ring = runtime.open_ring(PAUSE_EVERY) if options.io_uring else None
        self.hub = Hub(runtime, self.ring)
        self.probe = Probe(prefix())
        self.hub.join(self.probe, [self.probe.channel])
        self.absences = Absences(self.hub)
        self.pubsub = PubSub(runtime, client, self.hub, self._restored, self._resubscribed)
        self._failed = False

    def start(self) -> None:
        self.runtime.spawn(self._keep_time)
        self.pubsub.start()

    def use_heartbeat(self, text: str | None) -> None:
        """Use this text from now on; None and an empty text mean no heartbeat."""
        if (text or None) != (self.heartbeat and self.heartbeat.text):
            with self.runtime.lock:
                self.heartbeat = Heartbeat(text) if text else None

    @property
    def websockets(self) -> set[WebSocket]:
        """Those that are open."""
        return {connection.websocket for connection in self.connections if connection.accepted}

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether delivery works, and figures of this process."""
        healthy = self.pubsub.subscribed and self.probe.healthy
        figures = {
            "pid": self.pid,
            "healthy": healthy,
            "seconds_since_canary": self.probe.silent,
            "cannot_keep": keeping.refused,
            "websockets": len(self.connections),
            "channels": len(self.hub.channels) - 1,
            "deliveries": self.hub.deliveries,
            "io_uring": self.ring is not None and self.ring.usable,
            "counts": dict(sorted(counters.items())),
        }
        return healthy, figures

    @property
    def redis_is_away(self) -> bool:
        silent = self.pubsub.silent
        # one more, for the probe of this tick is on its way; what Redis does not take would fill the memory meanwhile
        return silent > self.timeout + 1 or (silent > 1 and self.pubsub.unsent > _MOST_UNSENT)

    def check_redis(self) -> None:
        """
        Raises:
            RedisIsAway: Redis has been silent for longer than a newcomer may wait.
        """
        if self.redis_is_away:
            raise RedisIsAway(f"Redis has been silent for {self.pubsub.silent} seconds")

    def acquire(self, limits: Mapping[str, int]) -> tuple[str, ...]:
        with self.runtime.lock:
            return self.limits.acquire(limits)

    def release(self, keys: tuple[str, ...]) -> None:
        with self.runtime.lock:
            self.limits.release(keys)

    def close(self, code: int = CloseCode.SERVICE_RESTART, reason: str = "", share: float = 1) -> None:
        """Close all websockets, or a random share of those that are open."""
        open_ones = [connection for connection in self.connections if connection.websocket.open]
        # a fraction of one is one by chance
        for connection in sample(open_ones, int(share * len(open_ones) + random())):
            connection.close(code, reason)

    def _restored(self) -> None:
        self.probe.release(self.pubsub)

    def _resubscribed(self) -> None:
        self.hub.reset()
        self.absences.clear()
        for connection in [*self.connections]:  # one that fails is removed
            connection.subscriptions.resubscribed()

    def _keep_time(self) -> None:
        try:
            while True:
                self.runtime.sleep(_TICK_SECONDS)
                self._tick()
                self._failed = False
        except Exception as error:
            # in a new greenlet or thread, so that others run in between, whatever fails
            self.runtime.spawn(self._keep_time)
            if not self._failed:
                self._failed = True
                logger.error("loop clock failed, starting again", exc_info=error)

    def _tick(self) -> None:
        self.runtime.ticks += 1
        with self.runtime.lock:
            self.compression.refill()
            self.pubsub.tick()
            self.probe.tick(self.pubsub)
            self.pubsub.unsubscribe(self.absences.tick(self.runtime.ticks))
        while self._check_some():
            self.runtime.sleep(0)

    def _check_some(self) -> bool:
        """False where no connection is due any more."""
        with self.runtime.lock:
            due = self.connections.pop_due(self.runtime.ticks, _PAUSE_EVERY)
            found = bool(due)
            try:
                while due:
                    self._check(due[-1])
                    due.pop()
            finally:
                for each in due:
                    self.connections.schedule(each, self.runtime.ticks + 1)
        return found

    def _check(self, connection: Connection) -> None:
        try:
            connection.check_timers()
        except Exception as error:
            self.connections.schedule(connection, self.runtime.ticks + 1)
            self.runtime.spawn(partial(logger.error, "timer callback failed", exc_info=error))


def _backlogs(options: Options) -> Callable[[], Backlog] | None:
    if options.slow_browser == "close":
        return None
    # the outbox has the other half
    return partial(Backlog, options.outbox_size // 2, options.slow_browser == "conflate")


_current: LoopProcess | None = None
_starting = threading.Lock()


def loop_process(runtime: Runtime, client: Callable[[], Redis], options: Options) -> LoopProcess:
    """The loop of this process, started at the first call after the fork.

    Args:
        client: returns the client whose Redis it listens to.
        options: of the server that starts it.
    """
    global _current
    process = running_process()
    if process is not None:
        return process
    with _starting:
        process = running_process()
        if process is None:
            process = LoopProcess(runtime, client, options)
            process.start()
            _current = process
        return process


def running_process() -> LoopProcess | None:
    """The loop of this process, where one was started."""
    return _current if _current is not None and _current.pid == os.getpid() else None
