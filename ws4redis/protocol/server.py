"""The server's end of one websocket, after the handshake: bytes in, messages and bytes out, no I/O."""

from __future__ import annotations

import codecs
from enum import IntEnum

from ws4redis.protocol.deflate import Inflater
from ws4redis.protocol.errors import ProtocolError
from ws4redis.protocol.frames import (
    MAX_CONTROL_BYTES,
    CloseCode,
    FrameHeader,
    Opcode,
    parse_close,
    parse_header,
    serialize,
    serialize_close,
)
from ws4redis.protocol.speedups import apply_mask

__all__ = ["MAX_MESSAGE_BYTES", "ServerProtocol", "State"]

#: The largest message that is taken unless told otherwise, in bytes, over all its fragments.
MAX_MESSAGE_BYTES = 1 << 20

#: A message may have MIN_FRAGMENTS frames, and one more for each FRAGMENT_BYTES of the bytes that are allowed.
MIN_FRAGMENTS = 1024
FRAGMENT_BYTES = 16

#: The first byte of a text and of a binary message that are one frame.
WHOLE_TEXT = 0x81
WHOLE_BINARY = 0x82

#: Header and mask of a client's frame with a 7-bit length, and the largest such frame.
SHORT_HEADER_BYTES = 6
MAX_SHORT_BYTES = SHORT_HEADER_BYTES + 125

#: The second byte of a short frame is the mask bit and the payload's length; less this, it is the frame's length.
SHORT_LENGTH_OFFSET = 0x80 - SHORT_HEADER_BYTES

new_decoder = codecs.getincrementaldecoder("utf-8")


class State(IntEnum):
    """RFC 6455, section 7.1; CLOSING: our close frame is out and the peer's is awaited; CLOSED: nothing follows."""

    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class IncomingMessage:
    """A message that has begun to arrive, and how far its current frame has come.

    Its fragments are joined in one bytearray, so that neither their number nor the number of reads costs memory.
    """

    __slots__ = ("decoder", "fin", "fragments", "inflater", "is_text", "mask", "payload", "received", "remaining")

    def __init__(self, is_text: bool, inflater: Inflater | None) -> None:
        self.is_text = is_text
        #: where it is compressed
        self.inflater = inflater
        self.payload = bytearray()
        #: the bytes that its frames announce, as they are sent, and how many frames there are
        self.received = self.fragments = 0
        self.decoder: codecs.IncrementalDecoder | None = None
        self.fin = False
        self.mask = b""
        self.remaining = 0

    @property
    def is_complete(self) -> bool:
        return self.fin and not self.remaining

    def begin_frame(self, header: FrameHeader) -> None:
        self.fin = header.fin
        self.mask = header.mask
        self.remaining = header.length

    def add(self, data: bytes, max_size: int) -> None:
        """Take the next bytes of the current frame, still masked."""
        part = apply_mask(data, self.mask)
        self.skip(len(data))
        if self.inflater is not None:
            part = self.inflater.feed(part, max_size - len(self.payload))
            if self.is_complete:
                part += self.inflater.end(max_size - len(self.payload) - len(part))
        self.payload += part
        if self.is_text and not self.is_complete:
            self._check_text(part)

    def skip(self, count: int) -> None:
        self.remaining -= count
        turn = count % 4
        self.mask = self.mask[turn:] + self.mask[:turn]

    def forget(self) -> None:
        """Drop what has arrived; the frames that follow are only counted."""
        self.payload = bytearray()
        self.decoder = None

    def _check_text(self, part: bytes) -> None:
        """Fail at the first wrong byte, not at the message's end (RFC 6455, section 8.1)."""
        if self.decoder is None:
            self.decoder = new_decoder()
        try:
            self.decoder.decode(part)
        except UnicodeDecodeError:
            raise invalid_text() from None
        # CPython waits for the third byte of an encoded surrogate, although the second already says what it is.
        unfinished = self.decoder.getstate()[0]
        if unfinished[:1] == b"\xed" and unfinished[1:] >= b"\xa0":
            raise invalid_text()


