import sys
import tracemalloc

import pytest

from ws4redis.protocol import ServerProtocol, State, serialize, server
from ws4redis.protocol.frames import Opcode, serialize_close
from ws4redis.protocol.server import IncomingMessage

from .client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame, header

ZERO_MASK = bytes(4)


def closing(code, reason=""):
    return serialize(Opcode.CLOSE, serialize_close(code, reason))


def reads(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


def receive(protocol, data, size=None):
    """Give the data to the protocol in reads of some size; return all messages."""
    messages = []
    for read in reads(data, size or len(data)):
        messages += protocol.receive_data(read)
    return messages


def assert_failed(protocol, code):
    """Our close frame with the code is out, and nothing after it."""
    data = protocol.data_to_send()
    assert protocol.state is State.CLOSED
    assert protocol.close_code == code
    assert data.endswith(closing(code, protocol.close_reason))
    assert protocol.receive_data(frame(TEXT, b"later") + frame(PING)) == []
    assert protocol.data_to_send() == b""


# Messages


@pytest.mark.contract(
    "8.5 uWSGI: decided: fragments of two browsers do not mix, and a bad one ends its own websocket only",
    "8.6 websocket: text and binary are told apart",
    "asks delivery: uwsgi #1350, #1160, #1853: fragments are taken for messages",
)
@pytest.mark.parametrize("size", [None, 1, 2, 3, 7])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # RFC 6455, section 5.7
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", ["Hello"]),
        (frame(TEXT, b"Hel", fin=False) + frame(CONTINUATION, b"lo"), ["Hello"]),
        (frame(BINARY, bytes(256)), [bytes(256)]),
        (frame(BINARY, bytes(65536), mask=ZERO_MASK), [bytes(65536)]),
        # nothing is something
        (frame(TEXT), [""]),
        (frame(BINARY), [b""]),
        (frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION), [""]),
        (frame(BINARY, fin=False) + frame(CONTINUATION, b"\xff"), [b"\xff"]),
        # the borders of the length's encodings
        (frame(TEXT, b"x" * 125), ["x" * 125]),
        (frame(TEXT, b"x" * 126), ["x" * 126]),
        (frame(TEXT, b"x" * 127), ["x" * 127]),
        (frame(BINARY, bytes(65535), mask=ZERO_MASK), [bytes(65535)]),
        # several, in order
        (frame(TEXT, b"a") + frame(BINARY, b"b") + frame(TEXT, b"c"), ["a", b"b", "c"]),
        # a character spread over frames
        (frame(TEXT, b"\xce", fin=False) + frame(CONTINUATION, b"\xba"), ["κ"]),
        (frame(TEXT, "\U0001f600".encode()), ["\U0001f600"]),
        (frame(TEXT, "\ud7ff\ue000\U0010ffff\0".encode()), ["\ud7ff\ue000\U0010ffff\0"]),
        # control frames between fragments
        (frame(TEXT, b"a", fin=False) + frame(PONG, b"?") + frame(CONTINUATION, b"b"), ["ab"]),
        # pongs that nobody asked for
        (frame(PONG) + frame(PONG, b"x" * 125), []),
    ],
)
def test_messages(data, expected, size):
    protocol = ServerProtocol()

    messages = receive(protocol, data, size)

    assert messages == expected
    assert [type(message) for message in messages] == [type(message) for message in expected]
    assert protocol.data_to_send() == b""
    assert protocol.state is State.OPEN
    assert protocol.close_code is None


def test_short_message_after_a_started_one_is_not_taken_for_a_new_one():
    protocol = ServerProtocol()
    protocol.receive_data(frame(TEXT, b"a", fin=False))

    assert protocol.receive_data(frame(TEXT, b"b")) == []
    assert_failed(protocol, 1002)


def test_bytes_that_look_like_a_short_message_inside_a_payload():
    protocol = ServerProtocol()
    inner = frame(TEXT, b"inner")
    outer = frame(BINARY, inner + inner, mask=ZERO_MASK)

    assert protocol.receive_data(outer[:6]) == []
    assert protocol.receive_data(inner) == []
    assert protocol.receive_data(inner) == [inner + inner]


def test_bytes_that_look_like_a_short_message_behind_a_split_header():
    protocol = ServerProtocol()
    inner = frame(TEXT, b"inner")

    # The mask of the outer frame is what the next read seems to begin a frame with.
    assert protocol.receive_data(b"\x82\x87") == []
    assert protocol.receive_data(inner) == [bytes(byte ^ inner[i % 4] for i, byte in enumerate(inner[4:]))]


