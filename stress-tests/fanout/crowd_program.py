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
from typing import Any

from fanout import wire
from fanout.arrivals import Arrivals

#: handshakes at the same time
_AT_ONCE = 100

_RECEIVE_BYTES = 1 << 16
_EVENTS = 1 << 12

#: how long to look for messages beyond the last, in seconds
_GRACE = 0.1

#: for SO_LINGER: the socket is reset when it is closed, and its port is free at once
_NO_LINGER = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Crowd:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._stdin = sys.stdin.fileno()
        self._orders: deque[bytes] = deque()
        self._unfinished_order = b""
        self._sockets: dict[int, socket.socket] = {}
        self._shaking: dict[int, bytes] = {}
        self._arrivals: dict[int, Arrivals] = {}
        self._refused: list[str] = []
        self._ended = 0
        self._script = b""
        self._unfinished = 0

    def run(self) -> None:
        self._poll.register(self._stdin, select.EPOLLIN)
        while True:
            self._turn(time.monotonic() + 3600)
            while self._orders:
                self._obey(json.loads(self._orders.popleft()))

    def _turn(self, deadline: float) -> None:
        for descriptor, _ in self._poll.poll(max(0.0, deadline - time.monotonic()), _EVENTS):
            if (arrivals := self._arrivals.get(descriptor)) is not None:
                self._receive(descriptor, arrivals)
            elif descriptor in self._shaking:
                self._shake(descriptor)
            elif descriptor == self._stdin:
                self._listen()

    # orders

    def _listen(self) -> None:
        data = os.read(self._stdin, 1 << 16)
        if not data:
            sys.exit()
        *orders, self._unfinished_order = (self._unfinished_order + data).split(b"\n")
        self._orders += orders

    def _obey(self, arguments: dict[str, Any]) -> None:
        begin, busy = time.monotonic(), time.process_time()
        answer = getattr(self, arguments.pop("order"))(**arguments)
        answer |= {"seconds": time.monotonic() - begin, "cpu_seconds": time.process_time() - busy}
        print(json.dumps(answer), flush=True)

    def connect(self, port: int, path: str, sockets: int, patience: float) -> dict[str, Any]:
        """Open so many websockets more, a bounded number at once."""
        deadline = time.monotonic() + patience
        request = wire.upgrade_request(f"127.0.0.1:{port}", path)
        wanted = len(self._arrivals) + sockets
        to_open = sockets
        while len(self._arrivals) < wanted and not self._refused and time.monotonic() < deadline:
            while to_open and len(self._shaking) < _AT_ONCE:
                to_open -= 1
                self._open(port, request)
            self._turn(deadline)
        return {"connected": len(self._arrivals), "refused": self._refused[:3]}

    def expect(self, messages: int) -> dict[str, Any]:
        """Each websocket is about to get these."""
        self._script = wire.script(messages)
        self._unfinished = len(self._arrivals)
        for descriptor in self._arrivals:
            self._arrivals[descriptor] = self._awaiting(descriptor)
        return {}

    def collect(self, patience: float) -> dict[str, Any]:
        """Wait for all that is expected, and look whether more comes; the answer says what has come."""
        begin = time.monotonic()
        while self._unfinished and time.monotonic() < begin + patience:
            self._turn(begin + patience)
        complete = time.monotonic()
        return {"complete_after": complete - begin}

    def count(self) -> dict[str, Any]:
        end = time.monotonic() + _GRACE
        while time.monotonic() < end:
            self._turn(end)
        arrivals = self._arrivals.values()
        return {
            "received": [each.received for each in arrivals],
            "unexpected": sum(each.unexpected for each in arrivals),
            "ended": self._ended,
        }

    def leave(self) -> dict[str, Any]:
        for descriptor in list(self._sockets):
            self._close(descriptor)
        return {}

    # sockets

    def _open(self, port: int, request: bytes) -> None:
        connected = socket.create_connection(("127.0.0.1", port), timeout=30)
        connected.setblocking(False)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        connected.send(request)
        descriptor = connected.fileno()
        self._sockets[descriptor] = connected
        self._shaking[descriptor] = b""
        self._poll.register(descriptor, select.EPOLLIN)

    def _shake(self, descriptor: int) -> None:
        data = self._read(descriptor)
        answer = self._shaking[descriptor] + data
        head, end, rest = answer.partition(wire.HANDSHAKE_END)
        if not data or (end and not head.startswith(wire.ACCEPTED)):
            self._refused.append(head[:200].decode("latin-1") or "closed without a word")
            self._close(descriptor)
        elif end:
            del self._shaking[descriptor]
            self._arrivals[descriptor] = self._awaiting(descriptor)
            if rest:
                self._arrivals[descriptor].feed(rest)
        else:
            self._shaking[descriptor] = answer

    def _awaiting(self, descriptor: int) -> Arrivals:
        return Arrivals(self._script, self._sockets[descriptor].send)

    def _receive(self, descriptor: int, arrivals: Arrivals) -> None:
        data = self._read(descriptor)
        if not data:
            self._ended += 1
            self._close(descriptor)
            return
        before = arrivals.place
        arrivals.feed(data)
        if before < arrivals.place == len(self._script):
            self._unfinished -= 1

    def _read(self, descriptor: int) -> bytes:
        try:
            return self._sockets[descriptor].recv(_RECEIVE_BYTES)
        except OSError:
            return b""

    def _close(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        self._shaking.pop(descriptor, None)
        self._arrivals.pop(descriptor, None)
        self._sockets.pop(descriptor).close()


if __name__ == "__main__":
    # Ctrl-C is for who started this
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Crowd().run()
