"""One client, from the upgrade to the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

from ws4redis.broker.client import serving_client
from ws4redis.core.closes import RATE_LIMIT, REDIS_UNAVAILABLE, SERVER_ERROR
from ws4redis.core.echo import EchoFilter
from ws4redis.core.identity import ANONYMOUS, Identity
from ws4redis.core.metrics import counters
from ws4redis.core.publication import Batch, Publication
from ws4redis.exceptions import REDIS_AWAY, RedisUnavailable, WebSocketError
from ws4redis.loop.control import ControlSubscription
from ws4redis.loop.directory import Directory
from ws4redis.loop.endpoint import Endpoint, Opening
from ws4redis.loop.inbox import inbox_for
from ws4redis.loop.limits import Allowance, ConnectionLimits, Rate
from ws4redis.loop.liveness import CLOSING_AT_MOST, PAUSED_CHECK_AFTER, Heartbeat, check_liveness
from ws4redis.loop.subscriptions import Loop as SharedLoop
from ws4redis.loop.subscriptions import Subscriptions
from ws4redis.loop.timer_wheel import TimerWheel
from ws4redis.runtime.port import Event
from ws4redis.websocket import WebSocket

logger = logging.getLogger("django.request")


class Loop(SharedLoop, Protocol):
    """What a connection shares with the others of its process."""

    connections: TimerWheel
    heartbeat: Heartbeat | None
    allowance: Allowance
    directory: Directory[Connection]
    limits: ConnectionLimits
    #: ticks that a client waits for Redis before it is rejected
    timeout: float

    @property
    def redis_is_away(self) -> bool:
        """Redis has been silent for longer than a client waits."""


class Connection:
    """Subscribed before the client knows that it is connected, then parked; satisfies ``loop.endpoint.Connection``.

    Args:
        opening: answers the handshake.
        identity: is found in the process' directory while the websocket lives.
        limit_keys: are released at the end.
    """

    __slots__ = (
        "_identity",
        "_inbox",
        "_limit_keys",
        "_loop",
        "_opening",
        "_rate",
        "_room",
        "bytes_received",
        "endpoint",
        "seen",
        "slot",
        "subscriptions",
        "websocket",
    )

    def __init__(
        self,
        loop: Loop,
        websocket: WebSocket,
        endpoint: Endpoint,
        opening: Opening,
        identity: Identity = ANONYMOUS,
        limit_keys: tuple[str, ...] = (),
    ) -> None:
        self._loop = loop
        self.websocket = websocket
        self.endpoint = endpoint
        #: None when it was used
        self._opening: Opening | None = opening
        self._identity = identity
        self._limit_keys = limit_keys
        self.subscriptions = Subscriptions(loop, self, websocket, endpoint)
        self._inbox = inbox_for(endpoint.taking)
        #: set when the client has taken what waited for it
        self._room: Event | None = None
        self._rate = Rate()
        self.bytes_received = 0
        #: the tick in which the client has sent something last
        self.seen = loop.runtime.ticks
        #: set by the timer wheel
        self.slot = 0

    def open(self) -> None:
        with self.lock:
            try:
                self._check_in(1)
                self._loop.directory.add(self, self._identity)
                self._identity = ANONYMOUS
                if self.endpoint.dialect is not self.websocket.encoding.dialect:
                    self.websocket.speak(self.endpoint.dialect)
                self.websocket.start(self)
                self.endpoint.on_open(self)
                self.subscriptions.go_on()
            except BaseException:
                self.websocket.abort()
                raise

    @property
    def lock(self) -> AbstractContextManager[Any]:
        return self._loop.runtime.lock

    @property
    def accepted(self) -> bool:
        return self._opening is None

    # by the endpoint, from any greenlet or thread

    def accept(self, subprotocol: str | None = None) -> None:
        self._in_loop(self._accept_now, subprotocol)

    def reject(self, error: Exception) -> None:
        self._in_loop(self._reject, error)

    def send(self, message: str | bytes, binary: bool | None = None, wait: bool = False) -> None:
        while wait and not self.websocket.has_room(len(message)):
            self._loop.runtime.run_in_loop(self._new_room).wait(1)  # a second later the websocket may be closed
        self._in_loop(self.websocket.send, message, binary)

    def receive(self, timeout: float | None = None) -> Any:
        while not isinstance(found := self._loop.runtime.run_in_loop(self._inbox.take, self), tuple):
            if not found.wait(timeout):
                raise TimeoutError(f"there was no message in {timeout} seconds")
        return found[0]

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._in_loop(self._close, code, reason)

    def subscribe(self, *channels: bytes, confirmed: Callable[[], None] | None = None) -> None:
        self._in_loop(self._change, self.subscriptions.subscribe, channels, confirmed)

    def unsubscribe(self, *channels: bytes) -> None:
        self._in_loop(self._change, self.subscriptions.unsubscribe, channels)

    def subscribe_control(
        self,
        channel: bytes,
        handler: Callable[[bytes], bool | None],
        keys: Sequence[bytes] | None = None,
        restore: Callable[..., bool | None] | None = None,
    ) -> None:
        control = ControlSubscription(self.subscriptions, channel, handler, keys, restore)
        self._in_loop(self._change, self.subscriptions.subscribe_control, control)

    def filter_echo(self, echo_filter: EchoFilter) -> None:
        self._in_loop(self.subscriptions.filter_echo, echo_filter)

    def deliver(self, publications: Sequence[Publication]) -> None:
        self._in_loop(self.subscriptions.deliver, [Batch(publications)])

    def attempt(self, function: Callable[[], Any], away: tuple[type[Exception], ...] = REDIS_AWAY) -> bool:
        try:
            with serving_client():
                function()
            return True
        except away as error:
            if self.websocket.open:
                text = "Redis is not available, websocket %x is closed: %s"
                self.spawn(logger.warning, text, id(self.websocket), error)
            self.close(*REDIS_UNAVAILABLE.frame)
        except Exception as error:
            # to send to a client that has left is no failure
            if self.websocket.open or not isinstance(error, WebSocketError):
                text = "endpoint failed, websocket %x is closed"
                self.spawn(partial(logger.error, text, id(self.websocket), exc_info=error))
            self.close(*SERVER_ERROR.frame)
        return False

    # by the websocket

    def received(self, messages: list[str | bytes], frames: int, size: int, inflated: int = 0) -> bool:
        if not self.websocket.open:
            return False
        self.seen = self._loop.runtime.ticks
        self.bytes_received += size
        if self._rate.exceeds(self._loop.allowance, self._loop.runtime.ticks, frames, size + inflated):
            self.close(*RATE_LIMIT.frame)
            return False
        heartbeat = self._loop.heartbeat
        if heartbeat is not None and messages:
            messages = self._without_heartbeats(heartbeat, messages)
        if messages:
            decode = self.endpoint.dialect.decode
            self._inbox.put(self, messages if decode is None else [decode(each) for each in messages])
        return self._inbox.busy

    def unlist(self) -> None:
        self.subscriptions.unlist()

    def drained(self) -> None:
        self.subscriptions.drained()
        if self._room is not None:
            room, self._room = self._room, None
            room.set()

    def closing(self) -> None:
        self._inbox.closed()
        self._check_in(CLOSING_AT_MOST)

    def lost(self) -> None:
        """After a failure it is called again at the next check, so what can fail comes first."""
        self.subscriptions.close()
        self._inbox.closed()
        if not self._inbox.busy:
            self.spawn(self._on_close)
        self._loop.connections.cancel(self)
        self._loop.directory.discard(self)
        self._loop.limits.release(self._limit_keys)

    # by the subscriptions

    def confirmed(self, data: bytes) -> None:
        if self.endpoint.accepts_at_once and self._opening is not None:
            data = self._accept(None) + data
        self.websocket.write(data)
        self._inbox.go_on(self)

    # by the inbox

    def abort(self) -> None:
        with self.lock:
            self.websocket.abort()

    def pause(self) -> None:
        self.websocket.pause()
        if self.websocket.open:
            self._check_in(PAUSED_CHECK_AFTER if self.accepted else 1)

    def resume(self) -> None:
        self.websocket.resume()

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        self._loop.runtime.spawn(function, *args)

    def new_event(self) -> Event:
        return self._loop.runtime.new_event()

    def handled(self) -> None:
        """All messages are handled."""
        self.seen = self._loop.runtime.ticks
        if self.websocket.closed:
            self.spawn(self._on_close)
        else:
            self.websocket.resume()

    # by the clock

    def check_timers(self) -> None:
        """Do what is due, and schedule the next check."""
        if self.websocket.closed:
            self.lost()
        elif not self.websocket.open:
            self.websocket.abort()
        elif not self.accepted:
            self._check_opening()
        else:
            self._inbox.go_on(self)
            due = check_liveness(self, self._loop.heartbeat, self._loop.runtime.ticks)
            if self.websocket.open:  # the check may have closed it
                self._check_in(due)

    def close_slow(self) -> None:
        self.subscriptions.close()
        self.websocket.close_slow()

    # inside

    def _in_loop(self, function: Callable[..., None], *args: Any) -> None:
        self._loop.runtime.run_in_loop(function, *args)

    def _accept(self, subprotocol: str | None) -> bytes:
        opening, self._opening = self._opening, None
        return b"" if opening is None else opening.accept(subprotocol)

    def _accept_now(self, subprotocol: str | None) -> None:
        self.websocket.write(self._accept(subprotocol))
        self._inbox.go_on(self)

    def _reject(self, error: Exception) -> None:
        opening, self._opening = self._opening, None
        if opening is None:
            self._close(*(REDIS_UNAVAILABLE if isinstance(error, REDIS_AWAY) else SERVER_ERROR).frame)
            return
        self.subscriptions.close()
        self.spawn(logger.info, "websocket %x rejected: %s", id(self.websocket), error)
        self.websocket.write(opening.reject(error))
        self.websocket.abort()

    def _close(self, code: int, reason: str) -> None:
        if not self.accepted:
            self._reject(RedisUnavailable("Redis has not confirmed the subscription"))
            return
        self.subscriptions.close()
        self.websocket.close(code, reason)

    def _change(self, change: Callable[..., None], *args: Any) -> None:
        """After a failure the client must not go on with its earlier subscriptions."""
        try:
            change(*args)
        except Exception:
            self.websocket.abort()
            raise

    def _new_room(self) -> Event:
        if not self.websocket.open:
            raise WebSocketError("the websocket is closed")
        self._room = self._room or self.new_event()
        return self._room

    def _without_heartbeats(self, heartbeat: Heartbeat, messages: list[str | bytes]) -> list[str | bytes]:
        others = [each for each in messages if not heartbeat.matches(each)]
        if len(others) < len(messages):
            self.websocket.write(heartbeat.frame)
        return others

    def _on_close(self) -> None:
        websocket = self.websocket
        counters[f"closed with {websocket.close_code}"] += 1
        # not in lost(): logging takes a lock, for which the loop itself cannot wait
        logger.debug("websocket %x closed with %s %r", id(websocket), websocket.close_code, websocket.close_reason)
        try:
            with serving_client():
                self.endpoint.on_close(websocket.close_code or 1006, websocket.close_reason)
        except Exception:
            logger.exception("endpoint failed after websocket %x was closed", id(websocket))
        finally:
            self.subscriptions.ended()

    def _check_opening(self) -> None:
        waited = self._loop.runtime.ticks - self.seen
        if self._loop.redis_is_away or waited > self._loop.timeout:
            self.close()
        else:
            self._check_in(1)

    def _check_in(self, ticks: int) -> None:
        self._loop.connections.schedule(self, self._loop.runtime.ticks + ticks)