# What is wrong, and its close code


@pytest.mark.contract(
    "12 closing: 1002: a reserved bit or opcode",
    "12 closing: 1002: a control frame that is fragmented or too long",
)
@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        # the header; test_frames has the whole table
        (b"\xc1\x80" + ZERO_MASK, 1002, "reserved bits"),
        (b"\x83\x80" + ZERO_MASK, 1002, "opcode 3"),
        (b"\x81\x05Hello", 1002, "not masked"),
        (b"\x81\xfe\x00\x05" + ZERO_MASK + b"Hello", 1002, "not minimal"),
        (b"\x82\xff\xff" + bytes(7) + ZERO_MASK, 1002, "63 bits"),
        (frame(PING, fin=False), 1002, "fragmented"),
        (frame(PING, b"x" * 126), 1002, "too long"),
        # the order of fragments
        (frame(CONTINUATION, b"a"), 1002, "continues nothing"),
        (frame(CONTINUATION, b"a", fin=False), 1002, "continues nothing"),
        (frame(TEXT, b"a") + frame(CONTINUATION, b"b"), 1002, "continues nothing"),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002, "inside a fragmented one"),
        (frame(TEXT, b"", fin=False) + frame(BINARY, b"b", fin=False), 1002, "inside a fragmented one"),
        # UTF-8
        (frame(TEXT, b"\xff"), 1007, "UTF-8"),
        (frame(TEXT, b"\xce"), 1007, "UTF-8"),
        (frame(TEXT, b"\xc0\x80"), 1007, "UTF-8"),
        (frame(TEXT, b"\xed\xa0\x80"), 1007, "UTF-8"),
        (frame(TEXT, b"\xf4\x90\x80\x80"), 1007, "UTF-8"),
        (frame(TEXT, b"x" * 200 + b"\xff"), 1007, "UTF-8"),
        (frame(TEXT, b"\xce", fin=False) + frame(CONTINUATION), 1007, "UTF-8"),
        (frame(TEXT, b"\xce", fin=False) + frame(CONTINUATION, b"a"), 1007, "UTF-8"),
        # close frames
        (frame(CLOSE, b"\x03"), 1002, "half a code"),
        (close_frame(1005), 1002, "1005 is invalid"),
        (close_frame(1006), 1002, "1006 is invalid"),
        (close_frame(1000, b"\xff"), 1007, "UTF-8"),
    ],
)
def test_failure(data, code, words, size):
    protocol = ServerProtocol()

    assert receive(protocol, frame(TEXT, b"before") + frame(PING, b"p") + data, size)[0] == "before"

    assert words in protocol.close_reason
    assert_failed(protocol, code)


def test_messages_before_the_failure_are_returned_and_pings_answered():
    protocol = ServerProtocol()

    assert protocol.receive_data(frame(TEXT, b"a") + frame(PING, b"p") + b"\xff" + frame(TEXT, b"b")) == ["a"]
    assert protocol.data_to_send() == serialize(Opcode.PONG, b"p") + closing(1002, "reserved bits are set")


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff",
        b"\xc0",
        b"abc\x80",
        b"\xe0\x80",
        b"\xed\xa0",
        b"\xed\xbf",
        b"\xf0\x80",
        b"\xf4\x90",
        b"\xf5",
        "κόσμε".encode() + b"\xf4\x90",
    ],
)
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("size", [None, 1])
def test_text_fails_at_its_first_wrong_byte(payload, fin, size):
    protocol = ServerProtocol()
    data = frame(TEXT, payload + b"x" * 100, fin)

    receive(protocol, data[: 6 + len(payload) - 1], size)
    assert protocol.state is State.OPEN

    protocol.receive_data(data[6 + len(payload) - 1 : 6 + len(payload)])
    assert_failed(protocol, 1007)


@pytest.mark.contract("asks unicode: #216, #269: Cyrillic, Chinese and so on end the websocket")
@pytest.mark.parametrize("payload", [b"\xed\x9f", b"\xee\x80", b"\xf4\x8f\xbf", b"\xe0\xa0", b"\xf0\x90", b"\xed"])
def test_unfinished_character_may_still_be_finished(payload):
    protocol = ServerProtocol()

    protocol.receive_data(frame(TEXT, payload, fin=False))

    assert protocol.state is State.OPEN


