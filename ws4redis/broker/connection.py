"""The connection on which one process receives publications."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import hiredis
from redis import Redis
from redis.connection import UnixDomainSocketConnection

from ws4redis.broker.client import options_of, redis_errors, socket_of, without_gevent
from ws4redis.exceptions import RedisUnavailable
from ws4redis.runtime.outbox import Outbox

if TYPE_CHECKING:
    from ws4redis.runtime.port import Runtime, Watcher

#: how much one read takes from the kernel, in bytes
_READ_SIZE = 1 << 18

_CONNECT_SECONDS = 2

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SubscriberConnection:
    """Speaks RESP3, where commands are answered between the publications.

    A key that is read here is therefore read at a known point of the stream: what came before is older, what comes
    after is newer. Only the constructor waits.

    Args:
        client: this connection is made as the client's are.

    Raises:
        RedisUnavailable: there is no connection.
    """

    def __init__(self, runtime: Runtime, client: Redis) -> None:
        connection_class, options = options_of(client)
        options["protocol"] = 3
        if not issubclass(connection_class, UnixDomainSocketConnection):
            options.setdefault("socket_keepalive", True)
        # a retry follows soon, and may connect sooner than a long wait
        options["socket_connect_timeout"] = min(options["socket_connect_timeout"], _CONNECT_SECONDS)
        self._runtime = runtime
        self._connection = connection_class(**options)
        self._parser = hiredis.Reader()
        # used again, for the system maps and unmaps the memory of such a large one each time
        self._received = bytearray(_READ_SIZE)
        self._commands: list[bytes] = []
        self._outbox = Outbox(sys.maxsize)
        self._failure: Exception | None = None
        self._reader: Watcher | None = None
        self._writer: Watcher | None = None
        with redis_errors():
            self._connection.connect()
            # redis-py's own parser costs some twenty times as much for each publication
            socket_of(self._connection).setblocking(False)
        self._socket = without_gevent(socket_of(self._connection))
        #: bytes that OpenSSL has read beyond what it was asked for
        self._pending: Callable[[], int] | None = getattr(self._socket, "pending", None)

    def start(self, replied: Callable[[list[Any]], None], lost: Callable[[Exception], None]) -> None:
        """Report what Redis sends, and the end, by callbacks of the loop, in no greenlet.

        Args:
            replied: is given the replies of one read; publications and confirmations are each a ``Push``.
            lost: is given RedisUnavailable.
        """
        self._replied = replied
        self._lost = lost
        self._reader = self._runtime.watch_readable(self._socket.fileno())
        self.resume()

    def pause(self) -> None:
        """Let what Redis sends wait."""
        if self._reader is not None:
            self._reader.stop()

    def resume(self) -> None:
        if self._reader is not None:
            self._reader.start(self._readable)

    def send(self, command: Sequence[str | bytes]) -> None:
        """Sent in one piece with all other commands of this callback."""
        # for each, though the first sends all: a flush that could not be called is made up for by the next
        self._runtime.call_soon(self._flush)
        self._commands.append(hiredis.pack_command(tuple(command)))

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken."""
        return len(self._outbox)

    def shutdown(self, error: Exception | None = None) -> None:
        """End the connection as if Redis had closed it; ``lost`` follows."""
        unexpected = error is not None and not isinstance(error, OSError)
        self._failure = error if unexpected else RedisUnavailable("the subscription has ended")
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Nothing is reported any more; watchers first, for a watcher on a closed descriptor aborts the process."""
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        for watcher in (reader, writer):
            if watcher is not None:
                watcher.close()
        self._connection.disconnect()

    # called by the loop

    def _readable(self) -> None:
        try:
            replies = self._receive()
        except _WOULD_BLOCK:
            return
        except OSError as error:
            self._lost(RedisUnavailable(f"Redis is not available: {error}"))
            return
        except Exception as error:
            self._lost(error)
            return
        try:
            self._replied(replies)
        except Exception as error:
            self._lost(error)

    def _receive(self) -> list[Any]:
        """All that Redis has sent."""
        while True:
            if self._failure is not None:
                raise self._failure
            size = self._socket.recv_into(self._received)
            if not size:
                raise RedisUnavailable("the subscription has ended")
            self._parser.feed(self._received, 0, size)
            if self._pending is None or not self._pending():
                break
        replies: list[Any] = []
        gets = self._parser.gets
        while (reply := gets()) is not False:
            replies.append(reply)
        return replies

    def _flush(self) -> None:
        if self._reader is None or not self._commands:
            return
        try:
            data, self._commands = b"".join(self._commands), []
            self._outbox.put(data)
            if self._writer is None:
                self._write()
        except Exception as error:
            self.shutdown(error)

    def _writable(self) -> None:
        try:
            self._write()
        except Exception as error:
            self.shutdown(error)

    def _write(self) -> None:
        self._outbox.flush(self._send)
        if self._outbox and self._writer is None:
            self._writer = self._runtime.watch_writable(self._socket.fileno())
            self._writer.start(self._writable)
        elif self._writer is not None and not self._outbox:
            self._writer.close()
            self._writer = None

    def _send(self, data: memoryview) -> int:
        try:
            sent: int = self._socket.send(data)
        except _WOULD_BLOCK:
            sent = 0
        if not sent:  # so says gevent's TLS
            raise BlockingIOError
        return sent


#: what Redis sends unasked, a list
Push = hiredis.PushNotification
