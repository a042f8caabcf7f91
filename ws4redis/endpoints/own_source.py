"""The endpoint whose subscriber reads from Redis itself, as each did in django-websocket-redis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ws4redis.auth.lookups import Lookups
from ws4redis.core.publication import Publication
from ws4redis.endpoints.channels import ChannelEndpoint
from ws4redis.exceptions import READING_FAILED
from ws4redis.loop.endpoint import Connection
from ws4redis.redis_store import RedisMessage
from ws4redis.subscriber import RedisSubscriber

if TYPE_CHECKING:
    from ws4redis.runtime.port import Event, Runtime, Watcher

#: seconds that a subscriber which still reads gets to end that, before it is released all the same
_RELEASED_AFTER = 2


class OwnSourceEndpoint(ChannelEndpoint):
    """``ChannelEndpoint`` without the hub: reads whenever the subscriber's descriptor is ready."""

    __slots__ = ("_closed", "_reading", "_runtime", "_send_first", "_stopped", "_watcher")

    def __init__(self, subscriber: RedisSubscriber, echo: bool, lookups: Lookups, runtime: Runtime) -> None:
        super().__init__(subscriber, echo, lookups)
        self._runtime = runtime
        self._send_first, self.send_first = self.send_first or subscriber.send_persisted_messages, None
        self._watcher: Watcher | None = None
        self._closed = False
        #: a greenlet reads or is about to; from the opening until it waits for the first time, too
        self._reading = False
        #: set when that ends, where it is waited for
        self._stopped: Event | None = None

    def on_open(self, connection: Connection) -> None:
        self._connection = connection
        connection.accept()
        self._reading = True
        self._runtime.spawn(self._begin)

    def on_message(self, message: Any) -> None:
        super().on_message(message)
        # the message may have made the subscriber subscribe for the first time
        if self._watcher is None and not self._reading:
            self._attempt(self._wait)

    def on_close(self, code: int, reason: str) -> None:
        with self._runtime.lock:
            self._closed = True
            self._forget_descriptor()
            if self._reading:
                self._stopped = self._runtime.new_event()
        if self._stopped is not None:
            # redis-py would connect again, for the one that reads, what is just being released
            self._stopped.wait(_RELEASED_AFTER)
        super().on_close(code, reason)

    # inside

    def _begin(self) -> None:
        assert self._connection is not None
        self._go_on(partial(self._send_first, self._connection.websocket))

    def _wait(self) -> None:
        """Watch the descriptor anew, for redis-py may have reconnected."""
        with self._runtime.lock:
            self._forget_descriptor()
            self._end_reading()
            descriptor = None if self._closed else self._subscriber.get_file_descriptor()
            if descriptor:
                self._watcher = self._runtime.watch_readable(descriptor)
                self._watcher.start(self._readable)

    def _readable(self) -> None:
        assert self._watcher is not None
        self._watcher.stop()
        self._reading = True
        self._runtime.spawn(self._read)

    def _read(self) -> None:
        self._go_on(self._read_one)

    def _go_on(self, first: Callable[[], None]) -> None:
        """Read what has been received, then wait for more."""
        if not all(map(self._attempt, (first, self._read_all, self._wait))):
            with self._runtime.lock:
                self._end_reading()

    def _read_one(self) -> None:
        self._deliver(self._subscriber.parse_response())

    def _read_all(self) -> None:
        while not self._closed and self._subscriber.has_more():
            self._read_one()

    def _deliver(self, reply: Any) -> None:
        payload = RedisMessage(reply)
        if not payload or self._connection is None:
            return
        publication = Publication(reply[1], payload)
        if self._echo_filter and self._echo_filter.forget(publication.channel, publication.payload):
            return
        self._connection.deliver([publication])

    def _attempt(self, read: Any) -> bool:
        connection = self._connection
        return connection is not None and connection.websocket.open and connection.attempt(read, READING_FAILED)

    def _end_reading(self) -> None:
        self._reading = False
        if self._stopped is not None:
            self._stopped.set()

    def _forget_descriptor(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
