"""permessage-deflate (RFC 7692): what is agreed on, both directions, against other implementations, and its bounds."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.uri import parse_uri
from wsproto import events
from wsproto.connection import Connection as WSProtoConnection
from wsproto.connection import ConnectionType
from wsproto.extensions import PerMessageDeflate

from tests.protocol.client import BINARY, CONTINUATION, MASK, PING, TEXT, length_bytes, naive_mask
from ws4redis.protocol import ServerProtocol, State, accept_response
from ws4redis.protocol.deflate import Agreement, Budget, Deflater, Inflater, Options, agree
from ws4redis.protocol.frames import Opcode, serialize

TAKEOVER = Options(context_takeover=True, threshold=0)
NO_TAKEOVER = Options(threshold=0)
SMALL = Options(window_bits=10)

# the client's offer, what the server would like, the response
AGREEMENTS: list[tuple[str, Options, str | None]] = [
    ("", NO_TAKEOVER, None),
    ("x-webkit-deflate-frame", NO_TAKEOVER, None),
    ("permessage-deflate", NO_TAKEOVER, "server_no_context_takeover; client_no_context_takeover"),
    ("permessage-deflate", TAKEOVER, ""),
    ("permessage-deflate", SMALL, "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10"),
    # as browsers offer it
    (
        "permessage-deflate; client_max_window_bits",
        NO_TAKEOVER,
        "server_no_context_takeover; client_no_context_takeover; client_max_window_bits=15",
    ),
    ("permessage-deflate; client_max_window_bits", TAKEOVER, "client_max_window_bits=15"),
    ("permessage-deflate;server_no_context_takeover", TAKEOVER, "server_no_context_takeover"),
    ("permessage-deflate; client_no_context_takeover", TAKEOVER, "client_no_context_takeover"),
    ("permessage-deflate; server_max_window_bits=10", TAKEOVER, "server_max_window_bits=10"),
    ('permessage-deflate ; server_max_window_bits = "10"', TAKEOVER, "server_max_window_bits=10"),
    ("permessage-deflate; client_max_window_bits=8", TAKEOVER, "client_max_window_bits=8"),
    (
        "permessage-deflate; client_max_window_bits=12; server_max_window_bits=11",
        TAKEOVER._replace(window_bits=12),
        "server_max_window_bits=11; client_max_window_bits=12",
    ),
    # what cannot be kept is declined, and the next offer is tried
    ("permessage-deflate; server_max_window_bits=8", TAKEOVER, None),
    ("permessage-deflate; server_max_window_bits=8, permessage-deflate", TAKEOVER, ""),
    ("permessage-bzip2, , permessage-deflate; server_max_window_bits=9", TAKEOVER, "server_max_window_bits=9"),
    ("permessage-deflate; server_max_window_bits", TAKEOVER, None),
    ("permessage-deflate; server_max_window_bits=16", TAKEOVER, None),
    ("permessage-deflate; server_max_window_bits=7", TAKEOVER, None),
    ("permessage-deflate; server_max_window_bits=08", TAKEOVER, None),
    ("permessage-deflate; server_max_window_bits=+9", TAKEOVER, None),
    ("permessage-deflate; server_max_window_bits=", TAKEOVER, None),
    ("permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", TAKEOVER, None),
    ("permessage-deflate; client_max_window_bits=99999999999999999999", TAKEOVER, None),
    ("permessage-deflate; client_max_window_bits=\u0661\u0660", TAKEOVER, None),
    ("permessage-deflate; server_no_context_takeover=1", TAKEOVER, None),
    ("permessage-deflate; server_no_context_takeover=", TAKEOVER, None),
    ("permessage-deflate; unknown", TAKEOVER, None),
    ("permessage-deflate; ", TAKEOVER, None),
    ("Permessage-Deflate", TAKEOVER, None),
    ("permessage-deflate" + " " * 50_000 + "=", TAKEOVER, None),
]


@pytest.mark.parametrize(("offers", "options", "parameters"), AGREEMENTS)
def test_agreements(offers: str, options: Options, parameters: str | None) -> None:
    agreement = agree(offers, options)
    response = agreement.response if agreement is not None else None
    expected = None if parameters is None else "; ".join(["permessage-deflate", *filter(None, [parameters])])
    assert response == expected


@given(st.text())
def test_any_offer_is_taken_or_declined(offer: str) -> None:
    for offers in (offer, f"permessage-deflate;{offer}", f"permessage-deflate;server_max_window_bits={offer}"):
        agreement = agree(offers, TAKEOVER)
        assert agreement is None or agreement.response.isprintable()


# what a client sends


def compressed_frame(opcode: int, payload: bytes, fin: bool = True, bits: int = 0x40) -> bytes:
    return bytes([0x80 * fin | opcode | bits]) + length_bytes(len(payload)) + MASK + naive_mask(payload, MASK)


def protocol(takeover: bool = True, max_message_size: int = 1 << 20) -> ServerProtocol:
    server = ServerProtocol(max_message_size)
    server.inflater = Inflater(takeover)
    return server


HELLO = bytes.fromhex("f248cdc9c90700")
ONE, TWO = (HELLO[:3], HELLO[3:])

# RFC 7692, section 7.2.3
EXAMPLES: dict[str, tuple[bytes, list[str]]] = {
    "one block": (compressed_frame(TEXT, HELLO), ["Hello"]),
    "fragments": (compressed_frame(TEXT, ONE, fin=False) + compressed_frame(CONTINUATION, TWO, bits=0), ["Hello"]),
    "context takeover": (
        compressed_frame(TEXT, HELLO) + compressed_frame(TEXT, bytes.fromhex("f200110000")),
        ["Hello", "Hello"],
    ),
    "a block without compression": (compressed_frame(TEXT, bytes.fromhex("000500faff48656c6c6f00")), ["Hello"]),
    "a final block": (compressed_frame(TEXT, bytes.fromhex("f348cdc9c9070000")), ["Hello"]),
    "two blocks": (compressed_frame(TEXT, bytes.fromhex("f248050000 00ffffcac9c90700")), ["Hello"]),
    "an empty message": (compressed_frame(TEXT, b"\x00"), [""]),
    "an empty message of nothing": (compressed_frame(TEXT, b""), [""]),
    "uncompressed between compressed": (
        compressed_frame(TEXT, HELLO) + compressed_frame(TEXT, b"plain", bits=0) + compressed_frame(TEXT, HELLO),
        ["Hello", "plain", "Hello"],
    ),
    "a ping between fragments": (
        compressed_frame(TEXT, ONE, fin=False)
        + compressed_frame(PING, b"", bits=0)
        + compressed_frame(CONTINUATION, TWO, bits=0),
        ["Hello"],
    ),
}


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(("data", "messages"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples(data: bytes, messages: list[str], step: int) -> None:
    server = protocol()
    got = [each for start in range(0, len(data), step) for each in server.receive_data(data[start : start + step])]
    assert got == messages
    assert server.state is State.OPEN


def raw_deflate(data: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush(flush)


ERRORS: dict[str, tuple[bytes, int]] = {
    "a compressed ping": (compressed_frame(PING, b""), 1002),
    "a compressed close": (compressed_frame(0x8, b""), 1002),
    "a compressed continuation": (
        compressed_frame(TEXT, ONE, fin=False) + compressed_frame(CONTINUATION, TWO),
        1002,
    ),
    "another reserved bit": (compressed_frame(TEXT, HELLO, bits=0x60), 1002),
    "only another reserved bit": (compressed_frame(TEXT, HELLO, bits=0x20), 1002),
    "garbage": (compressed_frame(TEXT, b"\xff\xff\xff"), 1007),
    "a reference to nothing": (compressed_frame(TEXT, bytes.fromhex("f200110000")), 1007),
    "text that is not UTF-8": (compressed_frame(TEXT, raw_deflate(b"\xff" * 100)[:-4]), 1007),
    "many final blocks": (compressed_frame(BINARY, b"\x03\x00" * 1000), 1007),
    "a bomb": (compressed_frame(BINARY, raw_deflate(bytes(10_000_000))[:-4]), 1009),
    "a bomb in fragments": (
        compressed_frame(BINARY, raw_deflate(bytes(1_000_000)), fin=False)
        + compressed_frame(CONTINUATION, raw_deflate(bytes(1_000_000))[:-4], bits=0),
        1009,
    ),
    "no end of nothing": (
        b"".join(
            compressed_frame(
                BINARY if n == 0 else CONTINUATION,
                b"\x00\x00\x00\xff\xff" * 9000,
                fin=False,
                bits=0x40 if n == 0 else 0,
            )
            for n in range(30)
        ),
        1009,
    ),
}


@pytest.mark.parametrize(("data", "code"), ERRORS.values(), ids=ERRORS)
def test_errors(data: bytes, code: int) -> None:
    server = protocol()
    server.receive_data(data)
    assert (server.state, server.close_code) == (State.CLOSED, code)


def test_without_an_agreement_nothing_may_be_compressed() -> None:
    server = ServerProtocol()
    server.receive_data(compressed_frame(TEXT, HELLO))
    assert server.close_code == 1002


@pytest.mark.parametrize(("size", "code"), [(1 << 20, None), ((1 << 20) + 1, 1009)])
@pytest.mark.parametrize("level", [0, 9])
def test_the_largest_message(size: int, code: int | None, level: int) -> None:
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    data = compressor.compress(b"x" * size) + compressor.flush(zlib.Z_SYNC_FLUSH)
    server = protocol()
    messages = server.receive_data(compressed_frame(BINARY, data[:-4]))
    assert server.close_code == code
    assert [len(each) for each in messages] == ([size] if code is None else [])


def test_a_bomb_takes_no_memory() -> None:
    """A gigabyte that came as a megabyte."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(1024)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    frames = [
        compressed_frame(BINARY, bomb[:-4][start : start + 1000], fin=False, bits=0x40 * (not start) | 0x0)
        if not start
        else compressed_frame(CONTINUATION, bomb[start : start + 1000], fin=False, bits=0)
        for start in range(0, 100_000, 1000)
    ]
    server = protocol()
    tracemalloc.start()
    try:
        for each in frames:
            server.receive_data(each)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert server.close_code == 1009
    assert peak < 4 << 20


