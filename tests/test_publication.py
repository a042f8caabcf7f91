from __future__ import annotations

import pytest

from ws4redis.publication import Publication, payload_frame

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


@pytest.mark.parametrize(("payload", "first"), KINDS)
def test_utf8_travels_as_text_and_the_rest_as_binary(payload: bytes, first: int) -> None:
    frame = payload_frame(payload)
    assert frame[0] == first
    assert frame.endswith(payload)
    assert Publication(b"broadcast:a", payload).frame == frame


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
    assert payload_frame(b"x" * size) == header + b"x" * size


def test_the_frame_is_built_once() -> None:
    publication = Publication(b"broadcast:a", b"hello")
    assert publication.frame is publication.frame
