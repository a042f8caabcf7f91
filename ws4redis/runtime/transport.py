"""A stream socket that is written to directly, with an outbox for what the kernel does not take."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING

from ws4redis.runtime.outbox import Outbox, OutboxFull

if TYPE_CHECKING:
    from ws4redis.runtime.port import Runtime, Watcher
    from ws4redis.runtime.sockets import StreamSocket

logger = logging.getLogger("django.request")

#: bytes taken from the kernel at once
_READ_SIZE = 1 << 14

#: a peer that has closed its socket is noticed by the reader: no signal, no line in the log of uWSGI
SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)


def _or_abort(callback: Callable[[Transport], None]) -> Callable[[Transport], None]:
    """What escaped to the loop would stop the watcher for good, and nobody would know."""

    @wraps(callback)
    def guarded(transport: Transport) -> None:
        try:
            callback(transport)
        except Exception as error:
            tell = partial(logger.error, "a websocket failed, it is closed", exc_info=error)
            try:
                transport.abort()
            finally:
                transport._runtime.spawn(tell)

    return guarded


class Transport:
    """Both directions of a connected socket; the loop calls back, no greenlet waits.

    A base class, for an object of its own would cost memory for each of many thousand clients.

    Args:
        runtime: the kind of concurrency.
        connected: the socket, non-blocking, owned by this object from now on.
        outbox_size: bytes that may wait for the peer.
    """

    __slots__ = ("_outbox_size", "_reader", "_runtime", "_socket", "_writer", "closed", "outbox", "paused")

    def __init__(self, runtime: Runtime, connected: StreamSocket, outbox_size: int) -> None:
        self._runtime = runtime
        self._socket = connected
        self._reader: Watcher = runtime.watch_readable(connected.fileno())
        self._writer: Watcher | None = None
        #: what the kernel has not taken; None where that is nothing
        self.outbox: Outbox | None = None
        self._outbox_size = outbox_size
        #: what the peer sends waits in the kernel
        self.paused = True
        #: the descriptor is closed
        self.closed = False

    # for the subclass to override

    def data_received(self, data: bytes) -> None:
        """These are the next bytes; none at all mean that the peer has left."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """The kernel has no room; an outbox will be there when this returns."""

    def resume_writing(self) -> None:
        """The kernel has taken all that waited."""

    def outbox_full(self, outbox: Outbox, data: bytes) -> None:
        """There is no room for ``data``."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close the descriptor at once: watchers first, for a watcher on a closed descriptor aborts the process."""
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        self.closed = True
        self.outbox = None
        self._socket.close()

    # by the owner

    def get_file_descriptor(self) -> int:
        return self._socket.fileno()

    @property
    def peer_has_left(self) -> bool:
        """The peer has closed its end, or the connection is broken; known without reading."""
        return self._runtime.has_hung_up(self._socket.fileno())

    @property
    def stalled(self) -> int:
        """For how many ticks the kernel has taken nothing of what waits; 0 where nothing waits."""
        return 0 if self.outbox is None else self._runtime.ticks - self.outbox.moved

    def has_room(self, size: int) -> bool:
        """True where half of the outbox takes ``size`` bytes more; always, where nothing waits."""
        return self.outbox is None or len(self.outbox) + size <= self._outbox_size // 2

    def sent(self, data: bytes, result: int) -> None:
        """Account for a send made by others: ``result`` is the number of bytes taken, or a negative errno."""
        if result < 0:
            self._not_sent(data, OSError(-result, os.strerror(-result)))
        elif result < len(data):
            self._keep(data, result)

    # by the loop

    @_or_abort
    def _readable(self) -> None:
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.data_received(data)

    @_or_abort
    def _writable(self) -> None:
        assert self.outbox is not None and self._writer is not None
        waiting = len(self.outbox)
        try:
            self.outbox.flush(self._send)
        except OSError:
            self.abort()
            return
        if len(self.outbox) < waiting:
            self.outbox.moved = self._runtime.ticks
        if not self.outbox:
            self.outbox = None
            self._writer.close()
            self._writer = None
            self.resume_writing()

    # by the subclass

    def _start_reading(self) -> None:
        if self.paused and not self.closed:
            self.paused = False
            self._reader.start(self._readable)

    def _stop_reading(self) -> None:
        if not self.paused and not self.closed:
            self.paused = True
            self._reader.stop()

    def _transmit(self, data: bytes) -> None:
        if self.outbox is not None:
            self._queue(self.outbox, data, 0)
        elif not self.closed:
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        """Nothing waits: the kernel gets it."""
        try:
            sent = self._socket.send(data, SEND_FLAGS)
        except OSError as error:
            self._not_sent(data, error)
        else:
            if sent < len(data):
                self._keep(data, sent)

    def _not_sent(self, data: bytes, error: OSError) -> None:
        if isinstance(error, BlockingIOError):
            self._keep(data, 0)
        else:
            self.abort()

    def _keep(self, data: bytes, sent: int) -> None:
        """The kernel has no room for the rest."""
        try:
            self.pause_writing()
            self.outbox = Outbox(self._outbox_size, self._runtime.ticks)
            self._queue(self.outbox, data, sent)
            self._writer = self._runtime.watch_writable(self._socket.fileno())
            self._writer.start(self._writable)
        except BaseException:  # what was begun cannot be finished
            self.abort()
            raise

    def _send(self, data: memoryview) -> int:
        return self._socket.send(data, SEND_FLAGS)

    def _queue(self, outbox: Outbox, data: bytes, sent: int) -> None:
        try:
            outbox.put(data, sent)
        except OutboxFull:
            self.outbox_full(outbox, data)
