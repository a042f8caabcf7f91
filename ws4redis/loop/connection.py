"""One browser's life after the upgrade."""

from __future__ import annotations

import logging
from math import inf
from typing import NamedTuple, Protocol

from ws4redis.exceptions import RedisUnavailable
from ws4redis.loop.listener import Listener
from ws4redis.loop.own_listener import OwnListener
from ws4redis.loop.ports import Shared, View
from ws4redis.loop.roster import Roster
from ws4redis.loop.seats import Seats
from ws4redis.loop.tally import tally
from ws4redis.protocol.frames import CloseCode, message_frame
from ws4redis.websocket import WebSocket

logger = logging.getLogger("django.request")

# all in ticks of the loop, a second each
_HEARTBEAT_AFTER = 3
_PING_EVERY = 25
_DEAD_AFTER = 60
_CLOSING_AT_MOST = 10

#: between two turns of a connection, where there is no heartbeat to be sent in time
TURN_EVERY = 5

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
    bytes: float

    @staticmethod
    def per_second(frames: int | None, size: int | None) -> Allowance:
        return Allowance(WINDOW_TICKS * (frames or inf), WINDOW_TICKS * (size or inf))


class Loop(Shared, Protocol):
    """What a connection shares with the others of its process."""

    connections: Roster
    heartbeat: Heartbeat | None
    allowance: Allowance
    #: since its start
    ticks: int
    seats: Seats
    #: ticks that a browser waits for Redis before it is refused
    patience: float


class Connection:
    """Subscribed before the browser knows that it is connected, then parked.

    Args:
        accept_response: the HTTP answer that makes it a websocket, sent when Redis has confirmed the subscription.
    """

    __slots__ = (
        "_busy",
        "_bytes",
        "_closing_for",
        "_frames",
        "_inbox",
        "_listener",
        "_loop",
        "_silent",
        "_view",
        "_window",
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
        #: ticks since the browser gave a sign of life, since closing began
        self._silent = self._closing_for = 0

    def open(self) -> None:
        with self._loop.runtime.lock:
            self._loop.connections.add(self)
            self.websocket.start(self)
            self._listener.start()

    @property
    def connected(self) -> bool:
        return self._listener.connected

    def resubscribed(self) -> None:
        self._listener.resubscribed()

    # from the browser

    def received(self, messages: list[str | bytes], frames: int, size: int) -> bool:
        if not self.websocket.open:
            return False
        self._silent = 0
        if self._exceeds_allowance(frames, size):
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
            if self._busy:
                self.websocket.pause()
            else:
                self._busy = True
                self._loop.runtime.spawn(self._handle)
        return self._busy

    def _exceeds_allowance(self, frames: int, size: int) -> bool:
        window = self._loop.ticks // WINDOW_TICKS
        if window != self._window:
            self._window = window
            self._frames = self._bytes = 0
        self._frames += frames
        self._bytes += size
        allowance = self._loop.allowance
        return self._frames > allowance.frames or self._bytes > allowance.bytes

    def _handle(self) -> None:
        """Give the view the messages, in order; reading goes on when all are done."""
        try:
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

    def lost(self) -> None:
        self._listener.leave()
        self._loop.seats.give_back(self._view.seats)
        self._loop.connections.discard(self)
        if not self._busy:
            self._loop.runtime.spawn(self._say_goodbye)

    def _say_goodbye(self) -> None:
        websocket = self.websocket
        tally[f"closed with {websocket.close_code}"] += 1
        # not in lost(): logging takes a lock, for which the loop itself cannot wait
        logger.debug("websocket %x closed with %s %r", id(websocket), websocket.close_code, websocket.close_reason)
        try:
            self._view.on_close()
        except Exception:
            logger.exception("a websocket's view failed after the end")

    # time

    def tick(self, seconds: int) -> None:
        """So many seconds have gone by since the last time."""
        # while its messages are handled, the browser is not read
        self._silent = 0 if self._busy else self._silent + seconds
        websocket = self.websocket
        websocket.quiet += seconds
        if not websocket.open:
            self._closing_for += seconds
            if self._closing_for >= _CLOSING_AT_MOST:
                websocket.abort()
        elif not self._listener.connected:
            if self._silent > self._loop.patience:
                self.close(CloseCode.TRY_AGAIN_LATER)
        elif self._silent >= _DEAD_AFTER:
            self.close(CloseCode.GOING_AWAY, "no sign of life")
        else:
            if self._silent % _PING_EVERY < seconds <= self._silent:
                websocket.ping()
            if websocket.quiet >= _HEARTBEAT_AFTER and self._loop.heartbeat is not None:
                websocket.write(self._loop.heartbeat.frame)
