"""Encoding of messages for a client: the dialect that it speaks, and its compression."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ws4redis.protocol.deflate import Deflater
from ws4redis.protocol.frames import Opcode, serialize

if TYPE_CHECKING:
    from ws4redis.core.publication import Publication


class Dialect(NamedTuple):
    """The form of publications and messages on the wire: two pure functions.

    Args:
        encode: returns a publication's opcode and payload.
        decode: turns a client's message into what its endpoint is given; None where that is the message itself.
    """

    encode: Callable[[Publication], tuple[Opcode, bytes]]
    decode: Callable[[str | bytes], Any] | None = None


class Encoding:
    """One object for all clients that are written to in the same way.

    Hashed by identity, because the hub looks it up for each client: a tuple would take twice as long.

    Args:
        deflater: compresses; None where the client has not agreed to that.
    """

    __slots__ = ("deflater", "dialect", "shared")

    def __init__(self, dialect: Dialect, deflater: Deflater | None = None) -> None:
        self.dialect = dialect
        self.deflater = deflater
        #: the same message becomes the same frame for each client, whatever was sent before
        self.shared = deflater is None or deflater.shared

    def frame(self, opcode: int, payload: bytes) -> bytes:
        return serialize(opcode, payload) if self.deflater is None else self.deflater.frame(opcode, payload)


def encoding_of(dialect: Dialect, deflater: Deflater | None = None) -> Encoding:
    """The one that all clients with this dialect and this compression share."""
    return _shared(dialect, deflater) if deflater is None or deflater.shared else Encoding(dialect, deflater)


@lru_cache(maxsize=64)
def _shared(dialect: Dialect, deflater: Deflater | None) -> Encoding:
    return Encoding(dialect, deflater)


def opcode_of(payload: bytes) -> Opcode:
    """Redis carries no opcode: what is valid UTF-8 travels on as text, all else as binary."""
    if payload.isascii():
        return Opcode.TEXT
    try:
        payload.decode()
    except UnicodeDecodeError:
        return Opcode.BINARY
    return Opcode.TEXT


def _encode_raw(publication: Publication) -> tuple[Opcode, bytes]:
    return opcode_of(publication.payload), publication.payload


#: no envelope
RAW = Dialect(_encode_raw)
