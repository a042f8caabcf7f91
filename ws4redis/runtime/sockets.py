"""Stream sockets: what is asked of them, how they are set up, and whether the peer is still there."""

from __future__ import annotations

import select
import socket
from typing import Any, Protocol

#: bytes that the kernel takes of what it cannot send yet; without this up to 4 MiB (tcp_wmem) for each that never reads
_UNSENT_SIZE = 1 << 17

#: milliseconds in which the other end acknowledges nothing, or has no room, before the kernel gives up; a minute,
#: because the client itself may be silent for as long
_UNACKNOWLEDGED_MILLISECONDS = 60_000

#: over TCP, as far as the system has them; Nagle's delay would hold back the second of two frames
_OPTIONS = [
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", _UNSENT_SIZE),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", _UNACKNOWLEDGED_MILLISECONDS),
    )
    if hasattr(socket, name)
]


def configure_socket(connected: Any) -> None:
    """Make a socket non-blocking, and bound what the kernel does for it."""
    connected.setblocking(False)
    if connected.family in (socket.AF_INET, socket.AF_INET6):
        for option in _OPTIONS:
            connected.setsockopt(*option)


class StreamSocket(Protocol):
    """A stream socket that does not block: ``recv`` and ``send`` raise BlockingIOError where they would."""

    def fileno(self) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def send(self, data: bytes | memoryview, flags: int, /) -> int: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


#: some systems tell it to readers only
_EVENTS = getattr(select, "POLLRDHUP", 0)


def has_hung_up(poll: Any, descriptor: int) -> bool:
    """Whether the peer has closed its end, or the connection is broken; does not wait.

    Args:
        poll: the system's ``select.poll``, which gevent replaces by one that switches greenlets.
    """
    poller = poll()
    poller.register(descriptor, _EVENTS)
    return bool(poller.poll(0))
