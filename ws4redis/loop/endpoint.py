"""The contract between the loop and what answers on a websocket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, ClassVar, Protocol

from ws4redis.core.echo import EchoFilter
from ws4redis.core.encoding import RAW, Dialect
from ws4redis.core.publication import Publication
from ws4redis.exceptions import REDIS_AWAY
from ws4redis.loop.catch_up import LAST_MESSAGES, CatchUp
from ws4redis.websocket import WebSocket


class Taking(Enum):
    """How an endpoint takes the client's messages."""

    #: ``on_message`` is called in a greenlet, one message at a time; reading pauses meanwhile
    DISPATCHED = "dispatched"
    #: the endpoint calls ``connection.receive()``; reading pauses while the inbox is full
    PULLED = "pulled"
    #: ``on_message`` is called by the loop, and must not block; reading goes on
    HANDED_ON = "handed on"


class Opening(Protocol):
    """The answers to the handshake: the bytes of an HTTP response."""

    def accept(self, subprotocol: str | None = None) -> bytes:
        """101; None means the subprotocol that was agreed on."""

    def reject(self, error: Exception) -> bytes: ...


class Connection(Protocol):
    """What an endpoint may do with its websocket, from any greenlet or thread."""

    #: bytes that the client has sent so far, compressed as they came
    bytes_received: int

    @property
    def websocket(self) -> WebSocket: ...

    def accept(self, subprotocol: str | None = None) -> None:
        """Answer with 101; None means the subprotocol that was agreed on. Does nothing the second time."""

    def reject(self, error: Exception) -> None:
        """Answer with the HTTP response for this error, and drop the connection; closes one that was accepted."""

    def send(self, message: str | bytes, binary: bool | None = None, wait: bool = False) -> None:
        """Send one message: str as text; bytes as binary or, where ``binary`` is unset and they are UTF-8, as text.

        Args:
            wait: block while the client is too slow, instead of closing with 1013.

        Raises:
            WebSocketError: the websocket is closed.
        """

    def receive(self, timeout: float | None = None) -> Any:
        """Wait for the next message, where the endpoint pulls them.

        Args:
            timeout: seconds; None waits for as long as the websocket is open.

        Raises:
            TimeoutError: there was no message in that time.
            WebSocketError: the websocket is closed, and all its messages were received.
        """

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake; a client that is not yet accepted gets a 503."""

    def subscribe(self, *channels: bytes, confirmed: Callable[[], None] | None = None) -> None:
        """Deliver these channels to the client, first what its ``catch_up`` finds, in this order.

        Those to which the client is subscribed already stay, and may be named for their place.

        Args:
            confirmed: is called by the loop when Redis has confirmed; must not block.
        """

    def unsubscribe(self, *channels: bytes) -> None: ...

    def subscribe_control(
        self,
        channel: bytes,
        handler: Callable[[bytes], bool | None],
        keys: Sequence[bytes] | None = None,
        restore: Callable[..., bool | None] | None = None,
    ) -> None:
        """Call ``handler(payload)`` for this channel's last value and its publications; the client sees none of them.

        What stands before such a publication in the stream is delivered, then the handler is called, then what stands
        after it is addressed. Handlers are called by the loop, and must not block. A handler that returns False does
        not yet know who the client is: until one returns True, a client that is not accepted waits.

        Args:
            keys: are read at the beginning and after a loss of Redis; by default ``channel``.
            restore: is called with their values, bytes or None; by default the handler is, where there is a value.
        """

    def filter_echo(self, echo_filter: EchoFilter) -> None:
        """From now on the client does not get what the filter expects."""

    def deliver(self, publications: Sequence[Publication]) -> None:
        """Hand the client publications that came by another channel, or from elsewhere."""

    def attempt(self, function: Callable[[], Any], away: tuple[type[Exception], ...] = REDIS_AWAY) -> bool:
        """Call code of the site; where it fails, log and close: with 1013 for an error of ``away``, else with 1011.

        Returns whether it worked.
        """


class Endpoint:
    """Answers on one websocket. Made before the upgrade, in a thread that may use the database.

    Override what you need; each hook does nothing by default.
    """

    __slots__ = ()

    taking: ClassVar[Taking] = Taking.DISPATCHED
    #: accepted as soon as Redis has confirmed what ``on_open`` subscribes to; else when the endpoint says so
    accepts_at_once: ClassVar[bool] = True
    #: what the client speaks
    dialect: ClassVar[Dialect] = RAW
    #: what it gets of a channel before the publications
    catch_up: ClassVar[CatchUp] = LAST_MESSAGES
    #: sends that in place of ``catch_up``, once; is called in a greenlet, and may block
    send_first: Callable[[WebSocket], None] | None = None

    def on_open(self, connection: Connection) -> None:
        """Subscribe here. Called by the loop: must not block."""

    def on_message(self, message: Any) -> None:
        """Called for each message, in order; ``taking`` says how."""

    def on_close(self, code: int, reason: str) -> None:
        """Called once in a greenlet, also after an error and after a lost connection."""
