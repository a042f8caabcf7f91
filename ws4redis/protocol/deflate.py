"""Compression of messages: the extension permessage-deflate (RFC 7692)."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import NamedTuple

from ws4redis.protocol.errors import ProtocolError
from ws4redis.protocol.frames import COMPRESSED_BIT, CloseCode, serialize

__all__ = ["Agreement", "Budget", "Deflater", "Inflater", "Options", "agree"]

NAME = "permessage-deflate"

#: What the sender leaves out at the end of each message (RFC 7692, section 7.2.1).
TAIL = b"\x00\x00\xff\xff"

#: zlib cannot compress with a window of 8 bits, and says 9 where it should.
MIN_WINDOW_BITS = 9
MAX_WINDOW_BITS = 15
WINDOW_BITS = re.compile("[89]|1[0-5]")

#: A sender may end a DEFLATE stream within a message (RFC 7692, section 7.2.3.4); no honest one does so often.
MAX_STREAMS = 16

#: An offer's parameters by name; None stands for a parameter without a value.
Parameters = dict[str, str | None]

#: The two parameters that have no value.
NO_CONTEXT = {"server": "server_no_context_takeover", "client": "client_no_context_takeover"}


class Options(NamedTuple):
    """The server's preferences.

    Args:
        context_takeover: messages refer to earlier ones; they get smaller, but each websocket keeps two windows and
            every message is compressed for each of its receivers.
        window_bits: the size of a window is 2 to the power of this, in bytes; 9 to 15.
        threshold: bytes from which on a message is worth compressing.
        level: zlib's, 1 (fast) to 9 (small).
    """

    context_takeover: bool = False
    window_bits: int = MAX_WINDOW_BITS
    threshold: int = 512
    level: int = 3


class Agreement(NamedTuple):
    """The parameters on which client and server have agreed (RFC 7692, section 7.1)."""

    server_context_takeover: bool
    client_context_takeover: bool
    server_window_bits: int
    client_window_bits: int | None

    @property
    def response(self) -> str:
        """The value of the response's Sec-WebSocket-Extensions."""
        parts = [NAME]
        if not self.server_context_takeover:
            parts.append("server_no_context_takeover")
        if not self.client_context_takeover:
            parts.append("client_no_context_takeover")
        if self.server_window_bits < MAX_WINDOW_BITS:
            parts.append(f"server_max_window_bits={self.server_window_bits}")
        if self.client_window_bits is not None:
            parts.append(f"client_max_window_bits={self.client_window_bits}")
        return "; ".join(parts)


def agree(offers: str, options: Options) -> Agreement | None:
    """Accept the first offer of a Sec-WebSocket-Extensions header that can be kept; None leaves all uncompressed."""
    for offer in offers.split(","):
        name, *parts = (part.strip(" \t") for part in offer.split(";"))
        if name == NAME and (agreement := _accept(parts, options)) is not None:
            return agreement
    return None


def _accept(parts: list[str], options: Options) -> Agreement | None:
    parameters = _parameters(parts)
    if parameters is None:
        return None
    takeover = {side: name not in parameters for side, name in NO_CONTEXT.items()}
    if any(parameters.pop(name, None) is not None for name in NO_CONTEXT.values()):
        return None
    server_bits = _window_bits(parameters.pop("server_max_window_bits", "15"))
    names_client_bits = "client_max_window_bits" in parameters
    client_bits = _window_bits(parameters.pop("client_max_window_bits", None) or "15")
    if parameters or client_bits is None or server_bits is None or server_bits < MIN_WINDOW_BITS:
        return None
    return Agreement(
        options.context_takeover and takeover["server"],
        options.context_takeover and takeover["client"],
        min(server_bits, options.window_bits),
        min(client_bits, options.window_bits) if names_client_bits else None,
    )


def _parameters(parts: list[str]) -> Parameters | None:
    """A value may be quoted (RFC 6455, section 9.1); a parameter that comes twice spoils the offer."""
    parameters: Parameters = {}
    for part in parts:
        name, has_value, value = (each.strip(" \t") for each in part.partition("="))
        if name in parameters:
            return None
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        parameters[name] = value if has_value else None
    return parameters


def _window_bits(value: str | None) -> int | None:
    return int(value) if value is not None and WINDOW_BITS.fullmatch(value) else None