def test_too_many_fragments() -> None:
    server = ServerProtocol(max_message_size=16)
    server.receive_data(compressed_frame(BINARY, b"", fin=False, bits=0))
    for _ in range(2000):
        server.receive_data(compressed_frame(CONTINUATION, b"", fin=False, bits=0))
    assert (server.close_code, server.close_reason) == (1008, "message has too many fragments")


# messages, by how much they have grown
GROWTH: list[tuple[list[bytes], int]] = [
    ([bytes(100_000)], 100_000 - len(raw_deflate(bytes(100_000))[:-4])),
    ([bytes(1000), bytes(5000)], 6000 - sum(len(raw_deflate(bytes(size))[:-4]) for size in (1000, 5000))),
    ([b"", b"a"], 0),
]


@pytest.mark.parametrize(("payloads", "growth"), GROWTH)
def test_growth_is_counted(payloads: list[bytes], growth: int) -> None:
    server = protocol(takeover=False)
    for each in payloads:
        server.receive_data(compressed_frame(BINARY, raw_deflate(each)[:-4]))
        server.receive_data(compressed_frame(BINARY, each, bits=0))
    assert server.state is State.OPEN
    assert server.inflated == growth


# what the server sends


@pytest.mark.parametrize("options", [TAKEOVER, NO_TAKEOVER, SMALL, NO_TAKEOVER._replace(level=9, window_bits=9)])
@given(
    payloads=st.lists(st.one_of(st.binary(max_size=2000), st.text(max_size=50).map(lambda text: text.encode() * 99)))
)
def test_frames_can_be_inflated(options: Options, payloads: list[bytes]) -> None:
    agreement = Agreement(options.context_takeover, False, options.window_bits, None)
    deflater = Deflater.for_agreement(agreement, options)
    assert deflater is not None
    inflater = zlib.decompressobj(-15)
    for payload in payloads:
        frame = deflater.frame(Opcode.BINARY, payload)
        if not options.context_takeover:
            inflater = zlib.decompressobj(-15)
        start = {126: 4, 127: 10}.get(frame[1], 2)
        if frame[0] == 0xC2:
            assert inflater.decompress(frame[start:] + b"\x00\x00\xff\xff") == payload
        else:
            assert frame[0] == 0x82 and frame[start:] == payload
            assert len(payload) < max(1, options.threshold)