# Sizes


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(
    ("limit", "data", "length"),
    [
        (10, frame(BINARY, bytes(10)), 10),
        (10, frame(BINARY, bytes(5), fin=False) + frame(CONTINUATION, bytes(5)), 10),
        (10, frame(BINARY, bytes(10), fin=False) + frame(CONTINUATION), 10),
        (200, frame(BINARY, bytes(200)), 200),
        (0, frame(BINARY), 0),
    ],
)
def test_largest_message_passes(limit, data, length, size):
    protocol = ServerProtocol(limit)

    assert receive(protocol, data, size) == [bytes(length)]
    assert receive(protocol, data, size) == [bytes(length)]


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(
    ("limit", "data"),
    [
        (10, header(BINARY, 11)),
        (10, frame(BINARY, bytes(11))),
        (10, frame(TEXT, b"x" * 11)),
        (10, frame(BINARY, bytes(10), fin=False) + header(CONTINUATION, 1)),
        (10, frame(BINARY, bytes(5), fin=False) + header(CONTINUATION, 6, fin=False)),
        (200, header(BINARY, 201)),
        (1 << 20, header(BINARY, (1 << 20) + 1)),
        (1 << 20, header(TEXT, (1 << 63) - 1)),
        (0, header(TEXT, 1)),
    ],
)
def test_larger_message_is_refused_from_its_header(limit, data, size):
    protocol = ServerProtocol(limit)

    assert receive(protocol, data, size) == []
    assert f"larger than {limit} bytes" in protocol.close_reason
    assert_failed(protocol, 1009)


@pytest.mark.contract("8.5 uWSGI: 1 MiB for a message")
def test_default_limit_is_one_mebibyte():
    payload = bytes(1 << 20)

    assert ServerProtocol().receive_data(frame(BINARY, payload, mask=ZERO_MASK)) == [payload]


def test_control_frames_do_not_count():
    protocol = ServerProtocol(1)

    assert protocol.receive_data(frame(PING, b"x" * 125)) == []
    assert protocol.data_to_send() == serialize(Opcode.PONG, b"x" * 125)


# Pings and pongs


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\xff" * 125])
@pytest.mark.parametrize("size", [None, 1])
def test_ping_is_answered(payload, size):
    protocol = ServerProtocol()

    assert receive(protocol, frame(PING, payload), size) == []
    assert protocol.data_to_send() == serialize(Opcode.PONG, payload)
    assert protocol.data_to_send() == b""


def test_ping_between_fragments_is_answered_before_the_message_is_complete():
    protocol = ServerProtocol()

    assert protocol.receive_data(frame(TEXT, b"a", fin=False) + frame(PING, b"now")) == []
    assert protocol.data_to_send() == serialize(Opcode.PONG, b"now")
    assert protocol.receive_data(frame(CONTINUATION, b"b")) == ["ab"]


def test_flood_of_pings_queues_less_than_it_brings():
    protocol = ServerProtocol()
    flood = frame(PING) * 10_000

    protocol.receive_data(flood)

    assert 0 < len(protocol.data_to_send()) < len(flood)


@pytest.mark.parametrize("payload", [b"", b"x" * 125])
def test_ping_is_queued(payload):
    protocol = ServerProtocol()

    protocol.ping(payload)

    assert protocol.data_to_send() == serialize(Opcode.PING, payload)


def test_ping_is_short():
    with pytest.raises(ValueError, match="at most 125 bytes"):
        ServerProtocol().ping(b"x" * 126)


# The end


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(
    ("data", "answer", "code", "reason"),
    [
        (frame(CLOSE), closing(1000), 1005, ""),
        (close_frame(1000), closing(1000), 1000, ""),
        (close_frame(1001, b"bye"), closing(1001, "bye"), 1001, "bye"),
        (close_frame(3000), closing(3000), 3000, ""),
        (close_frame(4999, "ä".encode()), closing(4999, "ä"), 4999, "ä"),
        (close_frame(1011, b"x" * 123), closing(1011, "x" * 123), 1011, "x" * 123),
    ],
)
def test_close_of_the_peer_is_answered(data, answer, code, reason, size):
    protocol = ServerProtocol()

    assert receive(protocol, frame(TEXT, b"a", fin=False) + data + frame(CONTINUATION, b"b"), size) == []

    assert protocol.data_to_send() == answer
    assert protocol.peer_closed
    assert (protocol.state, protocol.close_code, protocol.close_reason) == (State.CLOSED, code, reason)
    assert type(protocol.close_code) is int


