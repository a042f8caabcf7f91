"""What is sent: numbered messages of one size, so that every socket's whole stream is known beforehand."""

from __future__ import annotations

import struct

MESSAGE_BYTES = 100
_NUMBER_BYTES = 8

#: how the longer lengths are packed (RFC 6455, section 5.2)
_LENGTHS = {126: struct.Struct("!H"), 127: struct.Struct("!Q")}

HANDSHAKE_END = b"\r\n\r\n"
ACCEPTED = b"HTTP/1.1 101 "


def message(number: int) -> bytes:
    return b"%08d" % number + b"." * (MESSAGE_BYTES - _NUMBER_BYTES)


def number_of(payload: bytes) -> int | None:
    """The number of one of our messages; None for anything else."""
    number = payload[:_NUMBER_BYTES]
    return int(number) if number.isdigit() and payload == message(int(number)) else None


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """As a server sends it: whole and without a mask."""
    assert len(payload) < 126
    return bytes((0x80 | opcode, len(payload))) + payload


#: every message's frame has as many bytes
FRAME_BYTES = len(frame(message(0)))


def script(messages: int) -> bytes:
    """All that a socket is sent."""
    return b"".join(frame(message(number)) for number in range(messages))


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


def pong(payload: bytes) -> bytes:
    """As a browser sends it: masked, here with zeros."""
    return bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def upgrade_request(host: str, path: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