@pytest.mark.parametrize(("size", "first"), [(0, 0x81), (511, 0x81), (512, 0xC1)])
def test_the_threshold(size: int, first: int) -> None:
    deflater = Deflater.for_agreement(Agreement(False, False, 15, None), Options())
    assert deflater is not None
    assert deflater.frame(Opcode.TEXT, b"x" * size)[0] == first


def test_without_takeover_all_share_one_object() -> None:
    agreement = Agreement(False, False, 12, None)
    options = Options(window_bits=12)
    assert Deflater.for_agreement(agreement, options) is Deflater.for_agreement(agreement, options) is not None
    agreement = Agreement(True, False, 12, None)
    assert Deflater.for_agreement(agreement, TAKEOVER) is not Deflater.for_agreement(agreement, TAKEOVER)


@pytest.mark.parametrize("window_bits", range(9, 15))
def test_a_message_is_compressed_for_one_window_only(window_bits: int) -> None:
    """Who asks for a smaller one gets it as it is, unless it is compressed for each anyway."""
    agreement = Agreement(False, False, window_bits, None)
    assert Deflater.for_agreement(agreement, Options()) is None
    assert Deflater.for_agreement(agreement._replace(server_context_takeover=True), TAKEOVER) is not None


# a message's size, whether it is compressed; None: a refill
SPENT: list[list[tuple[int, bool] | None]] = [
    [(600, True), (399, True), (1, True), (1, False), None, (1, True)],
    [(5000, True), (1, False), None, (1, False), None, None, None, (1, False), None, (1, True)],
    [(100, True), None, None, (1000, True), (1, False)],
]


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("spent", SPENT)
def test_the_budget(spent: list[tuple[int, bool] | None], takeover: bool) -> None:
    """Of a thousand bytes; what is beyond it is sent as it is, and can be read all the same."""
    budget, options = Budget(1000), Options(context_takeover=takeover, threshold=0)
    deflater = Deflater.for_agreement(Agreement(takeover, False, 15, None), options, budget)
    assert deflater is not None
    inflater = zlib.decompressobj(-15)
    for each in spent:
        if each is None:
            budget.refill()
            continue
        size, compressed = each
        frame = deflater.frame(Opcode.BINARY, bytes(size))
        assert (frame[0] == 0xC2) is compressed
        if takeover and compressed:
            assert inflater.decompress(frame[{126: 4}.get(frame[1], 2) :] + b"\x00\x00\xff\xff") == bytes(size)


