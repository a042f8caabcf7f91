from __future__ import annotations

from typing import Any

import pytest

from ws4redis.core.encoding import RAW, Dialect, Encoding, encoding_of
from ws4redis.core.publication import Batch, Position, Publication
from ws4redis.protocol.deflate import Deflater, Options
from ws4redis.protocol.frames import Opcode

PLAIN = encoding_of(RAW)

# payload, first byte of its frame: 0x81 is text, 0x82 is binary
KINDS = [
    (b"", 0x81),
    (b"hello", 0x81),
    ("Grüße, Привет, 消息 🎉".encode(), 0x81),
    (b"\x00\x7f", 0x81),
    (b"\x00\x12\xaa", 0x82),
    ("é".encode()[:1], 0x82),
    (b"\xed\xa0\x80", 0x82),
    (b"\xc0\x80", 0x82),
    (b"\xf4\x90\x80\x80", 0x82),
    (b"a" * 1000 + b"\xff", 0x82),
]


@pytest.mark.contract(
    "8.3 frames: what is UTF-8 is sent as text; decided: the rest as binary",
    "asks unicode: #236, #237: binary messages",
    "differs from 0.6: what is no UTF-8",
)
@pytest.mark.parametrize(("payload", "first"), KINDS)
def test_utf8_travels_as_text_and_the_rest_as_binary(payload: bytes, first: int) -> None:
    frame = Publication(b"broadcast:a", payload).frame(PLAIN)
    assert frame[0] == first
    assert frame.endswith(payload)


# payload size, header
HEADERS = [
    (0, b"\x81\x00"),
    (125, b"\x81\x7d"),
    (126, b"\x81\x7e\x00\x7e"),
    (65535, b"\x81\x7e\xff\xff"),
    (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
]


@pytest.mark.parametrize(("size", "header"), HEADERS)
def test_the_frame_is_whole_and_not_masked(size: int, header: bytes) -> None:
    assert Publication(b"broadcast:a", b"x" * size).frame(PLAIN) == header + b"x" * size


def test_the_frame_is_built_once() -> None:
    publication = Publication(b"broadcast:a", b"hello")
    assert publication.frame(PLAIN) is publication.frame(PLAIN)


KINDS_OF_MESSAGES = [
    lambda encoding: Publication(b"broadcast:a", b"hello" * 1000).frame,
    lambda encoding: Batch([Publication(b"broadcast:a", b"hello" * 1000)]).frames,
    lambda encoding: Batch([Publication(b"broadcast:a", b"hello" * 1000)] * 2).frames,
]


@pytest.mark.parametrize("kind", KINDS_OF_MESSAGES)
def test_who_shares_an_encoding_shares_the_frame(kind: Any) -> None:
    one, other = (encoding_of(RAW, Deflater(bits, Options(), shared=True)) for bits in (15, 9))
    frame = kind(one)
    assert frame(one) is frame(one)
    assert frame(other) is not frame(one)
    own = encoding_of(RAW, Deflater(15, Options(context_takeover=True), shared=False))
    assert len(frame(own)) > len(frame(own)), "the second refers to the first"


def test_clients_of_one_kind_share_the_encoding() -> None:
    deflater = Deflater(15, Options(), shared=True)
    assert encoding_of(RAW) is encoding_of(RAW)
    assert encoding_of(RAW, deflater) is encoding_of(RAW, deflater) is not encoding_of(RAW)
    own = Deflater(15, Options(context_takeover=True), shared=False)
    assert encoding_of(RAW, own) is not encoding_of(RAW, own)


def test_a_dialect_is_an_envelope() -> None:
    """Each of its clients gets the same bytes."""
    upper = Encoding(Dialect(lambda publication: (Opcode.TEXT, publication.channel + b"=" + publication.payload)))
    publication = Publication(b"a", b"1", Position(7, "epoch"))
    assert publication.frame(upper) == b"\x81\x03a=1"
    assert publication.frame(PLAIN) == b"\x81\x011"