def test_close_is_answered_by_the_peer():
    protocol = ServerProtocol()

    protocol.close(1001, "we go")
    assert protocol.data_to_send() == closing(1001, "we go")
    assert (protocol.state, protocol.close_code, protocol.peer_closed) == (State.CLOSING, 1001, False)

    assert protocol.receive_data(close_frame(1000, b"bye")) == []
    assert protocol.data_to_send() == b""
    assert (protocol.state, protocol.close_code, protocol.peer_closed) == (State.CLOSED, 1001, True)
    assert protocol.close_reason == "we go"


def test_close_says_normal_unless_told_otherwise():
    protocol = ServerProtocol()

    protocol.close()

    assert protocol.data_to_send() == closing(1000)


def test_close_is_idempotent():
    protocol = ServerProtocol()
    protocol.close(1001)
    protocol.data_to_send()

    protocol.close(1011)
    protocol.ping(b"late")

    assert protocol.data_to_send() == b""
    assert protocol.state is State.CLOSING


@pytest.mark.parametrize("code", [0, 1004, 1005, 1006, 1015, 5000])
def test_close_with_a_code_that_must_not_be_sent(code):
    protocol = ServerProtocol()

    with pytest.raises(ValueError, match="must not be sent"):
        protocol.close(code)

    assert protocol.state is State.OPEN


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"late"),
        frame(BINARY, b"x" * 300),
        frame(TEXT, b"not UTF-8 \xff"),
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b"),
        frame(PING, b"late"),
        frame(PONG),
    ],
)
def test_what_comes_beside_our_close_frame_is_discarded(data, size):
    protocol = ServerProtocol(max_message_size=100)
    protocol.close()
    protocol.data_to_send()

    assert receive(protocol, data, size) == []
    assert protocol.data_to_send() == b""
    assert protocol.state is State.CLOSING

    assert receive(protocol, close_frame(1000), size) == []
    assert (protocol.state, protocol.close_code) == (State.CLOSED, 1000)


@pytest.mark.parametrize("sent", range(1, 24))
def test_message_under_way_when_we_close_is_discarded(sent):
    protocol = ServerProtocol()
    data = frame(TEXT, b"Hel", fin=False) + frame(CONTINUATION, b"lo world")

    assert protocol.receive_data(data[:sent]) == ([] if sent < len(data) else ["Hello world"])
    protocol.close()
    assert protocol.receive_data(data[sent:]) == []

    assert protocol.state is State.CLOSING
    protocol.receive_data(frame(CLOSE))
    assert (protocol.state, protocol.close_code) == (State.CLOSED, 1000)


def test_failure_beside_our_close_frame_sends_no_second_one():
    protocol = ServerProtocol()
    protocol.close(1001)
    protocol.data_to_send()

    assert protocol.receive_data(b"\xff\xff") == []

    assert protocol.data_to_send() == b""
    assert (protocol.state, protocol.close_code, protocol.peer_closed) == (State.CLOSED, 1001, False)


@pytest.mark.parametrize("before", [b"", b"\x81", header(TEXT, 5) + b"x", frame(TEXT, b"a", fin=False), b"\x89\x85"])
def test_eof_without_close(before):
    protocol = ServerProtocol()
    protocol.receive_data(before)

    protocol.receive_eof()

    assert (protocol.state, protocol.close_code, protocol.close_reason) == (State.CLOSED, 1006, "")
    assert protocol.data_to_send() == b""
    assert not protocol.peer_closed
    assert held(protocol) == []


def test_eof_instead_of_the_peers_close():
    protocol = ServerProtocol()
    protocol.close(1001)

    protocol.receive_eof()

    assert (protocol.state, protocol.close_code) == (State.CLOSED, 1001)


@pytest.mark.parametrize(("data", "code"), [(close_frame(1001), 1001), (frame(CLOSE), 1005), (b"\xff", 1002)])
def test_eof_after_the_end_changes_nothing(data, code):
    protocol = ServerProtocol()
    protocol.receive_data(data)

    protocol.receive_eof()

    assert protocol.close_code == code


