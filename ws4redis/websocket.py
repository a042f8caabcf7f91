"""One client's websocket: the protocol on a stream socket."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from ws4redis.core.closes import TOO_SLOW
from ws4redis.core.deprecated import Historic, historic_names, imported
from ws4redis.core.encoding import RAW, Dialect, encoding_of, opcode_of
from ws4redis.exceptions import WebSocketError
from ws4redis.protocol.deflate import Agreement, Budget, Deflater, Inflater, Options
from ws4redis.protocol.frames import CloseCode, Opcode
from ws4redis.protocol.server import ServerProtocol, State
from ws4redis.runtime.transport import SEND_FLAGS, Transport

if TYPE_CHECKING:
    from ws4redis.runtime.outbox import Outbox
    from ws4redis.runtime.port import Runtime
    from ws4redis.runtime.sockets import StreamSocket

_FRAMES = Historic("ws4redis.protocol.frames")
__getattr__ = historic_names(
    __name__,
    {
        "Stream": _FRAMES,
        "Header": _FRAMES,
        "Utf8Validator": Historic("codecs.getincrementaldecoder('utf-8')"),
        **imported(
            FrameTooLargeException="ws4redis.exceptions.FrameTooLargeException",
            logger="ws4redis.runtime.transport.logger",
            logging="logging",
            six="six",
            socket_error="builtins.OSError",
            struct="struct",
            xrange="builtins.range",
        ),
    },
)

#: bytes that are read of a peer that has left, decompressed
_MOST_LAST_WORDS = 1 << 20


class WebSocketListener(Protocol):
    """The owner of a websocket. Its methods are called by the loop, in no greenlet, and must not block."""

    def received(self, messages: list[str | bytes], frames: int, size: int, inflated: int) -> bool:
        """The client has sent these messages, complete now: str is text, bytes is binary.

        ``frames`` and ``size`` count what was read, in frames and bytes.

        ``inflated`` bytes more came out when they were decompressed.

        Returns whether messages are being handled; then ``resume()`` follows.
        """

    def unlist(self) -> None:
        """Nothing else may use the descriptor from now on; called only where it is ``listed``."""

    def drained(self) -> None:
        """All that waited is on its way."""

    def closing(self) -> None:
        """The closing handshake has begun, by either side; ``lost()`` follows if the client does its part."""

    def lost(self) -> None:
        """The descriptor is closed; nothing follows."""


class WebSocket(Transport):
    """A client's websocket, parked: no greenlet waits for it, the loop calls back.

    Args:
        runtime: the kind of concurrency.
        connected: the socket, non-blocking, owned by this object from now on.
        max_message_size: bytes that one message of the client may have, inclusive.
        outbox_size: bytes that may wait for the client.
    """

    __slots__ = (
        "_owner",
        "_postponed",
        "_protocol",
        "_rest",
        "encoding",
        "listed",
        "open",
        "written",
    )

    def __init__(
        self, runtime: Runtime, connected: StreamSocket, max_message_size: int = 1 << 20, outbox_size: int = 4 << 20
    ) -> None:
        super().__init__(runtime, connected, outbox_size)
        self._protocol = ServerProtocol(max_message_size)
        self._owner: WebSocketListener | None = None
        #: bytes that are still read of a client that has left, whatever pauses; None while it is there
        self._rest: int | None = None
        #: the answer to the client's end waits until its messages are handled
        self._postponed = False
        #: messages may be sent: no close frame was, in either direction
        self.open = True
        #: how messages are written
        self.encoding = encoding_of(RAW)
        #: the tick in which something was written last
        self.written = runtime.ticks
        #: the hub writes to the descriptor without looking at this object
        self.listed = False

    @property
    def close_code(self) -> int | None:
        return self._protocol.close_code

    @property
    def close_reason(self) -> str:
        return self._protocol.close_reason

    def compress(self, agreement: Agreement, options: Options, budget: Budget | None = None) -> None:
        """From the first message on; what is beyond the budget is sent uncompressed."""
        self._protocol.inflater = Inflater(agreement.client_context_takeover)
        self.encoding = encoding_of(self.encoding.dialect, Deflater.for_agreement(agreement, options, budget))

    def speak(self, dialect: Dialect) -> None:
        self.encoding = encoding_of(dialect, self.encoding.deflater)

    def start(self, owner: WebSocketListener) -> None:
        """From now on ``owner`` is told."""
        self._owner = owner
        self.resume()

    def resume(self) -> None:
        """Read what the client sends."""
        if self._postponed:
            self._answer()
        self._start_reading()

    def pause(self) -> None:
        """Let what the client sends wait in the kernel."""
        if self._rest is None:
            self._stop_reading()

    def read_to_the_end(self) -> None:
        """Read what the peer has sent before it left, though others are still being handled."""
        self._rest = _MOST_LAST_WORDS
        self.resume()

    def close_slow(self) -> None:
        """Close with 1013, and drop what waits; only the piece that is begun still comes before the close frame."""
        if self.open and self.outbox is not None:
            self._too_slow(self.outbox)

    def write(self, data: bytes) -> None:
        """Send bytes that are whole frames, unless the websocket is closing; what does not fit closes it with 1013."""
        if not data or not self.open:
            return
        self.written = self._runtime.ticks
        self._transmit(data)

    def send(self, message: str | bytes, binary: bool | None = None) -> None:
        """Send one message: str as text; bytes as binary or, where ``binary`` is unset and they are UTF-8, as text.

        Raises:
            WebSocketError: the websocket is closed.
        """
        payload = message.encode() if isinstance(message, str) else bytes(message)
        opcode = Opcode.BINARY if binary else Opcode.TEXT if isinstance(message, str) else opcode_of(payload)
        with self._runtime.lock:
            if not self.open:
                raise WebSocketError("the websocket is closed")
            self._transmit(self.encoding.frame(opcode, payload))

    def flush(self) -> None:
        """Nothing is kept back; for code that was written for django-websocket-redis."""

    def ping(self) -> None:
        self._protocol.ping()
        self._answer()

    def close(self, code: int = CloseCode.NORMAL, message: str = "") -> None:
        """Begin the closing handshake (RFC 6455, section 7.1.2); ``message`` is the reason."""
        if self.open:
            self._protocol.close(code, message)
            self._answer()

    def abort(self) -> None:
        """Close the descriptor at once."""
        if self.closed:
            return
        self._unlist()
        self.open = False
        super().abort()
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.lost()

    # by the transport

    def data_received(self, data: bytes) -> None:
        if not data:
            self._protocol.receive_eof()
            self.abort()
            return
        protocol = self._protocol
        frames, inflated = protocol.frames, protocol.inflated
        messages = protocol.receive_data(data)
        frames, inflated = protocol.frames - frames, protocol.inflated - inflated
        busy = self._owner is not None and self._owner.received(messages, frames, len(data), inflated)
        if self._rest is not None:
            self._count_last(len(data) + inflated)
        if busy and self._protocol.state is State.CLOSED:
            # what was said before the end is answered before the end, too
            self._postponed = True
            self.pause()
        else:
            self._answer()

    def pause_writing(self) -> None:
        self._unlist()

    def resume_writing(self) -> None:
        self._finish()
        if self._owner is not None:
            self._owner.drained()

    def outbox_full(self, outbox: Outbox, data: bytes) -> None:
        if self.open:
            self._too_slow(outbox)
        else:  # it is the close frame itself that found no room
            outbox.cut(data)

    # inside

    def _count_last(self, size: int) -> None:
        assert self._rest is not None
        self._rest -= size
        if self._rest < 0:
            self.abort()

    def _answer(self) -> None:
        """Send what the protocol has to say: pongs, pings, closes."""
        self._postponed = False
        if self.open and self._protocol.state is not State.OPEN:
            self._leave_open()
        if output := self._protocol.data_to_send():
            self._transmit(output)
        self._finish()

    def _unlist(self) -> None:
        if self.listed and self._owner is not None:
            self._owner.unlist()

    def _leave_open(self) -> None:
        self._unlist()
        self.open = False
        if self._owner is not None:
            self._owner.closing()

    def _finish(self) -> None:
        """Close the connection once all is said (RFC 6455, section 7.1.1: the server first)."""
        if self.closed or self._protocol.state is not State.CLOSED or self.outbox is not None:
            return
        if self._protocol.peer_closed:
            self.abort()
            return
        # closing now, with bytes unread, would reset the connection and destroy our close frame on its way
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()

    def _too_slow(self, outbox: Outbox) -> None:
        self._leave_open()
        self._protocol.close(*TOO_SLOW.frame)
        outbox.cut(self._protocol.data_to_send())


def write_to_all(websockets: Iterable[WebSocket], data: bytes) -> None:
    """``write()`` to each where nothing waits, without a call for each: of these a large fan-out consists."""
    size = len(data)
    for websocket in websockets:
        if not websocket.open:
            continue
        websocket.written = websocket._runtime.ticks
        try:
            sent = websocket._socket.send(data, SEND_FLAGS)
        except OSError as error:
            websocket._not_sent(data, error)
        else:
            if sent < size:
                websocket._keep(data, sent)
