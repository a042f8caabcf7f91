"""Bytes after the handshake, cut into reads: what the protocol makes of them.

The first byte says which protocol reads them, the second how many bytes come that tell the sizes of the reads.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from websockets.client import ClientProtocol
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol as TheirServerProtocol
from websockets.uri import parse_uri

from tests.protocol.client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame
from ws4redis.protocol.deflate import Deflater, Inflater, Options
from ws4redis.protocol.frames import Opcode, serialize, serialize_close
from ws4redis.protocol.server import ServerProtocol, State

SETTINGS: dict[str, Any] = {}

#: of the first byte
CLOSING, DEFLATE, TAKEOVER = 0x01, 0x02, 0x04
MAX_SIZES = (0, 1, 100, 125, 126, 4096, 1 << 16, 1 << 20)

#: beside the message: a header or a control frame that is not complete, a mask, a close frame's reason
MAX_BESIDE = 14 + 125 + 4 + 123
MAX_CLOSE_FRAME = 2 + 125

ADDRESS = parse_uri("ws://testserver/ws/foobar")
HELLO = frame(TEXT, b"Hello")

FAILURES = {1002, 1007, 1008, 1009}


class Setup(NamedTuple):
    max_size: int
    closing: bool
    deflate: bool
    takeover: bool

    def protocol(self) -> ServerProtocol:
        protocol = ServerProtocol(self.max_size)
        if self.deflate:
            protocol.inflater = Inflater(self.takeover)
        if self.closing:
            protocol.close(1001)
            protocol.data_to_send()
        return protocol


def parsed(data: bytes) -> tuple[Setup, list[int], bytes]:
    first = data[0]
    count = data[1] % 16
    setup = Setup(MAX_SIZES[first >> 5], bool(first & CLOSING), bool(first & DEFLATE), bool(first & TAKEOVER))
    return setup, list(data[2 : 2 + count]), data[2 + count :]


def reads_of(stream: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The sizes, again and again; 0 stands for all the rest."""
    start = turn = 0
    while start < len(stream):
        size = (sizes[turn % len(sizes)] if sizes else 0) or len(stream)
        yield stream[start : start + size]
        start += size
        turn += 1


class Outcome(NamedTuple):
    messages: list[str | bytes]
    sent: bytes
    state: State
    close_code: int | None
    close_reason: str
    peer_closed: bool


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    setup, sizes, stream = parsed(data)
    outcome = run(setup, [stream])
    same = run(setup, reads_of(stream, sizes))
    if setup.deflate:
        assert without_reason(same) == without_reason(outcome), "how it is cut into reads makes a difference"
    else:
        assert same == outcome, "how it is cut into reads makes a difference"
    check_messages(setup, outcome)
    check_sent(stream, outcome)
    if not setup.closing:
        check_against_websockets(setup, stream, outcome)
    if setup.deflate:
        check_deflater(setup, stream)


def run(setup: Setup, reads: Any) -> Outcome:
    protocol = setup.protocol()
    messages: list[str | bytes] = []
    sent = b""
    read = 0
    for data in reads:
        was_closed = protocol.state is State.CLOSED
        completed, answer = protocol.receive_data(data), protocol.data_to_send()
        assert not was_closed or (not completed and not answer), "something comes after the end"
        assert held(protocol) <= setup.max_size + MAX_BESIDE, "more is kept than a message may have"
        messages += completed
        sent += answer
        read += len(data)
        assert len(sent) <= read + MAX_CLOSE_FRAME, "the answer is longer than the question"
    if protocol.state is State.CLOSED:
        assert (protocol.receive_data(HELLO), protocol.data_to_send()) == ([], b""), "it speaks after the end"
        assert held(protocol) <= len(protocol.close_reason), "something is kept after the end"
    assert (protocol.state is State.OPEN) == (protocol.close_code is None)
    return Outcome(messages, sent, protocol.state, protocol.close_code, protocol.close_reason, protocol.peer_closed)


def without_reason(outcome: Outcome) -> Outcome:
    """What is wrong with a compressed message in more than one way is closed for the first that shows."""
    if outcome.close_code not in (1007, 1009) or outcome.peer_closed:
        return outcome
    close = serialize(Opcode.CLOSE, serialize_close(outcome.close_code, outcome.close_reason))
    return outcome._replace(sent=outcome.sent.removesuffix(close), close_code=1007, close_reason="")


