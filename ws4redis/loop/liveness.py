"""Whether a client is still there and takes what is sent; all times are ticks of the loop, a second each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ws4redis.core.closes import PING_TIMEOUT
from ws4redis.protocol.frames import message_frame

if TYPE_CHECKING:
    from ws4redis.loop.connection import Connection
    from ws4redis.websocket import WebSocket

_HEARTBEAT_AFTER = 3
_PING_EVERY = 25
_PING_TIMEOUT = 60
_STALLED_AT_MOST = 30

#: for a client that is not read
PAUSED_CHECK_AFTER = 2

#: for the closing handshake
CLOSING_AT_MOST = 10

MAX_DELAY = max(_HEARTBEAT_AFTER, _PING_EVERY, CLOSING_AT_MOST)


class Heartbeat:
    """The text message by which both sides show that they are there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._forms = (text, text.encode())
        self.frame = message_frame(text)

    def matches(self, message: str | bytes) -> bool:
        return message in self._forms


def check_liveness(connection: Connection, heartbeat: Heartbeat | None, now: int) -> int:
    """Ping, send a heartbeat, or close, as it is due; returns the ticks until the next check."""
    websocket = connection.websocket
    silent, stalled = now - connection.seen, websocket.stalled
    if websocket.paused:
        if websocket.peer_has_left:
            websocket.read_to_the_end()
    elif silent >= _PING_TIMEOUT:
        connection.close(*PING_TIMEOUT.frame)
        return CLOSING_AT_MOST
    if stalled >= _STALLED_AT_MOST:
        connection.close_slow()
        return CLOSING_AT_MOST
    # what begins to wait after this check is noticed in time, because the next one is never further away
    due = min(_ping_if_silent(websocket, silent), _STALLED_AT_MOST - stalled)
    if heartbeat is not None:
        due = min(due, _send_heartbeat(websocket, heartbeat, now))
    return min(due, PAUSED_CHECK_AFTER) if websocket.paused else due


def _ping_if_silent(websocket: WebSocket, silent: int) -> int:
    """Returns the ticks until the next check of the silence."""
    if silent and silent % _PING_EVERY == 0:
        websocket.ping()
    due = _PING_EVERY - silent % _PING_EVERY
    # a client that is not read is silent anyway
    return due if websocket.paused else min(due, _PING_TIMEOUT - silent)


def _send_heartbeat(websocket: WebSocket, heartbeat: Heartbeat, now: int) -> int:
    """Returns the ticks until the next heartbeat, if nothing else is written before."""
    if now - websocket.written >= _HEARTBEAT_AFTER:
        websocket.write(heartbeat.frame)
    return websocket.written + _HEARTBEAT_AFTER - now
