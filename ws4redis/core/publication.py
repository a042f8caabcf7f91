"""One message on one channel, and all that one read from Redis has brought on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ws4redis.core.encoding import Encoding


class Position(NamedTuple):
    """The place of a publication in its channel's history."""

    offset: int
    epoch: str


class Publication:
    """A message of Redis on one channel, both bytes.

    Args:
        position: None where the channel has no history.
    """

    __slots__ = ("_frames", "channel", "payload", "position")

    def __init__(self, channel: bytes, payload: bytes, position: Position | None = None) -> None:
        self.channel = channel
        self.payload = payload
        self.position = position
        self._frames: dict[Encoding, bytes] | None = None

    def frame(self, encoding: Encoding) -> bytes:
        """The websocket frame; built once for all clients that share the encoding."""
        if self._frames is None:
            self._frames = {}
        frame = self._frames.get(encoding)
        if frame is None:
            frame = encoding.frame(*encoding.dialect.encode(self))
            if encoding.shared:
                self._frames[encoding] = frame
        return frame


class Batch:
    """The publications of one read from Redis on one channel, in order."""

    __slots__ = ("_frames", "publications")

    def __init__(self, publications: Sequence[Publication]) -> None:
        self.publications = publications
        self._frames: dict[Encoding, bytes] | None = None

    @property
    def channel(self) -> bytes:
        return self.publications[0].channel

    def frames(self, encoding: Encoding) -> bytes:
        """All frames in one piece; built once for all clients that share the encoding."""
        if len(self.publications) == 1:  # as most are
            return self.publications[0].frame(encoding)
        if self._frames is None:
            self._frames = {}
        frames = self._frames.get(encoding)
        if frames is None:
            frames = b"".join([each.frame(encoding) for each in self.publications])
            if encoding.shared:
                self._frames[encoding] = frames
        return frames


def frames_of(batches: Sequence[Batch], encoding: Encoding) -> bytes:
    """In one piece, for one ``send()``."""
    return batches[0].frames(encoding) if len(batches) == 1 else b"".join([each.frames(encoding) for each in batches])