class ServerProtocol:
    """One websocket, from the 101 response to its end.

    ``close_code`` and ``close_reason`` are those of the side that began to close. ``inflater`` is set where
    compression was agreed on.

    The owner of the descriptor must

    * give what was read to ``receive_data``, or call ``receive_eof``, and handle the messages that it returns;
    * write ``data_to_send`` after each of these calls, and after ``ping`` and ``close``;
    * write messages itself, as ``message_frame`` builds them, and only while the state is OPEN;
    * close the descriptor once the state is CLOSED and everything is written.
    """

    __slots__ = (
        "_message",
        "_outgoing",
        "_unparsed",
        "close_code",
        "close_reason",
        "frames",
        "inflated",
        "inflater",
        "max_message_size",
        "peer_closed",
        "state",
    )

    def __init__(self, max_message_size: int = MAX_MESSAGE_BYTES) -> None:
        self.max_message_size = max_message_size
        self.state = State.OPEN
        self.close_code: int | None = None
        self.close_reason = ""
        self.peer_closed = False
        #: how many have begun to arrive
        self.frames = 0
        #: bytes by which messages have grown when they were decompressed
        self.inflated = 0
        self.inflater: Inflater | None = None
        # The beginning of a header, or of a control frame: never more than 130 bytes.
        self._unparsed = b""
        self._message: IncomingMessage | None = None
        self._outgoing: bytearray | None = None

    # What arrives

    def receive_data(self, data: bytes) -> list[str | bytes]:
        """Take what was read; return the messages that it completes, str for text and bytes for binary.

        Never raises: what breaks the protocol queues a close frame and ends the websocket.
        """
        messages: list[str | bytes] = []
        try:
            if self._is_short_message(data):
                payload = apply_mask(data[SHORT_HEADER_BYTES:], data[2:SHORT_HEADER_BYTES])
                self.frames += 1
                messages.append(decode_text(payload) if data[0] == WHOLE_TEXT else payload)
            else:
                self._parse(self._unparsed + data, messages)
        except ProtocolError as error:
            self._fail(error)
        return messages

    def receive_eof(self) -> None:
        """The peer is gone, with or without a close frame."""
        if self.state is not State.CLOSED:
            self._end(CloseCode.ABNORMAL, "")

    # What is to be sent

    def data_to_send(self) -> bytes:
        """Take the control frames that wait to be written."""
        if self._outgoing is None:
            return b""
        data = bytes(self._outgoing)
        self._outgoing = None
        return data

    def ping(self, payload: bytes = b"") -> None:
        if len(payload) > MAX_CONTROL_BYTES:
            raise ValueError(f"a ping carries at most {MAX_CONTROL_BYTES} bytes")
        if self.state is State.OPEN:
            self._queue(Opcode.PING, payload)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455, section 7.1.2)."""
        if self.state is not State.OPEN:
            return
        self._queue(Opcode.CLOSE, serialize_close(code, reason))
        self.state = State.CLOSING
        self.close_code, self.close_reason = int(code), reason
        if self._message is not None:
            self._message.forget()

    # Parsing

    def _is_short_message(self, data: bytes) -> bool:
        """True for nearly all that clients send: one read, one short frame, one message, and nothing before it."""
        size = len(data)
        return (
            SHORT_HEADER_BYTES <= size <= MAX_SHORT_BYTES
            and size == data[1] - SHORT_LENGTH_OFFSET
            and (data[0] == WHOLE_TEXT or data[0] == WHOLE_BINARY)
            and self._message is None
            and not self._unparsed
            and self.state is State.OPEN
            and size - SHORT_HEADER_BYTES <= self.max_message_size
        )

    def _parse(self, data: bytes, messages: list[str | bytes]) -> None:
        self._unparsed = b""
        position = 0
        while position < len(data) and self.state is not State.CLOSED:
            if self._message is not None and self._message.remaining:
                position = self._parse_payload(self._message, data, position, messages)
            else:
                position = self._parse_frame(data, position, messages)

    def _parse_frame(self, data: bytes, start: int, messages: list[str | bytes]) -> int:
        """Handle the frame at ``start``, as far as it is here; return where the next bytes are."""
        header = parse_header(data, start, self.inflater is not None)
        if header is None:
            return self._wait(data, start)
        if header.opcode < Opcode.CLOSE:
            self.frames += 1
            return self._parse_payload(self._begin_frame(header), data, header.payload_start, messages)
        end = header.payload_start + header.length
        if end > len(data):
            return self._wait(data, start)
        self.frames += 1
        self._handle_control(header.opcode, apply_mask(data[header.payload_start : end], header.mask))
        return end

    def _wait(self, data: bytes, start: int) -> int:
        self._unparsed = data[start:]
        return len(data)

    def _begin_frame(self, header: FrameHeader) -> IncomingMessage:
        message = self._message_of(header)
        message.received += header.length
        message.fragments += 1
        # Beside the close frame nothing is kept any more, so that its sender need not be cut off for a long one.
        if self.state is State.OPEN:
            self._check_bounds(message)
        message.begin_frame(header)
        self._message = message
        return message

    def _check_bounds(self, message: IncomingMessage) -> None:
        limit = self.max_message_size
        # What cannot be compressed gets a little larger by it.
        most = limit if message.inflater is None else limit + limit // 64 + 1024
        if message.received > most:
            raise ProtocolError(CloseCode.MESSAGE_TOO_BIG, f"message is larger than {limit} bytes")
        if message.fragments > MIN_FRAGMENTS + limit // FRAGMENT_BYTES:
            raise ProtocolError(CloseCode.POLICY_VIOLATION, "message has too many fragments")

    def _message_of(self, header: FrameHeader) -> IncomingMessage:
        """The message to which a frame belongs (RFC 6455, section 5.4)."""
        opcode = header.opcode
        if opcode is Opcode.CONTINUATION:
            if self._message is None:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "continuation frame continues nothing")
            return self._message
        if self._message is not None:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "new message begins inside a fragmented one")
        if header.compressed:
            assert self.inflater is not None
            self.inflater.begin()
        return IncomingMessage(opcode is Opcode.TEXT, self.inflater if header.compressed else None)

    def _parse_payload(self, message: IncomingMessage, data: bytes, start: int, messages: list[str | bytes]) -> int:
        end = min(start + message.remaining, len(data))
        if self.state is State.OPEN:
            before = len(message.payload)
            message.add(data[start:end], self.max_message_size)
            self.inflated += max(0, len(message.payload) - before - (end - start))
        else:
            message.skip(end - start)
        if message.is_complete:
            self._message = None
            if self.state is State.OPEN:
                messages.append(decode_text(message.payload) if message.is_text else bytes(message.payload))
        return end

    # Control frames (RFC 6455, section 5.5)

    def _handle_control(self, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.CLOSE:
            self._handle_close(payload)
        elif opcode is Opcode.PING and self.state is State.OPEN:
            # A pong is four bytes, the mask, shorter than its ping: a flood queues less than was read.
            self._queue(Opcode.PONG, payload)

    def _handle_close(self, payload: bytes) -> None:
        self.peer_closed = True
        code, reason = parse_close(payload)
        if self.state is State.OPEN:
            self._queue(Opcode.CLOSE, payload or serialize_close(CloseCode.NORMAL))
        self._end(code, reason)

    def _queue(self, opcode: Opcode, payload: bytes) -> None:
        if self._outgoing is None:
            self._outgoing = bytearray()
        self._outgoing += serialize(opcode, payload)

    # The end

    def _fail(self, error: ProtocolError) -> None:
        """RFC 6455, section 7.1.7."""
        if self.state is State.OPEN:
            self._queue(Opcode.CLOSE, serialize_close(error.code, error.reason))
        self._end(error.code, error.reason)

    def _end(self, code: int, reason: str) -> None:
        if self.state is not State.CLOSING:  # else this side began, and its own code counts
            self.close_code, self.close_reason = int(code), reason
        self.state = State.CLOSED
        self._message = None
        self._unparsed = b""


def decode_text(payload: bytes | bytearray) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise invalid_text() from None


def invalid_text() -> ProtocolError:
    return ProtocolError(CloseCode.INVALID_DATA, "text is not UTF-8")
