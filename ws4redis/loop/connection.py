"""One browser's life after the upgrade."""

from __future__ import annotations

import logging
from math import inf
from typing import NamedTuple, Protocol

from ws4redis.exceptions import RedisUnavailable
from ws4redis.loop.limits import ConnectionLimits
from ws4redis.loop.listener import Listener
from ws4redis.loop.own_listener import OwnListener
from ws4redis.loop.ports import Shared, View
from ws4redis.loop.roster import Roster
from ws4redis.loop.tally import tally
from ws4redis.protocol.frames import CloseCode, message_frame
from ws4redis.redis_client import serving_browser
from ws4redis.websocket import WebSocket

logger = logging.getLogger("django.request")

# all in ticks of the loop, a second each
_HEARTBEAT_AFTER = 3
_PING_EVERY = 25
_DEAD_AFTER = 60
_CLOSING_AT_MOST = 10
_STALLED_AT_MOST = 30

FURTHEST_TURN = max(_HEARTBEAT_AFTER, _PING_EVERY, _CLOSING_AT_MOST)

#: over which the rate of what a browser sends is taken
WINDOW_TICKS = 10

_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"Redis is not available.\n"
)


class Heartbeat:
    """The text message that both sides send to show that they are alive."""

    def __init__(self, text: str) -> None:
        self._forms = (text, text.encode())
        self.frame = message_frame(text)

    def matches(self, message: str | bytes) -> bool:
        return message in self._forms


class Allowance(NamedTuple):
    """What a browser may send within ``WINDOW_TICKS``; inf is no limit."""

    #: messages, their fragments, pings and so on
    frames: float
    #: decompressed
    bytes: float

    @staticmethod
    def per_second(frames: int | None, size: int | None) -> Allowance:
        return Allowance(WINDOW_TICKS * (frames or inf), WINDOW_TICKS * (size or inf))


class Loop(Shared, Protocol):
    """What a connection shares with the others of its process."""

    connections: Roster
    heartbeat: Heartbeat | None
    allowance: Allowance
    limits: ConnectionLimits
    #: ticks that a browser waits for Redis before it is refused
    patience: float

    @property
    def redis_is_away(self) -> bool:
        """For so long that nobody need wait any more."""


