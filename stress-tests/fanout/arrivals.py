"""Has every message arrived: at one socket, and at all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fanout import wire


class Arrivals:
    """Takes apart what one socket receives, cut anywhere; a subclass knows what is awaited.

    Args:
        end: how far ``place`` comes.
        reply: sends the answer to a ping.
    """

    __slots__ = ("_reply", "_rest", "end", "lost", "place", "unexpected")

    def __init__(self, end: int, reply: Callable[[bytes], object]) -> None:
        self._reply = reply
        #: of a frame that is not yet whole
        self._rest = b""
        #: how far it has come
        self.place = 0
        self.end = end
        #: messages that were skipped
        self.lost = 0
        #: messages twice, too late or unknown
        self.unexpected = 0

    @property
    def received(self) -> int:
        return self.place - self.lost

    @property
    def expected(self) -> int:
        return self.end

    def feed(self, data: bytes) -> None:
        data = self._rest + data
        start = 0
        while (parsed := wire.parse(data, start)) is not None:
            opcode, payload, start = parsed
            if opcode == wire.PING:
                self._reply(wire.from_browser(payload, wire.PONG))
            elif opcode < wire.CLOSE:
                self._take(payload)
        self._rest = data[start:]

    def _take(self, payload: bytes) -> None:
        raise NotImplementedError


class Script(Arrivals):
    """One stream, known to the byte.

    What comes is nearly always what is awaited, and is then compared as bytes, however many messages it is. Only what
    differs, and the control frames, are parsed.

    Args:
        script: the whole stream that is to come; ``place`` is a place in it.
    """

    __slots__ = ("_script", "_stream")

    def __init__(self, script: bytes, reply: Callable[[bytes], object], stream: str = "") -> None:
        super().__init__(len(script), reply)
        self._script = script
        self._stream = stream

    @property
    def received(self) -> int:
        return self.place // wire.FRAME_BYTES - self.lost

    @property
    def expected(self) -> int:
        return self.end // wire.FRAME_BYTES

    def feed(self, data: bytes) -> None:
        if not self._rest and self._script.startswith(data, self.place):
            self.place += len(data)
            return
        begun = self.place % wire.FRAME_BYTES
        self.place -= begun
        self._rest = self._script[self.place : self.place + begun] + self._rest
        super().feed(data)
        if self._script.startswith(self._rest, self.place):
            self.place += len(self._rest)
            self._rest = b""

    def _take(self, payload: bytes) -> None:
        awaited = self.place // wire.FRAME_BYTES
        number, stream = wire.number_of(payload) or (-1, "")
        if stream != self._stream or not awaited <= number < self.expected:
            self.unexpected += 1
            return
        self.lost += number - awaited
        self.place = (number + 1) * wire.FRAME_BYTES


class Several(Arrivals):
    """Some streams, each in order, but between each other as it happens."""

    __slots__ = ("_awaited", "_messages")

    def __init__(self, streams: Sequence[str], messages: int, reply: Callable[[bytes], object]) -> None:
        super().__init__(len(streams) * messages, reply)
        self._awaited = dict.fromkeys(streams, 0)
        self._messages = messages

    def _take(self, payload: bytes) -> None:
        number, stream = wire.number_of(payload) or (-1, "")
        awaited = self._awaited.get(stream, self._messages)
        if not awaited <= number < self._messages:
            self.unexpected += 1
            return
        self._awaited[stream] = number + 1
        self.lost += number - awaited
        self.place += number + 1 - awaited


class Answers(Arrivals):
    """The same text, so many times."""

    __slots__ = ("_text",)

    def __init__(self, text: bytes, times: int, reply: Callable[[bytes], object]) -> None:
        super().__init__(times, reply)
        self._text = text

    def _take(self, payload: bytes) -> None:
        if payload == self._text and self.place < self.end:
            self.place += 1
        else:
            self.unexpected += 1


def faults(sockets: int, expected: Sequence[int], received: Sequence[int], unexpected: int, ended: int) -> list[str]:
    """What is wrong, in words; nothing where each of the sockets has each of its messages once.

    Args:
        expected: for each socket that is open, how many messages it should have.
        received: how many have arrived.
        unexpected: messages twice, too late or unknown, over all sockets.
        ended: sockets that the server has closed.
    """
    found = []
    if len(received) != sockets:
        found.append(f"{len(received)} sockets are open instead of {sockets}")
    short = [(got, wanted) for got, wanted in zip(received, expected, strict=True) if got != wanted]
    if short:
        worst, wanted = min(short)
        found.append(f"{len(short)} sockets have not got all messages, the worst {worst} of {wanted}")
    if unexpected:
        found.append(f"{unexpected} messages came twice, too late or from elsewhere")
    if ended:
        found.append(f"{ended} sockets were closed by the server")
    return found
