"""The browsers: one process, plain sockets, one epoll. Orders come on stdin, answers go to stdout, as JSON lines.

Light, for it shares the machine with what is measured. It ends with its stdin, so it never outlives who started it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fanout import wire
from fanout.arrivals import Answers, Arrivals, Script, Several

_RECEIVE_BYTES = 1 << 16
_EVENTS = 1 << 12

#: how long to look for messages beyond the last, in seconds
_GRACE = 0.1

#: for SO_LINGER: the socket is reset when it is closed, and its port is free at once
_NO_LINGER = b"\x01\x00\x00\x00\x00\x00\x00\x00"

#: what a visitor of ``churn`` says, and hears
_SAID = wire.message(0)
_HEARD = wire.frame(_SAID)
_GOODBYE = b"\x03\xe8"


class Crowd:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._stdin = sys.stdin.fileno()
        self._orders: deque[bytes] = deque()
        self._unfinished_order = b""
        self._sockets: dict[int, socket.socket] = {}
        #: who is told that something has come
        self._readers: dict[int, Callable[[int], None]] = {}
        #: what has come of an answer that is not yet whole
        self._begun: dict[int, bytes] = {}
        self._arrivals: dict[int, Arrivals] = {}
        self._refused: list[str] = []
        self._visited = 0
        self._ended = 0
        self._unfinished = 0
        #: when each message had reached all sockets, and how far they are in sum
        self._times: list[float] = []
        self._progress = self._step = 0

    def run(self) -> None:
        self._readers[self._stdin] = self._listen
        self._poll.register(self._stdin, select.EPOLLIN)
        while True:
            self._turn(time.monotonic() + 3600)
            while self._orders:
                self._obey(json.loads(self._orders.popleft()))

    def _turn(self, deadline: float) -> None:
        for descriptor, _ in self._poll.poll(max(0.0, deadline - time.monotonic()), _EVENTS):
            self._readers[descriptor](descriptor)

    # orders

    def _listen(self, descriptor: int) -> None:
        data = os.read(descriptor, 1 << 16)
        if not data:
            sys.exit()
        *orders, self._unfinished_order = (self._unfinished_order + data).split(b"\n")
        self._orders += orders

    def _obey(self, arguments: dict[str, Any]) -> None:
        begin, busy = time.monotonic(), time.process_time()
        answer = getattr(self, arguments.pop("order"))(**arguments)
        answer |= {"seconds": time.monotonic() - begin, "cpu_seconds": time.process_time() - busy}
        print(json.dumps(answer), flush=True)

    def connect(self, port: int, visits: list[tuple[str, str]], at_once: int, patience: float) -> dict[str, Any]:
        """Open these websockets more, each with its path and cookie, a bounded number at once."""
        deadline = time.monotonic() + patience
        wanted = len(self._arrivals) + len(visits)
        to_open = iter(visits)
        while len(self._arrivals) < wanted and not self._refused and time.monotonic() < deadline:
            while len(self._begun) < at_once and (visit := next(to_open, None)) is not None:
                self._open(port, *visit, reader=self._shake)
            self._turn(deadline)
        # in the order in which they were opened
        self._arrivals = {each: self._arrivals[each] for each in self._sockets if each in self._arrivals}
        return {"connected": len(self._arrivals), "refused": self._refused[:3]}

    def churn(self, port: int, visits: list[tuple[str, str]], at_once: int, patience: float) -> dict[str, Any]:
        """Come, say something, hear it, and leave with the closing handshake."""
        deadline = time.monotonic() + patience
        to_open = iter(visits)
        self._visited = 0
        while self._visited < len(visits) and not self._refused and time.monotonic() < deadline:
            while len(self._begun) < at_once and (visit := next(to_open, None)) is not None:
                self._open(port, *visit, reader=self._visit)
            self._turn(deadline)
        return {"visited": self._visited, "refused": self._refused[:3]}

    def expect(self, messages: int, streams: list[list[str]], timed: bool = False) -> dict[str, Any]:
        """Each websocket is about to get so many messages of each of its streams; one list is for all websockets."""
        scripts: dict[str, bytes] = {}

        def awaited(streams: Sequence[str], reply: Callable[[bytes], object]) -> Arrivals:
            if len(streams) != 1:
                return Several(streams, messages, reply)
            [stream] = streams
            if stream not in scripts:
                scripts[stream] = wire.script(messages, stream)
            return Script(scripts[stream], reply, stream)

        each = streams * len(self._arrivals) if len(streams) == 1 else streams
        self._await([awaited(*pair) for pair in zip(each, self._replies(), strict=True)])
        if timed:
            self._progress, self._times, self._step = 0, [], sum(each.end for each in self._arrivals.values())
            self._step //= messages
            self._readers |= dict.fromkeys(self._arrivals, self._receive_and_time)
        return {}

    def say(self, streams: list[str], messages: int, rate: float) -> dict[str, Any]:
        """As many websockets as there are streams send messages of theirs, in turns, so many a second."""
        turns = ([wire.message(number, stream) for stream in streams] for number in range(messages))
        return self._say(turns, rate)

    def beat(self, text: str, times: int, rate: float) -> dict[str, Any]:
        """All websockets send this text, in turns, so many a second, and await as many answers that say the same."""
        self._await([Answers(text.encode(), times, reply) for reply in self._replies()])
        return self._say([[text.encode()] * len(self._arrivals)] * times, rate)

    def collect(self, patience: float) -> dict[str, Any]:
        """Wait for all that is expected."""
        begin = time.monotonic()
        while self._unfinished and time.monotonic() < begin + patience:
            self._turn(begin + patience)
        return {"complete_after": time.monotonic() - begin, "times": self._times}

    def count(self) -> dict[str, Any]:
        """Look whether more comes; the answer says what has come."""
        end = time.monotonic() + _GRACE
        while time.monotonic() < end:
            self._turn(end)
        arrivals = self._arrivals.values()
        return {
            "expected": [each.expected for each in arrivals],
            "received": [each.received for each in arrivals],
            "unexpected": sum(each.unexpected for each in arrivals),
            "ended": self._ended,
        }

    def leave(self) -> dict[str, Any]:
        for descriptor in list(self._sockets):
            self._close(descriptor)
        return {}

    # sockets

    def _open(self, port: int, path: str, cookie: str, reader: Callable[[int], None]) -> None:
        connected = socket.create_connection(("127.0.0.1", port), timeout=30)
        connected.setblocking(False)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.send(wire.upgrade_request(f"127.0.0.1:{port}", path, cookie))
        descriptor = connected.fileno()
        self._sockets[descriptor] = connected
        self._begun[descriptor] = b""
        self._readers[descriptor] = reader
        self._poll.register(descriptor, select.EPOLLIN)

    def _shake(self, descriptor: int) -> None:
        rest = self._answer(descriptor)
        if rest is None:
            return
        del self._begun[descriptor]
        self._readers[descriptor] = self._receive
        self._arrivals[descriptor] = Script(b"", self._sockets[descriptor].send)
        if rest:
            self._arrivals[descriptor].feed(rest)

    def _answer(self, descriptor: int) -> bytes | None:
        """What follows the server's answer; None where that is not whole, or a refusal."""
        data = self._read(descriptor)
        answer = self._begun[descriptor] + data
        head, end, rest = answer.partition(wire.HANDSHAKE_END)
        if not data or (end and not head.startswith(wire.ACCEPTED)):
            self._refused.append(head[:200].decode("latin-1") or "closed without a word")
            self._close(descriptor)
        elif end:
            return rest
        else:
            self._begun[descriptor] = answer
        return None

    def _visit(self, descriptor: int) -> None:
        rest = self._answer(descriptor)
        if rest is not None:
            self._begun[descriptor] = rest
            self._readers[descriptor] = self._hear
            self._sockets[descriptor].send(wire.from_browser(_SAID))

    def _hear(self, descriptor: int) -> None:
        data = self._read(descriptor)
        heard = self._begun[descriptor] = self._begun[descriptor] + data
        if heard == _HEARD:
            self._readers[descriptor] = self._part
            self._sockets[descriptor].send(wire.from_browser(_GOODBYE, wire.CLOSE))
        elif not data or not _HEARD.startswith(heard):
            self._refused.append(f"instead of its message a visitor got {heard[:200]!r}")
            self._close(descriptor)

    def _part(self, descriptor: int) -> None:
        if not self._read(descriptor):
            self._visited += 1
            self._close(descriptor)

    def _say(self, turns: Iterable[Sequence[bytes]], rate: float) -> dict[str, Any]:
        begin, said = time.monotonic(), 0
        speakers = list(self._arrivals)
        for turn in turns:
            for descriptor, payload in zip(speakers, turn, strict=False):
                due = begin + said / rate
                while time.monotonic() < due:
                    self._turn(due)
                self._sockets[descriptor].send(wire.from_browser(payload))
                said += 1
        return {"said": said}

    def _replies(self) -> list[Callable[[bytes], object]]:
        return [self._sockets[descriptor].send for descriptor in self._arrivals]

    def _await(self, arrivals: list[Arrivals]) -> None:
        self._arrivals = dict(zip(self._arrivals, arrivals, strict=True))
        self._unfinished = sum(each.end > 0 for each in arrivals)

    def _receive(self, descriptor: int) -> None:
        data = self._read(descriptor)
        if not data:
            self._ended += 1
            self._close(descriptor)
            return
        arrivals = self._arrivals[descriptor]
        before = arrivals.place
        arrivals.feed(data)
        if before < arrivals.place == arrivals.end:
            self._unfinished -= 1

    def _receive_and_time(self, descriptor: int) -> None:
        arrivals = self._arrivals[descriptor]
        before = arrivals.place
        self._receive(descriptor)
        self._progress += arrivals.place - before
        while self._progress >= self._step * (len(self._times) + 1):
            self._times.append(time.monotonic())

    def _read(self, descriptor: int) -> bytes:
        try:
            return self._sockets[descriptor].recv(_RECEIVE_BYTES)
        except OSError:
            return b""

    def _close(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        for table in (self._begun, self._readers, self._arrivals):
            table.pop(descriptor, None)  # type: ignore[attr-defined]
        self._sockets.pop(descriptor).close()


if __name__ == "__main__":
    # Ctrl-C is for who started this
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Crowd().run()