class Connection:
    """Subscribed before the browser knows that it is connected, then parked.

    Args:
        accept_response: the HTTP answer that makes it a websocket, sent when Redis has confirmed the subscription.
    """

    __slots__ = (
        "_busy",
        "_bytes",
        "_frames",
        "_inbox",
        "_listener",
        "_loop",
        "_seen",
        "_view",
        "_window",
        "turn",
        "websocket",
    )

    def __init__(self, loop: Loop, websocket: WebSocket, view: View, accept_response: bytes) -> None:
        self._loop = loop
        self.websocket = websocket
        self._view = view
        self._listener: Listener | OwnListener = (
            Listener(loop, websocket, view, accept_response)
            if view.source is None
            else OwnListener(loop, websocket, view, view.source, accept_response)
        )
        self._inbox: tuple[str | bytes, ...] = ()
        self._busy = False
        #: what it has sent in the current window, and which that is
        self._frames = self._bytes = self._window = 0
        #: the tick in which the browser gave its last sign of life
        self._seen = loop.runtime.ticks
        #: kept by the roster
        self.turn = 0

    def open(self) -> None:
        with self._loop.runtime.lock:
            try:
                self._turn_in(1)
                self.websocket.start(self)
                self._listener.start()
            except BaseException:
                self.websocket.abort()
                raise

    @property
    def connected(self) -> bool:
        return self._listener.connected

    def resubscribed(self) -> None:
        self._listener.resubscribed()

    # from the browser

    def received(self, messages: list[str | bytes], frames: int, size: int, inflated: int = 0) -> bool:
        if not self.websocket.open:
            return False
        self._seen = self._loop.runtime.ticks
        self._view.bytes_received += size
        if self._exceeds_allowance(frames, size + inflated):
            self.close(CloseCode.POLICY_VIOLATION, "too much at once")
            return False
        heartbeat = self._loop.heartbeat
        if heartbeat is not None and messages:
            others = [each for each in messages if not heartbeat.matches(each)]
            if len(others) < len(messages):
                self.websocket.write(heartbeat.frame)
            messages = others
        if messages:
            self._inbox = (*self._inbox, *messages)
            if self._busy or not self.connected:  # who speaks before the answer waits: it may be that there is none
                self.websocket.pause()
            else:
                self._begin_to_handle()
        return self._busy

    def _exceeds_allowance(self, frames: int, size: int) -> bool:
        window = self._loop.runtime.ticks // WINDOW_TICKS
        if window != self._window:
            self._window = window
            self._frames = self._bytes = 0
        self._frames += frames
        self._bytes += size
        allowance = self._loop.allowance
        return self._frames > allowance.frames or self._bytes > allowance.bytes

    def _begin_to_handle(self) -> None:
        self._loop.runtime.spawn(self._handle)
        self._busy = True

    def _handle(self) -> None:
        """Give the view the messages, in order; reading goes on when all are done."""
        try:
            with serving_browser():
                while messages := self._take_inbox():
                    for message in messages:
                        self._view.on_message(message)
        except RedisUnavailable as error:
            logger.warning("a message was not published, its websocket is closed: %s", error)
            self._give_up(CloseCode.TRY_AGAIN_LATER, "Redis is not available")
        except Exception:
            logger.exception("a websocket's view failed")
            self._give_up(CloseCode.INTERNAL_ERROR, "server error")

    def _take_inbox(self) -> tuple[str | bytes, ...]:
        with self._loop.runtime.lock:
            messages, self._inbox = self._inbox, ()
            if not messages:
                self._rest()
            return messages

    def _give_up(self, code: int, reason: str) -> None:
        with self._loop.runtime.lock:
            self.close(code, reason)
            self._inbox = ()
            self._rest()

    def _rest(self) -> None:
        """No message is being handled any more."""
        self._busy = False
        self._seen = self._loop.runtime.ticks
        if self.websocket.closed:
            self._loop.runtime.spawn(self._say_goodbye)
        else:
            self._listener.rested()
            self.websocket.resume()

    # leaving

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; a browser that is not yet connected gets a 503."""
        with self._loop.runtime.lock:
            self._listener.leave()
            if self.connected:
                self.websocket.close(code, reason)
            else:
                logger.info("websocket %x refused with 503: Redis has not confirmed it", id(self.websocket))
                self.websocket.write(_UNAVAILABLE)
                self.websocket.abort()

    def drained(self) -> None:
        self._listener.drained()

    def closing(self) -> None:
        self._turn_in(_CLOSING_AT_MOST)

    def lost(self) -> None:
        """Where this fails it is done again when its turn comes, so what can fail comes first."""
        self._listener.leave()
        if not self._busy:
            self._loop.runtime.spawn(self._say_goodbye)
        self._loop.connections.discard(self)
        self._loop.limits.release(self._view.seats)

    def _say_goodbye(self) -> None:
        websocket = self.websocket
        tally[f"closed with {websocket.close_code}"] += 1
        # not in lost(): logging takes a lock, for which the loop itself cannot wait
        logger.debug("websocket %x closed with %s %r", id(websocket), websocket.close_code, websocket.close_reason)
        try:
            with serving_browser():
                self._view.on_close()
        except Exception:
            logger.exception("a websocket's view failed after the end")

    # time

    def take_turn(self) -> None:
        """Look at the clock, and say when the next look is due."""
        if self.websocket.closed:
            self.lost()
            return
        if not self.websocket.open:
            self.websocket.abort()
            return
        if self._inbox and not self._busy and self.connected:
            self._begin_to_handle()
        now = self._loop.runtime.ticks
        # while its messages are handled, the browser is not read
        silent = 0 if self._busy else now - self._seen
        if not self.connected:
            if silent > self._loop.patience or self._loop.redis_is_away:
                self.close(CloseCode.TRY_AGAIN_LATER)
            else:
                self._turn_in(1)
        elif silent >= _DEAD_AFTER:
            self.close(CloseCode.GOING_AWAY, "no sign of life")
        elif (stalled := self.websocket.stalled) >= _STALLED_AT_MOST:
            self._listener.leave()
            self.websocket.give_up()
        else:
            # what begins to wait after this look is seen in time, for the next one is never further away
            due = min(self._ask_for_life(silent), _STALLED_AT_MOST - stalled)
            if self._loop.heartbeat is not None:
                due = min(due, self._give_life(self._loop.heartbeat, now))
            if self.websocket.open:  # it may have shown that nobody is there
                self._turn_in(due)

    def _ask_for_life(self, silent: int) -> int:
        """Returns in how many ticks the silence is to be looked at again."""
        if silent and silent % _PING_EVERY == 0:
            self.websocket.ping()
        return min(_PING_EVERY - silent % _PING_EVERY, _DEAD_AFTER - silent)

    def _give_life(self, heartbeat: Heartbeat, now: int) -> int:
        """Returns in how many ticks the next heartbeat is due, if nothing else is written before."""
        if now - self.websocket.written >= _HEARTBEAT_AFTER:
            self.websocket.write(heartbeat.frame)
        return self.websocket.written + _HEARTBEAT_AFTER - now

    def _turn_in(self, ticks: int) -> None:
        self._loop.connections.put(self, self._loop.runtime.ticks + ticks)
