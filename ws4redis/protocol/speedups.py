"""Masking, the one loop over payload bytes: in C where wsaccel is installed, else with integers."""

from __future__ import annotations

try:
    from wsaccel.xormask import XorMaskerSimple
except ImportError:
    XorMaskerSimple = None

__all__ = ["apply_mask"]


def apply_mask_pure(data: bytes, mask: bytes) -> bytes:
    """XOR the data with its mask (RFC 6455, section 5.3) as two integers: linear, and no loop in Python."""
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")


def apply_mask_wsaccel(data: bytes, mask: bytes) -> bytes:
    masked: bytes = XorMaskerSimple(mask).process(data)
    return masked


apply_mask = apply_mask_pure if XorMaskerSimple is None else apply_mask_wsaccel
