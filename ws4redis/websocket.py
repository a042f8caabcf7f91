"""One wire: the protocol on a descriptor, with an outbox for what the kernel does not take."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Protocol

from ws4redis.core.closes import TOO_SLOW
from ws4redis.core.deprecated import Historic, historic_names, imported
from ws4redis.core.encoding import RAW, Dialect, encoding_of, opcode_of
from ws4redis.exceptions import WebSocketError
from ws4redis.protocol.deflate import Agreement, Budget, Deflater, Inflater, Options
from ws4redis.protocol.frames import CloseCode, Opcode
from ws4redis.protocol.server import ServerProtocol, State
from ws4redis.runtime.outbox import Outbox, OutboxFull

if TYPE_CHECKING:
    from ws4redis.runtime.io_uring import Ring
    from ws4redis.runtime.port import Runtime, Watcher
    from ws4redis.runtime.sockets import StreamSocket

logger = logging.getLogger("django.request")

_FRAMES = Historic("ws4redis.protocol.frames")
__getattr__ = historic_names(
    __name__,
    {
        "Stream": _FRAMES,
        "Header": _FRAMES,
        "Utf8Validator": Historic("codecs.getincrementaldecoder('utf-8')"),
        **imported(
            FrameTooLargeException="ws4redis.exceptions.FrameTooLargeException",
            six="six",
            socket_error="builtins.OSError",
            struct="struct",
            xrange="builtins.range",
        ),
    },
)

#: bytes taken from the kernel at once
_READ_SIZE = 1 << 14

#: a peer that has closed its socket is noticed by the reader: no signal, no line in the log of uWSGI
_SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)

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

    def drained(self) -> None:
        """All that waited is on its way."""

    def closing(self) -> None:
        """The closing handshake has begun, by either side; ``lost()`` follows if the client does its part."""

    def lost(self) -> None:
        """The descriptor is closed; nothing follows."""


def _or_abort(callback: Callable[[WebSocket], None]) -> Callable[[WebSocket], None]:
    """What escaped to the loop would stop the watcher for good, and nobody would know."""

    @wraps(callback)
    def guarded(websocket: WebSocket) -> None:
        try:
            callback(websocket)
        except Exception as error:
            tell = partial(logger.error, "a websocket failed, it is closed", exc_info=error)
            try:
                websocket.abort()
            finally:
                websocket._runtime.spawn(tell)

    return guarded


class WebSocket:
    """A client's websocket, parked: no greenlet waits for it, the loop calls back.

    Args:
        runtime: the kind of concurrency.
        connected: the socket, non-blocking, owned by this object from now on.
        max_message_size: bytes that one message of the client may have, inclusive.
        outbox_size: bytes that may wait for the client.
    """

    __slots__ = (
        "_outbox_size",
        "_owner",
        "_postponed",
        "_protocol",
        "_reader",
        "_rest",
        "_runtime",
        "_socket",
        "_writer",
        "closed",
        "encoding",
        "open",
        "outbox",
        "paused",
        "written",
    )

    def __init__(
        self, runtime: Runtime, connected: StreamSocket, max_message_size: int = 1 << 20, outbox_size: int = 4 << 20
    ) -> None:
        self._runtime = runtime
        self._socket = connected
        self._protocol = ServerProtocol(max_message_size)
        #: what the kernel has not taken; None where that is nothing
        self.outbox: Outbox | None = None
        self._outbox_size = outbox_size
        self._owner: WebSocketListener | None = None
        self._reader: Watcher = runtime.watch_readable(connected.fileno())
        self._writer: Watcher | None = None
        #: what the client sends waits in the kernel
        self.paused = True
        #: bytes that are still read of a client that has left, whatever pauses; None while it is there
        self._rest: int | None = None
        #: the answer to the client's end waits until its messages are handled
        self._postponed = False
        #: messages may be sent: no close frame was, in either direction
        self.open = True
        #: the descriptor is closed
        self.closed = False
        #: how messages are written
        self.encoding = encoding_of(RAW)
        #: the tick in which something was written last
        self.written = runtime.ticks

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
        if self.paused and not self.closed:
            self.paused = False
            self._reader.start(self._readable)

    def pause(self) -> None:
        """Let what the client sends wait in the kernel."""
        if not self.paused and not self.closed and self._rest is None:
            self.paused = True
            self._reader.stop()

    @property
    def peer_has_left(self) -> bool:
        """The peer has closed its end, or the connection is broken; known without reading."""
        return self._runtime.has_hung_up(self._socket.fileno())

    def read_to_the_end(self) -> None:
        """Read what the peer has sent before it left, though others are still being handled."""
        self._rest = _MOST_LAST_WORDS
        self.resume()

    def has_room(self, size: int) -> bool:
        """True where half of the outbox takes ``size`` bytes more; always, where nothing waits."""
        return self.outbox is None or len(self.outbox) + size <= self._outbox_size // 2

    @property
    def stalled(self) -> int:
        """For how many ticks the kernel has taken nothing of what waits; 0 where nothing waits."""
        return 0 if self.outbox is None else self._runtime.ticks - self.outbox.moved

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

    def sent(self, data: bytes, result: int) -> None:
        """Account for a send made by io_uring: ``result`` is the number of bytes taken, or a negative errno."""
        if result < 0:
            self._not_sent(data, OSError(-result, os.strerror(-result)))
        elif result < len(data):
            self._keep(data, result)

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

    def get_file_descriptor(self) -> int:
        return self._socket.fileno()

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
        """Close the descriptor at once: watchers first, for a watcher on a closed descriptor aborts the process."""
        if self.closed:
            return
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        self.open = False
        self.closed = True
        self.outbox = None
        self._socket.close()
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.lost()

    # called by the loop

    @_or_abort
    def _readable(self) -> None:
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
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

    @_or_abort
    def _writable(self) -> None:
        assert self.outbox is not None and self._writer is not None
        waiting = len(self.outbox)
        try:
            self.outbox.flush(self._send)
        except OSError:
            self.abort()
            return
        if len(self.outbox) < waiting:
            self.outbox.moved = self._runtime.ticks
        if not self.outbox:
            self.outbox = None
            self._writer.close()
            self._writer = None
            self._finish()
            if self._owner is not None:
                self._owner.drained()

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

    def _leave_open(self) -> None:
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

    def _transmit(self, data: bytes) -> None:
        if self.outbox is not None:
            self._queue(self.outbox, data, 0)
        elif not self.closed:
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        """Nothing waits: the kernel gets it."""
        try:
            sent = self._socket.send(data, _SEND_FLAGS)
        except OSError as error:
            self._not_sent(data, error)
        else:
            if sent < len(data):
                self._keep(data, sent)

    def _not_sent(self, data: bytes, error: OSError) -> None:
        if isinstance(error, BlockingIOError):
            self._keep(data, 0)
        else:
            self.abort()

    def _keep(self, data: bytes, sent: int) -> None:
        """The kernel has no room for the rest."""
        try:
            self.outbox = Outbox(self._outbox_size, self._runtime.ticks)
            self._queue(self.outbox, data, sent)
            self._writer = self._runtime.watch_writable(self._socket.fileno())
            self._writer.start(self._writable)
        except BaseException:  # what was begun cannot be finished
            self.abort()
            raise

    def _send(self, data: memoryview) -> int:
        return self._socket.send(data, _SEND_FLAGS)

    def _queue(self, outbox: Outbox, data: bytes, sent: int) -> None:
        try:
            outbox.put(data, sent)
        except OutboxFull:
            if self.open:
                self._too_slow(outbox)
            else:  # it is the close frame itself that found no room
                outbox.cut(data)

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
            sent = websocket._socket.send(data, _SEND_FLAGS)
        except OSError as error:
            websocket._not_sent(data, error)
        else:
            if sent < size:
                websocket._keep(data, sent)


def send_to_all(ring: Ring, websockets: Sequence[WebSocket], data: bytes) -> Sequence[tuple[WebSocket, int]]:
    """What ``write_to_all()`` does, in one call to the kernel; of those that have not got all, ``sent()`` must know."""
    ready = [each for each in websockets if each.open]
    for websocket in ready:
        websocket.written = websocket._runtime.ticks
    rest = ring.send_to_all([each._socket.fileno() for each in ready], data)
    return [(ready[place], result) for place, result in rest]