def held(value: object) -> int:
    """The bytes and characters that an object of ws4redis keeps."""
    if isinstance(value, bytes | bytearray | str):
        return len(value)
    names = getattr(type(value), "__slots__", ()) if type(value).__module__.startswith("ws4redis.") else ()
    return sum(held(getattr(value, name)) for name in names if not isinstance(value, str | int))


def check_messages(setup: Setup, outcome: Outcome) -> None:
    for message in outcome.messages:
        assert len(message.encode() if isinstance(message, str) else message) <= setup.max_size, "a message is too long"
    assert not (setup.closing and outcome.messages), "a message arrives beside the close frame"


def check_sent(stream: bytes, outcome: Outcome) -> None:
    """What is answered is what a client accepts: pongs, then at most one close frame."""
    client = ClientProtocol(ADDRESS, state=OPEN, max_size=None)
    client.receive_data(outcome.sent)
    assert client.parser_exc is None, f"websockets does not understand the answer: {client.parser_exc!r}"
    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    opcodes = [each.opcode for each in frames]
    assert set(opcodes[:-1]) <= {TheirOpcode.PONG} and set(opcodes[-1:]) <= {TheirOpcode.PONG, TheirOpcode.CLOSE}
    assert sum(2 + len(each.data) for each in frames) == len(outcome.sent), "half a frame is sent"


class Marked(Extension):
    """Lets websockets' own server tell which messages are compressed, without decompressing any."""

    name = "permessage-deflate"

    def __init__(self) -> None:
        #: for each message that has begun
        self.compressed: list[bool] = []

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        if frame.opcode in (TEXT, BINARY):
            self.compressed.append(frame.rsv1)
            return dataclasses.replace(frame, rsv1=False)
        return frame

    def encode(self, frame: Frame) -> Frame:
        return frame


class Inflated:
    """Messages as zlib decompresses them, without a limit."""

    def __init__(self, takeover: bool) -> None:
        self.takeover = takeover
        self.stream = zlib.decompressobj(-15)

    def message(self, data: bytes) -> bytes:
        data, inflated = data + b"\0\0\xff\xff", b""
        while data:
            inflated += self.stream.decompress(data)
            data = self.stream.unused_data
            if self.stream.eof:
                self.stream = zlib.decompressobj(-15)
        if not self.takeover:
            self.stream = zlib.decompressobj(-15)
        return inflated


def check_against_websockets(setup: Setup, stream: bytes, outcome: Outcome) -> None:
    """They look at whole frames only, and not at text: we may find an error earlier, but never overlook one."""
    server, marked = TheirServerProtocol(state=OPEN, max_size=None), Marked()
    if setup.deflate:
        server.extensions = [marked]
    server.receive_data(stream)
    frames = [event for event in server.events_received() if isinstance(event, Frame)]
    expected = list(their_messages(frames, marked.compressed, setup.takeover))
    wrong = expected.index(None) if None in expected else len(expected)
    assert outcome.messages == expected[: min(wrong, len(outcome.messages))], "websockets reads other messages"
    if wrong < len(expected):
        assert outcome.close_code in FAILURES, "a message that is no UTF-8, or not compressed, is taken"
    elif outcome.state is State.OPEN:
        assert outcome.messages == expected, "websockets reads more messages"
    if server.parser_exc is not None:
        assert outcome.state is State.CLOSED, f"websockets fails: {server.parser_exc!r}"
        # the RFC lets a close frame come inside a fragmented message, they do not
        assert outcome.close_code in FAILURES or outcome.peer_closed, f"websockets fails: {server.parser_exc!r}"
    elif server.close_rcvd is not None:
        assert outcome.state is State.CLOSED, "the close frame is overlooked"


