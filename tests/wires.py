"""A websocket at one end of a pair of sockets, with a loop that the test turns by hand."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from ws4redis.websocket import WebSocket


class Watcher:
    def __init__(self, loop: Loop, descriptor: int, event: int) -> None:
        self.loop, self.descriptor, self.event = loop, descriptor, event
        self.callback: Callable[[], Any] | None = None
        self.closed = False

    def start(self, callback: Callable[[], Any]) -> None:
        assert not self.closed
        self.callback = callback

    def stop(self) -> None:
        self.callback = None

    def close(self) -> None:
        os.fstat(self.descriptor)  # fails where the descriptor was closed first, on which gevent's loop aborts
        self.callback = None
        self.closed = True


class Loop:
    """A runtime of one thread."""

    lock = nullcontext()

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self.ticks = 0

    def watch_readable(self, descriptor: int) -> Watcher:
        return self._watch(descriptor, select.POLLIN)

    def watch_writable(self, descriptor: int) -> Watcher:
        return self._watch(descriptor, select.POLLOUT)

    def _watch(self, descriptor: int, event: int) -> Watcher:
        self.watchers.append(Watcher(self, descriptor, event))
        return self.watchers[-1]

    def turn(self, seconds: float = 0) -> bool:
        """Call those whose descriptors are ready; False where none is."""
        any_called = False
        for watcher in [each for each in self.watchers if each.callback]:
            poll = select.poll()
            poll.register(watcher.descriptor, watcher.event)
            if poll.poll(seconds * 1000) and watcher.callback:
                watcher.callback()
                any_called = True
        return any_called


class Owner:
    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.losses = self.closings = self.inflated = 0
        #: its messages are being handled
        self.busy = False
        self.then: Callable[[], object] = lambda: None
        self.unlist: Callable[[], object] = lambda: None
        self.left: Callable[[], object] = lambda: None

    def drained(self) -> None:
        pass

    def closing(self) -> None:
        self.closings += 1

    def received(self, messages: list[str | bytes], frames: int, size: int, inflated: int) -> bool:
        assert not self.losses, "nothing follows after lost()"
        self.messages += messages
        self.inflated += inflated
        if messages:
            self.then()
        return self.busy

    def lost(self) -> None:
        self.losses += 1
        self.left()


class Wire:
    def __init__(self, ends: tuple[socket.socket, socket.socket], **limits: int) -> None:
        self.server, self.browser = ends
        for end in ends:
            end.setblocking(False)
        self.loop, self.owner = Loop(), Owner()
        self.websocket = WebSocket(self.loop, self.server, **limits)
        self.websocket.start(self.owner)
        self.at_end = False

    def run(self) -> None:
        while self.loop.turn():
            pass

    def say(self, data: bytes) -> None:
        self.browser.sendall(data)
        self.run()

    def hear(self) -> bytes:
        """All that arrives, until nothing more does."""
        data = b""
        while not self.at_end:
            self.run()
            try:
                part = self.browser.recv(1 << 16)
            except BlockingIOError:
                break
            data += part
            self.at_end = not part
        return data

    def frames(self) -> list[tuple[int, bytes]]:
        """Opcodes and payloads of what arrives, which must be whole frames."""
        return parsed(self.hear())

    @property
    def is_over(self) -> bool:
        """Descriptor and watchers are closed and the owner knows, all once."""
        over = self.websocket.closed
        assert over == (self.server.fileno() == -1) == (self.owner.losses == 1)
        assert not over or all(each.closed for each in self.loop.watchers)
        assert self.owner.losses <= 1
        return over


def parsed(data: bytes) -> list[tuple[int, bytes]]:
    frames = []
    while data:
        assert data[0] & 0xF0 == 0x80, f"no frame of a server begins with {data[:8]!r}"
        size, start = data[1], 2
        if size in (126, 127):
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        assert len(data) >= start + size, f"a frame of {size} bytes has only {len(data) - start}"
        frames.append((data[0] & 0x0F, data[start : start + size]))
        data = data[start + size :]
    return frames


@pytest.fixture
def make_wire() -> Iterator[Callable[..., Wire]]:
    wires: list[Wire] = []

    def make(ends: tuple[socket.socket, socket.socket] | None = None, **limits: int) -> Wire:
        wires.append(Wire(ends or socket.socketpair(), **limits))
        return wires[-1]

    yield make
    for wire in wires:
        wire.websocket.abort()
        assert wire.is_over
        wire.browser.close()


@pytest.fixture
def wire(make_wire: Callable[..., Wire]) -> Wire:
    return make_wire()


@pytest.fixture
def narrow(make_wire: Callable[..., Wire]) -> Callable[..., Wire]:
    """A wire whose kernel buffers are small."""

    def make(outbox_size: int) -> Wire:
        ends = socket.socketpair()
        ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return make_wire(ends, outbox_size=outbox_size)

    return make