class Budget:
    """The bytes that may be compressed until it is refilled; shared by all that use one processor.

    The last message may exceed it, which is taken off the next refill: no size of a message is too large for it.
    """

    __slots__ = ("_left", "size")

    def __init__(self, size: int) -> None:
        self.size = self._left = size

    def refill(self) -> None:
        self._left = min(self.size, self._left + self.size)

    def take(self, size: int) -> bool:
        """False where nothing is left."""
        if self._left <= 0:
            return False
        self._left -= size
        return True


class Deflater:
    """Compresses the server's messages, as far as its budget goes; the others are sent uncompressed.

    Without context takeover it keeps nothing, and one object serves all websockets with the same agreement: frames
    may be kept under it. With context takeover each websocket has its own.
    """

    __slots__ = ("_budget", "_compressor", "_options", "shared")

    def __init__(self, window_bits: int, options: Options, shared: bool, budget: Budget | None = None) -> None:
        self._options = options._replace(window_bits=window_bits)
        self._budget = budget
        self.shared = shared
        self._compressor = None if shared else self._new_compressor()

    @staticmethod
    def for_agreement(agreement: Agreement, options: Options, budget: Budget | None = None) -> Deflater | None:
        """None where nothing is to be compressed.

        Without context takeover a message is compressed once, with the window of the options. A client that asks for a
        smaller one gets it uncompressed: each window would compress it again.
        """
        if agreement.server_context_takeover:
            return Deflater(agreement.server_window_bits, options, False, budget)
        if agreement.server_window_bits < options.window_bits:
            return None
        return _shared_deflater(options, budget)

    def frame(self, opcode: int, payload: bytes) -> bytes:
        """The one frame of a message."""
        if len(payload) < self._options.threshold or not payload:
            return serialize(opcode, payload)
        if self._budget is not None and not self._budget.take(len(payload)):
            return serialize(opcode, payload)
        compressor = self._compressor or self._new_compressor()
        compressed = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return serialize(opcode | COMPRESSED_BIT, compressed.removesuffix(TAIL))

    def _new_compressor(self) -> zlib._Compress:
        # the memory level that goes with the window's size: zlib's 8 goes with 15
        bits = self._options.window_bits
        return zlib.compressobj(self._options.level, zlib.DEFLATED, -bits, max(1, bits - 7))


@lru_cache(maxsize=64)
def _shared_deflater(options: Options, budget: Budget | None) -> Deflater:
    return Deflater(options.window_bits, options, True, budget)


class Inflater:
    """Decompresses a client's messages, piece by piece, never more than is allowed."""

    __slots__ = ("_context_takeover", "_decompressor", "_streams")

    def __init__(self, context_takeover: bool) -> None:
        self._context_takeover = context_takeover
        self._decompressor: zlib._Decompress | None = None
        self._streams = 0

    def begin(self) -> None:
        """Start a message."""
        self._streams = 0

    def feed(self, data: bytes, most: int) -> bytes:
        """Decompress the next piece.

        Raises:
            ProtocolError: 1009, it has more than ``most`` bytes; 1007, it is not DEFLATE's.
        """
        inflated = b""
        while data:
            if self._decompressor is None:
                self._decompressor = self._new_stream()
            try:
                inflated += self._decompressor.decompress(data, most - len(inflated) + 1)
            except zlib.error:
                raise ProtocolError(CloseCode.INVALID_DATA, "message is not compressed as agreed") from None
            if len(inflated) > most:
                raise ProtocolError(CloseCode.MESSAGE_TOO_BIG, "message is too large when decompressed")
            data = self._decompressor.unused_data
            if self._decompressor.eof:
                self._decompressor = None
        return inflated

    def end(self, most: int) -> bytes:
        """Finish the message; returns the rest of it."""
        inflated = self.feed(TAIL, most)
        if not self._context_takeover:
            self._decompressor = None
        return inflated

    def _new_stream(self) -> zlib._Decompress:
        self._streams += 1
        if self._streams > MAX_STREAMS:
            raise ProtocolError(CloseCode.INVALID_DATA, "message has too many compressed streams")
        # any window of the client's fits into the largest
        return zlib.decompressobj(-MAX_WINDOW_BITS)
