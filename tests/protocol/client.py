"""What a client writes: masked frames, right and wrong ones."""

from __future__ import annotations

MASK = b"\x37\xfa\x21\x3d"

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def naive_mask(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


def length_bytes(length: int) -> bytes:
    if length < 126:
        return bytes([0x80 | length])
    if length < 1 << 16:
        return b"\xfe" + length.to_bytes(2, "big")
    return b"\xff" + length.to_bytes(8, "big")


def header(opcode: int, length: int, fin: bool = True, mask: bytes = MASK) -> bytes:
    return bytes([0x80 * fin | opcode]) + length_bytes(length) + mask


def frame(opcode: int, payload: bytes = b"", fin: bool = True, mask: bytes = MASK) -> bytes:
    # XOR with a mask of zeros changes nothing, which spares long payloads the naive loop.
    masked = naive_mask(payload, mask) if any(mask) else payload
    return header(opcode, len(payload), fin, mask) + masked


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)
