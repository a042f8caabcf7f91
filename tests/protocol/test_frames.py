import pytest

from ws4redis.protocol.errors import ProtocolError
from ws4redis.protocol.frames import (
    CloseCode,
    FrameHeader,
    Opcode,
    message_frame,
    parse_close,
    parse_header,
    serialize,
    serialize_close,
)

from .client import MASK, header


@pytest.mark.parametrize(
    ("opcode", "payload", "fin", "expected"),
    [
        # RFC 6455, section 5.7
        (Opcode.TEXT, b"Hello", True, b"\x81\x05Hello"),
        (Opcode.TEXT, b"Hel", False, b"\x01\x03Hel"),
        (Opcode.CONTINUATION, b"lo", True, b"\x80\x02lo"),
        (Opcode.PING, b"Hello", True, b"\x89\x05Hello"),
        (Opcode.BINARY, bytes(256), True, b"\x82\x7e\x01\x00" + bytes(256)),
        (Opcode.BINARY, bytes(65536), True, b"\x82\x7f\0\0\0\0\0\x01\0\0" + bytes(65536)),
        # the borders of the length's three encodings
        (Opcode.BINARY, b"", True, b"\x82\x00"),
        (Opcode.BINARY, bytes(125), True, b"\x82\x7d" + bytes(125)),
        (Opcode.BINARY, bytes(126), True, b"\x82\x7e\x00\x7e" + bytes(126)),
        (Opcode.BINARY, bytes(65535), True, b"\x82\x7e\xff\xff" + bytes(65535)),
        # plain numbers are opcodes too
        (0xA, b"", True, b"\x8a\x00"),
    ],
)
def test_serialize(opcode, payload, fin, expected):
    result = serialize(opcode, payload, fin)

    assert result == expected
    assert type(result) is bytes


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Hello", b"\x81\x05Hello"),
        ("", b"\x81\x00"),
        ("κόσμε", b"\x81\x0a" + "κόσμε".encode()),
        (b"Hello", b"\x82\x05Hello"),
        (b"", b"\x82\x00"),
    ],
)
def test_message_frame(message, expected):
    assert message_frame(message) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (header(0x1, 5), FrameHeader(True, False, Opcode.TEXT, 5, MASK, 6)),
        (header(0x1, 3, fin=False), FrameHeader(False, False, Opcode.TEXT, 3, MASK, 6)),
        (header(0x0, 0), FrameHeader(True, False, Opcode.CONTINUATION, 0, MASK, 6)),
        (header(0x2, 125), FrameHeader(True, False, Opcode.BINARY, 125, MASK, 6)),
        (header(0x2, 126), FrameHeader(True, False, Opcode.BINARY, 126, MASK, 8)),
        (header(0x2, 65535), FrameHeader(True, False, Opcode.BINARY, 65535, MASK, 8)),
        (header(0x2, 65536), FrameHeader(True, False, Opcode.BINARY, 65536, MASK, 14)),
        (header(0x2, (1 << 63) - 1), FrameHeader(True, False, Opcode.BINARY, (1 << 63) - 1, MASK, 14)),
        (header(0x8, 125), FrameHeader(True, False, Opcode.CLOSE, 125, MASK, 6)),
        (header(0x9, 0), FrameHeader(True, False, Opcode.PING, 0, MASK, 6)),
        (header(0xA, 1), FrameHeader(True, False, Opcode.PONG, 1, MASK, 6)),
    ],
)
def test_parse_header(data, expected):
    assert parse_header(data) == expected
    assert parse_header(data + b"payload") == expected
    assert parse_header(b"before" + data, 6) == expected._replace(payload_start=expected.payload_start + 6)
    assert all(parse_header(data[:size]) is None for size in range(len(data)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xc1", "reserved bits"),
        (b"\xa1", "reserved bits"),
        (b"\x91", "reserved bits"),
        *((bytes([0x80 | opcode]), f"opcode {opcode} is reserved") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        (b"\x08", "fragmented"),
        (b"\x09", "fragmented"),
        (b"\x0a", "fragmented"),
        (b"\x81\x05", "not masked"),
        (b"\x88\xfe", "too long"),
        (b"\x89\xfe", "too long"),
        (b"\x8a\xff", "too long"),
        (b"\x81\xfe\x00\x00", "not minimal"),
        (b"\x81\xfe\x00\x7d", "not minimal"),
        (b"\x81\xff\0\0\0\0\0\0\0\x05", "not minimal"),
        (b"\x81\xff\0\0\0\0\0\0\xff\xff", "not minimal"),
        (b"\x81\xff\x80\0\0\0\0\0\0\0", "63 bits"),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", "63 bits"),
    ],
)
def test_wrong_header_is_refused_at_its_first_wrong_byte(data, words):
    with pytest.raises(ProtocolError) as caught:
        parse_header(data)

    assert caught.value.code == CloseCode.PROTOCOL_ERROR
    assert words in caught.value.reason
    assert parse_header(data[:-1]) is None


@pytest.mark.contract("asks unicode: #135, #139, #142: close frames under Python 3")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", (1005, "")),
        (b"\x03\xe8", (1000, "")),
        (b"\x03\xe9bye", (1001, "bye")),
        (b"\x0f\xa0" + "ä".encode(), (4000, "ä")),
    ],
)
def test_parse_close(payload, expected):
    assert parse_close(payload) == expected


VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.contract("12 closing: decided: 1012 to 1014 are registered by now")
@pytest.mark.parametrize("code", VALID_CODES)
def test_valid_close_code(code):
    assert parse_close(serialize_close(code)) == (code, "")


@pytest.mark.contract("12 closing: 1002: a code that must not be sent, or half of one")
@pytest.mark.parametrize("code", INVALID_CODES)
def test_invalid_close_code(code):
    with pytest.raises(ProtocolError) as caught:
        parse_close(code.to_bytes(2, "big"))
    assert caught.value.code == CloseCode.PROTOCOL_ERROR

    with pytest.raises(ValueError, match=f"^{code} must not be sent"):
        serialize_close(code)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", CloseCode.PROTOCOL_ERROR),
        (b"\x03\xe8\xff", CloseCode.INVALID_DATA),
        (b"\x03\xe8\xc3", CloseCode.INVALID_DATA),
        (b"\x03\xe8\xed\xa0\x80", CloseCode.INVALID_DATA),
    ],
)
def test_wrong_close_payload(payload, code):
    with pytest.raises(ProtocolError) as caught:
        parse_close(payload)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("", b""),
        ("bye", b"bye"),
        ("x" * 123, b"x" * 123),
        ("x" * 124, b"x" * 123),
        ("x" * 122 + "ä", b"x" * 122),
        ("x" * 121 + "äy", b"x" * 121 + "ä".encode()),
        ("x" * 120 + "\U0001f600", b"x" * 120),
        ("\U0001f600" * 31, "\U0001f600".encode() * 30),
        ("\ud800", b"?"),
    ],
)
def test_close_reason_is_cut_between_characters(reason, expected):
    assert serialize_close(1000, reason) == b"\x03\xe8" + expected
