"""One message on one channel."""

from __future__ import annotations

from ws4redis.protocol.frames import Opcode, serialize


class Publication:
    """What Redis carried: the channel's name and the message, both bytes.

    Redis carries no opcode: a payload that is valid UTF-8 travels on as text, any other as binary.
    """

    __slots__ = ("_frame", "channel", "payload")

    def __init__(self, channel: bytes, payload: bytes) -> None:
        self.channel = channel
        self.payload = payload
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The websocket frame, the same bytes for every browser (a server's frames carry no mask), built once."""
        if self._frame is None:
            self._frame = payload_frame(self.payload)
        return self._frame


def payload_frame(payload: bytes) -> bytes:
    return serialize(Opcode.TEXT if _is_text(payload) else Opcode.BINARY, payload)


def _is_text(payload: bytes) -> bool:
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
