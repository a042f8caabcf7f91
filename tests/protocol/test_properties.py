"""What holds for every stream of bytes, however it is cut into reads."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from ws4redis.protocol import ServerProtocol, State, message_frame, serialize
from ws4redis.protocol.frames import Opcode, parse_close

from .client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

masks = st.binary(min_size=4, max_size=4)
messages = st.one_of(st.text(max_size=200), st.binary(max_size=300))
cut_points = st.lists(st.integers(0, 2000), max_size=12)


@st.composite
def pieces(draw, payload):
    """The payload in one or more fragments, some of them empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    return [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]


@st.composite
def fragmented(draw, message):
    """A message as a client may send it, and the pings between its frames."""
    opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
    fragments = draw(pieces(payload))
    data, pings = b"", []
    for index, fragment in enumerate(fragments):
        for ping in draw(st.lists(st.binary(max_size=125), max_size=1)):
            pings.append(ping)
            data += frame(PING, ping, mask=draw(masks))
        data += frame(opcode if not index else CONTINUATION, fragment, index == len(fragments) - 1, draw(masks))
    return data, pings


@st.composite
def conversations(draw):
    """Messages, the bytes that carry them, and the pings among those."""
    sent = draw(st.lists(messages, max_size=4))
    parts = [draw(fragmented(message)) for message in sent]
    return sent, b"".join(data for data, _ in parts), [ping for _, pings in parts for ping in pings]


any_frame = st.builds(
    frame,
    st.sampled_from([TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG, 3]),
    st.one_of(st.binary(max_size=140), st.text(max_size=60).map(str.encode), st.just(b"\x03\xe8bye")),
    st.booleans(),
    masks,
)
any_stream = st.lists(st.one_of(any_frame, st.binary(max_size=30)), max_size=8).map(b"".join)


def cut(data, points):
    borders = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    return [data[start:end] for start, end in itertools.pairwise(borders)]


def run(data_reads, closing=False, max_message_size=100):
    """All that can be seen of a protocol that is given these reads."""
    protocol = ServerProtocol(max_message_size)
    if closing:
        protocol.close(1001)
    received, sent = [], protocol.data_to_send()
    for data in data_reads:
        received += protocol.receive_data(data)
        sent += protocol.data_to_send()
    protocol_end = (protocol.state, protocol.close_code, protocol.close_reason, protocol.peer_closed)
    return received, sent, protocol_end, parsed_state(protocol)


def parsed_state(protocol):
    message = protocol._message
    if message is None:
        return protocol._unparsed
    return protocol._unparsed, message.is_text, message.fin, message.remaining, bytes(message.payload)


@given(conversation=conversations(), points=cut_points)
def test_messages_survive_fragments_pings_and_reads(conversation, points):
    expected, data, pings = conversation

    received, sent, (state, *_), left = run(cut(data, points), max_message_size=1000)

    assert received == expected
    assert sent == b"".join(serialize(Opcode.PONG, ping) for ping in pings)
    assert state is State.OPEN
    assert left == b""


@settings(max_examples=300)
@given(data=any_stream, points=cut_points, closing=st.booleans())
def test_reads_make_no_difference(data, points, closing):
    assert run(cut(data, points), closing) == run([data], closing)


@given(data=any_stream, closing=st.booleans())
def test_single_bytes_make_no_difference(data, closing):
    assert run(cut(data, range(len(data))), closing) == run([data], closing)


@settings(max_examples=300)
@given(data_reads=st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes_never_raise(data_reads):
    _, _, (state, code, _, _), _ = run(data_reads)

    assert (state is State.CLOSED) == (code is not None)


@given(data=any_stream)
def test_at_most_one_close_frame_is_sent_and_it_is_the_last(data):
    _, sent, (state, *_), _ = run([data])

    opcodes = []
    while sent:
        opcodes.append(sent[0] & 0x0F)
        payload, sent = sent[2 : 2 + sent[1]], sent[2 + sent[1] :]
    assert set(opcodes) <= {PONG, CLOSE}
    assert opcodes.count(CLOSE) == (state is State.CLOSED)
    if state is State.CLOSED:
        assert opcodes[-1] == CLOSE
        assert parse_close(payload)[0] != 1005


@given(message=messages)
def test_frame_of_a_message_is_its_payload_behind_a_header(message):
    payload = message.encode() if isinstance(message, str) else message

    data = message_frame(message)

    assert data.endswith(payload)
    assert len(data) - len(payload) == (2 if len(payload) < 126 else 4)
