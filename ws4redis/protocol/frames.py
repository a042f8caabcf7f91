"""One frame, parsed and serialized (RFC 6455, section 5)."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from ws4redis.protocol.errors import ProtocolError

__all__ = [
    "CloseCode",
    "FrameHeader",
    "Opcode",
    "message_frame",
    "parse_close",
    "parse_header",
    "serialize",
    "serialize_close",
]


class Opcode(IntEnum):
    """RFC 6455, section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """RFC 6455, section 7.4.1, and IANA's WebSocket Close Code Number Registry."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


class FrameHeader(NamedTuple):
    fin: bool
    compressed: bool
    opcode: Opcode
    length: int
    mask: bytes
    payload_start: int


#: A control frame carries no more (RFC 6455, section 5.5).
MAX_CONTROL_BYTES = 125
#: What is left of it behind the two bytes of a close code.
MAX_REASON_BYTES = MAX_CONTROL_BYTES - 2

FIN_BIT = 0x80
RESERVED_BITS = 0x70
#: RSV1 of a message's first frame: the message is compressed (RFC 7692, section 6).
COMPRESSED_BIT = 0x40
OPCODE_BITS = 0x0F
MASK_BIT = 0x80
LENGTH_BITS = 0x7F
MASK_BYTES = 4

#: A message begins with one of these.
FIRST_OPCODES = (Opcode.TEXT, Opcode.BINARY)
OPCODES: dict[int, Opcode] = {int(opcode): opcode for opcode in Opcode}
#: 1005 and 1006 say what was *not* received, so they are never on the wire (RFC 6455, section 7.4.1).
WIRE_CODES = frozenset(CloseCode) - {CloseCode.NO_STATUS, CloseCode.ABNORMAL}

#: The values of the 7-bit length that announce a longer one: how it is packed, and from where on it is allowed.
EXTENDED_LENGTHS = {126: (struct.Struct("!H"), 126), 127: (struct.Struct("!Q"), 1 << 16)}


def serialize(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    """Build a server's frame: never masked (RFC 6455, section 5.1), so the same bytes serve every client."""
    first = FIN_BIT | opcode if fin else opcode
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload


def message_frame(message: str | bytes) -> bytes:
    """Build the one frame of a message: text for a str, binary for bytes."""
    if isinstance(message, str):
        return serialize(Opcode.TEXT, message.encode())
    return serialize(Opcode.BINARY, message)


def parse_header(data: bytes, start: int = 0, deflate: bool = False) -> FrameHeader | None:
    """Read the header of a client's frame at ``start``; None while bytes of it are missing.

    ``deflate`` tells whether permessage-deflate was agreed on.
    """
    available = len(data) - start
    if not available:
        return None
    fin, compressed, opcode = _parse_first_byte(data[start], deflate)
    if available < 2:
        return None
    length = _parse_second_byte(data[start + 1], opcode)
    mask_start = start + 2
    if length in EXTENDED_LENGTHS:
        layout, minimum = EXTENDED_LENGTHS[length]
        mask_start += layout.size
        if len(data) < mask_start:
            return None
        (length,) = layout.unpack_from(data, start + 2)
        _check_extended_length(length, minimum)
    payload_start = mask_start + MASK_BYTES
    if len(data) < payload_start:
        return None
    return FrameHeader(fin, compressed, opcode, length, data[mask_start:payload_start], payload_start)


def _parse_first_byte(byte: int, deflate: bool) -> tuple[bool, bool, Opcode]:
    compressed = deflate and bool(byte & COMPRESSED_BIT) and byte & OPCODE_BITS in FIRST_OPCODES
    if byte & RESERVED_BITS and (not compressed or byte & RESERVED_BITS != COMPRESSED_BIT):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
    opcode = OPCODES.get(byte & OPCODE_BITS)
    if opcode is None:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, f"opcode {byte & OPCODE_BITS} is reserved")
    fin = bool(byte & FIN_BIT)
    if opcode >= Opcode.CLOSE and not fin:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "control frame is fragmented")
    return fin, compressed, opcode


def _parse_second_byte(byte: int, opcode: Opcode) -> int:
    if not byte & MASK_BIT:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "client frame is not masked")
    length = byte & LENGTH_BITS
    if opcode >= Opcode.CLOSE and length > MAX_CONTROL_BYTES:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "control frame is too long")
    return length


def _check_extended_length(length: int, minimum: int) -> None:
    # RFC 6455, section 5.2: the minimal number of bytes MUST be used, the most significant bit MUST be 0.
    if length < minimum:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "frame length is not minimal")
    if length >= 1 << 63:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "frame length is beyond 63 bits")


def parse_close(payload: bytes) -> tuple[int, str]:
    """Read the payload of a close frame (RFC 6455, section 5.5.1); an empty one stands for 1005."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    if len(payload) == 1:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "close frame has half a code")
    code = int.from_bytes(payload[:2], "big")
    if not _is_wire_code(code):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, f"close code {code} is invalid")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(CloseCode.INVALID_DATA, "close reason is not UTF-8") from None


def serialize_close(code: int, reason: str = "") -> bytes:
    """Build the payload of a close frame; the reason is cut, between two characters, to what fits."""
    if not _is_wire_code(code):
        raise ValueError(f"{code} must not be sent as a close code")
    # A reason often quotes an error, and must not become a second one: what cannot be encoded turns into "?".
    encoded = reason.encode("utf-8", "replace")
    if len(encoded) > MAX_REASON_BYTES:
        encoded = encoded[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
    return code.to_bytes(2, "big") + encoded


def _is_wire_code(code: int) -> bool:
    # RFC 6455, section 7.4.2: 3000-3999 are registered by libraries, 4000-4999 are private.
    return code in WIRE_CODES or 3000 <= code <= 4999
