"""Has every message arrived: at one socket, and at all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fanout import wire

_PING, _CLOSE = 9, 8


class Arrivals:
    """Compares what one socket receives, cut anywhere, with what it should.

    What comes is nearly always what is awaited, and is then compared as bytes, however many messages it is. Only what
    differs, and the control frames, are parsed.

    Args:
        script: the whole stream that is to come.
        pong: sends the answer to a ping.
    """

    __slots__ = ("_pong", "_rest", "_script", "lost", "place", "unexpected")

    def __init__(self, script: bytes, pong: Callable[[bytes], object]) -> None:
        self._script = script
        self._pong = pong
        #: of a frame that is not yet whole
        self._rest = b""
        #: how far the script has come
        self.place = 0
        #: messages that were skipped
        self.lost = 0
        #: messages twice, too late or unknown
        self.unexpected = 0

    @property
    def received(self) -> int:
        return self.place // wire.FRAME_BYTES - self.lost

    def feed(self, data: bytes) -> None:
        if not self._rest and self._script.startswith(data, self.place):
            self.place += len(data)
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        begun = self.place % wire.FRAME_BYTES
        self.place -= begun
        data = self._script[self.place : self.place + begun] + self._rest + data
        start = 0
        while (parsed := wire.parse(data, start)) is not None:
            opcode, payload, start = parsed
            if opcode == _PING:
                self._pong(wire.pong(payload))
            elif opcode < _CLOSE:
                self._take(payload)
        self._rest = data[start:]
        if self._script.startswith(self._rest, self.place):
            self.place += len(self._rest)
            self._rest = b""

    def _take(self, payload: bytes) -> None:
        number, awaited = wire.number_of(payload), self.place // wire.FRAME_BYTES
        if number is None or not awaited <= number < len(self._script) // wire.FRAME_BYTES:
            self.unexpected += 1
            return
        self.lost += number - awaited
        self.place = (number + 1) * wire.FRAME_BYTES


def faults(sockets: int, messages: int, received: Sequence[int], unexpected: int = 0, ended: int = 0) -> list[str]:
    """What is wrong, in words; nothing where each of the sockets has each of the messages once.

    Args:
        received: for each socket, how many of the messages have arrived.
        unexpected: messages twice, too late or unknown, over all sockets.
        ended: sockets that the server has closed.
    """
    found = []
    if len(received) != sockets:
        found.append(f"{len(received)} sockets are open instead of {sockets}")
    short = [count for count in received if count != messages]
    if short:
        found.append(f"{len(short)} sockets have not got all {messages} messages, the worst {min(short)}")
    if unexpected:
        found.append(f"{unexpected} messages came twice, too late or from elsewhere")
    if ended:
        found.append(f"{ended} sockets were closed by the server")
    return found
