"""What is sent: numbered messages of one size, so that every socket's whole stream is known beforehand.

A message names the stream to which it belongs, such as ``broadcast`` or ``user17``: what was meant for somebody else is
noticed.
"""

from __future__ import annotations

import struct

MESSAGE_BYTES = 100
_NUMBER_BYTES = 8

#: how the longer lengths are packed (RFC 6455, section 5.2)
_LENGTHS = {126: struct.Struct("!H"), 127: struct.Struct("!Q")}

HANDSHAKE_END = b"\r\n\r\n"
ACCEPTED = b"HTTP/1.1 101 "

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

#: what browsers say to show that they are there
HEARTBEAT = "--heartbeat--"

_MASK = b"\x9d\x2e\x51\xc7"


def message(number: int, stream: str = "") -> bytes:
    return (b"%08d" % number + stream.encode()).ljust(MESSAGE_BYTES, b".")


def number_of(payload: bytes) -> tuple[int, str] | None:
    """The number and the stream of one of our messages; None for anything else."""
    number, stream = payload[:_NUMBER_BYTES], payload[_NUMBER_BYTES:].rstrip(b".").decode("latin-1")
    return (int(number), stream) if number.isdigit() and payload == message(int(number), stream) else None


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """As a server sends it: whole and without a mask."""
    assert len(payload) < 126
    return bytes((0x80 | opcode, len(payload))) + payload


#: every message's frame has as many bytes
FRAME_BYTES = len(frame(message(0)))


def script(messages: int, stream: str = "") -> bytes:
    """All that a socket is sent."""
    return b"".join(frame(message(number, stream)) for number in range(messages))


def parse(data: bytes, start: int) -> tuple[int, bytes, int] | None:
    """Opcode and payload of the server's frame at ``start``, and where it ends; None while bytes are missing."""
    if len(data) < start + 2:
        return None
    length, begin = data[start + 1] & 0x7F, start + 2
    if length in _LENGTHS:
        layout = _LENGTHS[length]
        if len(data) < begin + layout.size:
            return None
        (length,), begin = layout.unpack_from(data, begin), begin + layout.size
    if len(data) < begin + length:
        return None
    return data[start] & 0x0F, data[begin : begin + length], begin + length


def from_browser(payload: bytes, opcode: int = TEXT) -> bytes:
    """As a browser sends it: masked."""
    assert len(payload) < 126
    masked = bytes(byte ^ _MASK[place % 4] for place, byte in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + _MASK + masked


def upgrade_request(host: str, path: str, cookie: str = "") -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *([f"Cookie: {cookie}"] if cookie else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()