def their_messages(frames: list[Frame], marks: list[bool], takeover: bool) -> Iterator[str | bytes | None]:
    """What websockets reads; None for what cannot be decoded."""
    inflated, unused = Inflated(takeover), iter(marks)
    is_text, compressed, payload = False, False, b""
    for each in frames:
        if each.opcode in (TEXT, BINARY):
            is_text, compressed, payload = each.opcode is TheirOpcode.TEXT, next(unused, False), b""
        elif each.opcode is not TheirOpcode.CONT:
            continue
        payload += each.data
        if each.fin:
            try:
                message = inflated.message(payload) if compressed else payload
                yield message.decode() if is_text else message
            except (UnicodeDecodeError, zlib.error):
                yield None
                return


def check_deflater(setup: Setup, payload: bytes) -> None:
    """Whatever is compressed, a client gets it back."""
    deflater = Deflater(15, Options(threshold=0), shared=not setup.takeover)
    client = ClientProtocol(ADDRESS, state=OPEN, max_size=None)
    client.extensions = [PerMessageDeflate(not setup.takeover, not setup.takeover, 15, 15)]
    for _ in range(2):
        client.receive_data(deflater.frame(BINARY, payload))
    assert client.parser_exc is None
    assert [bytes(event.data) for event in client.events_received() if isinstance(event, Frame)] == [payload] * 2


def compressed(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)  # compress() takes no wbits before Python 3.11
    return stream.compress(data) + stream.flush()


# what is sent by clients that know what they do, and by others; the RFC's examples are those of section 5.7
STREAMS = {
    "hello": b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    "fragments": frame(TEXT, b"Hel", fin=False) + frame(CONTINUATION, b"lo"),
    "ping-between": frame(TEXT, b"\xc3", fin=False) + frame(PING, b"Hello") + frame(CONTINUATION, b"\xbc"),
    "pong": frame(PONG, b"Hello"),
    "256-bytes": frame(BINARY, bytes(256)),
    "64-kilobytes-announced": b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\x37\xfa\x21\x3d",
    "close": close_frame(1000, b"bye") + HELLO,
    "close-empty": frame(CLOSE),
    "close-half": frame(CLOSE, b"\x03"),
    "close-wrong-code": close_frame(1005),
    "close-wrong-reason": close_frame(4000, b"\xff"),
    "not-masked": b"\x81\x05Hello",
    "reserved-bits": b"\xf1\x80\x00\x00\x00\x00",
    "reserved-opcode": frame(3),
    "ping-fragmented": frame(PING, fin=False),
    "ping-long": b"\x89\xfe\x00\x7e",
    "nothing-to-continue": frame(CONTINUATION, b"x"),
    "inside-another": frame(TEXT, b"a", fin=False) + HELLO,
    "length-not-minimal": b"\x81\xfe\x00\x05\x00\x00\x00\x00Hello",
    "length-63-bits": b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00",
    "no-utf8": frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"),
    "empty-fragments": frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) + frame(CONTINUATION),
}

# RFC 7692, section 7.2.3
COMPRESSED = {
    "hello": b"\xf2\x48\xcd\xc9\xc9\x07\x00",
    "hello-shared-window": b"\xf2\x00\x11\x00\x00",
    "hello-not-compressed": b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
    "hello-final-block": b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
    "hello-two-blocks": b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    "empty": b"\x00",
    "garbage": b"\xff\xff\xff\xff",
    "bomb": compressed(bytes(1 << 17)),
}


def seeds() -> dict[str, bytes]:
    found = {name: b"\x40\x01\x00" + stream for name, stream in STREAMS.items()}
    found["hello-by-bytes"] = b"\x40\x01\x01" + STREAMS["hello"]
    found["closing"] = b"\x41\x02\x01\x03" + STREAMS["fragments"] + STREAMS["close"]
    for name, payload in COMPRESSED.items():
        found[f"deflate-{name}"] = b"\x86\x01\x00" + 2 * frame(TEXT | 0x40, payload)
    window = frame(0x41, COMPRESSED["hello"]) + frame(0x41, COMPRESSED["hello-shared-window"])
    found["deflate-window"], found["deflate-no-window"] = b"\x86\x00" + window, b"\x82\x00" + window
    found["deflate-fragments"] = (
        b"\x82\x01\x02" + frame(0x41, b"\xf2\x48\xcd", fin=False) + frame(0, b"\xc9\xc9\x07\x00")
    )
    return found