# the other end is somebody else's

OFFERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "as browsers": {"client_max_window_bits": True},
    "no contexts": {"server_no_context_takeover": True, "client_no_context_takeover": True},
    "small windows": {"server_max_window_bits": 9, "client_max_window_bits": 9},
}
MESSAGES = ["", "Hello", "Hello" * 1000, "Grüße 🎉" * 5000, b"", b"\x00\xff" * 3000, bytes(100_000)]


@pytest.mark.parametrize("options", [TAKEOVER, NO_TAKEOVER, SMALL])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_with_websockets(offer: dict[str, Any], options: Options) -> None:
    client = ClientProtocol(parse_uri("ws://testserver/"), extensions=[ClientPerMessageDeflateFactory(**offer)])
    request = client.connect()
    client.send_request(request)
    client.data_to_send()
    agreement = agree(request.headers["Sec-WebSocket-Extensions"], options)
    assert agreement is not None
    client.receive_data(accept_response(request.headers["Sec-WebSocket-Key"], extensions=agreement.response))
    assert client.handshake_exc is None
    client.events_received()
    server = ServerProtocol()
    server.inflater = Inflater(agreement.client_context_takeover)
    deflater = Deflater.for_agreement(agreement, options)
    for message in MESSAGES * 2:
        send = client.send_text if isinstance(message, str) else client.send_binary
        payload = message.encode() if isinstance(message, str) else message
        send(payload)
        assert server.receive_data(b"".join(client.data_to_send())) == [message]
        opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
        client.receive_data(deflater.frame(opcode, payload) if deflater else serialize(opcode, payload))
        [event] = client.events_received()
        assert isinstance(event, Frame) and bytes(event.data) == payload


@pytest.mark.parametrize("options", [TAKEOVER, NO_TAKEOVER])
def test_with_wsproto(options: Options) -> None:
    extension = PerMessageDeflate()
    agreement = agree(f"permessage-deflate; {extension.offer()}", options)
    assert agreement is not None
    extension.finalize(agreement.response)
    client = WSProtoConnection(ConnectionType.CLIENT, [extension])
    server = ServerProtocol()
    server.inflater = Inflater(agreement.client_context_takeover)
    deflater = Deflater.for_agreement(agreement, options)
    assert deflater is not None
    for message in MESSAGES * 2:
        is_text = isinstance(message, str)
        event: Any = events.TextMessage(message) if is_text else events.BytesMessage(message)
        assert server.receive_data(client.send(event)) == [message]
        payload = message.encode() if isinstance(message, str) else message
        client.receive_data(deflater.frame(Opcode.TEXT if is_text else Opcode.BINARY, payload))
        pieces = [each.data for each in client.events()]
        assert (b"" if not is_text else "").join(pieces) == message  # type: ignore[arg-type]
