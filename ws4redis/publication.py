"""One message on one channel."""

from __future__ import annotations

from collections.abc import Sequence

from ws4redis.protocol.deflate import Deflater
from ws4redis.protocol.frames import Opcode, serialize


class Publication:
    """What Redis carried: the channel's name and the message, both bytes."""

    __slots__ = ("_compressed", "_frame", "channel", "payload")

    def __init__(self, channel: bytes, payload: bytes) -> None:
        self.channel = channel
        self.payload = payload
        self._frame: bytes | None = None
        self._compressed: dict[Deflater, bytes] | None = None

    @property
    def frame(self) -> bytes:
        """The websocket frame, the same bytes for every browser (a server's frames carry no mask), built once."""
        if self._frame is None:
            self._frame = serialize(opcode_of(self.payload), self.payload)
        return self._frame

    def frame_for(self, deflater: Deflater | None) -> bytes:
        """The frame for a browser with this compression, or with none."""
        return self.frame if deflater is None else self.compressed(deflater)

    def compressed(self, deflater: Deflater) -> bytes:
        """The frame for browsers with this compression; built once where they share it."""
        if not deflater.shared:
            return deflater.frame(opcode_of(self.payload), self.payload)
        if self._compressed is None:
            self._compressed = {}
        frame = self._compressed.get(deflater)
        if frame is None:
            frame = self._compressed[deflater] = deflater.frame(opcode_of(self.payload), self.payload)
        return frame


class Bundle:
    """What one batch brought for one channel; ``frames`` is all of it in one piece, the same for every member."""

    __slots__ = ("_compressed", "frames", "publications")

    def __init__(self, publications: list[Publication]) -> None:
        self.publications = publications
        # most often it is one
        self.frames = (
            publications[0].frame if len(publications) == 1 else b"".join([each.frame for each in publications])
        )
        self._compressed: dict[Deflater, bytes] | None = None

    @property
    def channel(self) -> bytes:
        return self.publications[0].channel

    def compressed(self, deflater: Deflater) -> bytes:
        if not deflater.shared:
            return b"".join([each.compressed(deflater) for each in self.publications])
        if self._compressed is None:
            self._compressed = {}
        frames = self._compressed.get(deflater)
        if frames is None:
            frames = self._compressed[deflater] = b"".join([each.compressed(deflater) for each in self.publications])
        return frames


def frames_of(bundles: Sequence[Bundle], deflater: Deflater | None = None) -> bytes:
    """In one piece, for a browser with this compression, or with none."""
    if deflater is not None:
        return b"".join([bundle.compressed(deflater) for bundle in bundles])
    return bundles[0].frames if len(bundles) == 1 else b"".join([bundle.frames for bundle in bundles])


def opcode_of(payload: bytes) -> Opcode:
    """Redis carries no opcode: what is valid UTF-8 travels on as text, all else as binary."""
    if payload.isascii():
        return Opcode.TEXT
    try:
        payload.decode()
    except UnicodeDecodeError:
        return Opcode.BINARY
    return Opcode.TEXT
