"""The connection on which Redis tells one process what was published."""

from __future__ import annotations

import select
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis import Redis
from redis.connection import UnixDomainSocketConnection
from redis.exceptions import ResponseError

from ws4redis.exceptions import RedisUnavailable
from ws4redis.redis_client import options_of, redis_errors

#: how much one read takes from the kernel, in bytes
_READ_SIZE = 1 << 18

_CONNECT_SECONDS = 2


class Subscription:
    """Speaks RESP3, where commands are answered between the publications.

    A key that is read here is therefore read at a known point of the stream: what came before is older, what comes
    after is newer.

    Args:
        client: how its connections are made, so is this one.
    """

    def __init__(self, client: Redis) -> None:
        connection_class, options = options_of(client)
        options["protocol"] = 3
        if not issubclass(connection_class, UnixDomainSocketConnection):
            options.setdefault("socket_keepalive", True)
        # it is tried again soon, which may be the quicker way back
        options["socket_connect_timeout"] = min(options["socket_connect_timeout"], _CONNECT_SECONDS)
        self._connection = connection_class(**options)
        self._reader = hiredis.Reader()
        with redis_errors():
            self._connection.connect()
            # redis-py's own parser costs some twenty times as much for each publication
            connected = self._connection._sock
            # silence is normal from now on
            connected.settimeout(None)
        self._wire = _TLSWire(connected) if isinstance(connected, ssl.SSLSocket) else connected

    def send(self, commands: Sequence[Sequence[str | bytes]]) -> None:
        with redis_errors():
            self._wire.sendall(b"".join(hiredis.pack_command(tuple(command)) for command in commands))

    def receive(self) -> list[Any]:
        """All that Redis has sent; waits where that is nothing yet. Pushes are lists, ``is_push`` tells them apart.

        Raises:
            RedisUnavailable: the connection is lost.
            ResponseError: Redis refuses what was asked.
        """
        replies: list[Any] = []
        while not replies:
            with redis_errors():
                data = self._wire.recv(_READ_SIZE)
            if not data:
                raise RedisUnavailable("Redis closed the subscription")
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.ReplyError):
                    raise ResponseError(f"Redis refuses the subscription: {reply}")
                replies.append(reply)
        return replies

    def close(self) -> None:
        self._connection.disconnect()


def is_push(reply: Any) -> bool:
    return isinstance(reply, hiredis.PushNotification)


class _TLSWire:
    """TLS that one thread reads and another writes: OpenSSL wants them one at a time, so neither waits inside it."""

    def __init__(self, connected: ssl.SSLSocket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._lock = threading.Lock()

    def recv(self, size: int) -> bytes:
        return self._when_ready(lambda: self._socket.recv(size))  # type: ignore[no-any-return]

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._when_ready(lambda: self._socket.send(rest)) :]  # noqa: B023  called at once

    def _when_ready(self, attempt: Callable[[], Any]) -> Any:
        while True:
            try:
                with self._lock:
                    return attempt()
            except ssl.SSLWantReadError:
                event = select.POLLIN
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
            poller = select.poll()
            poller.register(self._socket, event)
            # not for ever: the other thread may have read what this one waits for
            poller.poll(1000)