def test_nothing_is_said_after_the_end():
    protocol = ServerProtocol()
    protocol.receive_eof()

    protocol.ping()
    protocol.close()

    assert protocol.receive_data(frame(TEXT, b"late") + frame(PING)) == []
    assert protocol.data_to_send() == b""


# Memory and work


def held(protocol):
    """What the protocol keeps beside its own slots."""
    return [value for value in (protocol._unparsed, protocol._message, protocol._outgoing) if value]


def footprint(protocol):
    """Bytes held by the protocol and by the message under way."""
    message = protocol._message
    parts = [protocol, protocol._unparsed, protocol._outgoing]
    if message is not None:
        parts += [message, *(getattr(message, name) for name in IncomingMessage.__slots__)]
    return sum(map(sys.getsizeof, parts))


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"short"),
        frame(BINARY, bytes(1000)),
        frame(TEXT, b"a", fin=False) + frame(PING) + frame(CONTINUATION, b"b"),
        frame(PONG),
    ],
)
@pytest.mark.parametrize("size", [None, 1])
def test_parked_websocket_holds_nothing(data, size):
    protocol = ServerProtocol()

    receive(protocol, data, size)
    protocol.data_to_send()

    assert held(protocol) == []
    assert not hasattr(protocol, "__dict__")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [None, 6, 5])
def test_empty_fragments_hold_no_memory(opcode, size):
    protocol = ServerProtocol()
    protocol.receive_data(frame(opcode, b"a", fin=False))
    empty = frame(CONTINUATION, fin=False)

    receive(protocol, empty * 5, size)
    before = footprint(protocol)
    tracemalloc.start()
    try:
        assert receive(protocol, empty * 5000, size) == []
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert footprint(protocol) == before
    assert grown < 5000
    assert protocol.receive_data(frame(CONTINUATION, b"b")) == ["ab" if opcode == TEXT else b"ab"]


def test_fragments_of_one_byte_hold_hardly_more_than_their_bytes():
    protocol = ServerProtocol()
    protocol.receive_data(frame(TEXT, b"x", fin=False))

    protocol.receive_data(frame(CONTINUATION, b"x", fin=False) * 20_000)

    assert footprint(protocol) < 20_000 * 1.5 + 1000


@pytest.mark.parametrize("data", [b"\x81\xfe\x01", header(PING, 125) + bytes(124), b"\x82\xff" + bytes(7)])
def test_what_cannot_be_parsed_yet_is_short(data):
    protocol = ServerProtocol()

    receive(protocol, data, 1)

    assert len(protocol._unparsed) == len(data) <= 130


def test_message_discarded_while_closing_holds_no_memory():
    protocol = ServerProtocol()
    protocol.receive_data(header(BINARY, 100_000, mask=ZERO_MASK) + bytes(50_000))
    protocol.close()

    protocol.receive_data(bytes(40_000))

    assert footprint(protocol) < 1000


class Work:
    """Counts the bytes that pass through the two loops over a payload."""

    def __init__(self, monkeypatch):
        self.masked = self.decoded = 0
        self.apply_mask, self.new_decoder = server.apply_mask, server.new_decoder
        monkeypatch.setattr(server, "apply_mask", self.count_mask)
        monkeypatch.setattr(server, "new_decoder", self.counting_decoder)

    def count_mask(self, data, mask):
        self.masked += len(data)
        return self.apply_mask(data, mask)

    def counting_decoder(self):
        work = self

        class Decoder(self.new_decoder):
            def decode(self, data, final=False):
                work.decoded += len(data)
                return super().decode(data, final)

        return Decoder()


@pytest.mark.parametrize(("size", "length"), [(1, 1 << 17), (1000, 1 << 20)])
def test_work_is_linear_whatever_the_size_of_reads(monkeypatch, size, length):
    work = Work(monkeypatch)
    protocol = ServerProtocol()
    data = frame(TEXT, b"x" * length, mask=ZERO_MASK)
    payloads, longest_unparsed, messages = set(), 0, []

    for read in reads(data, size):
        messages += protocol.receive_data(read)
        longest_unparsed = max(longest_unparsed, len(protocol._unparsed))
        if protocol._message is not None:
            payloads.add(id(protocol._message.payload))

    assert messages == ["x" * length]
    assert work.masked == length
    assert length - size <= work.decoded <= length
    assert longest_unparsed < 14
    # One bytearray all the way: appending to it is amortized, joining anew for each read would not be.
    assert len(payloads) == 1
