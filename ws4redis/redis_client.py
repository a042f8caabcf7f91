"""How to reach Redis: a bounded pool that publishes, and the connection that listens."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hiredis
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import (
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ws4redis import settings
from ws4redis.exceptions import RedisUnavailable

#: how much one read of the subscription takes from the kernel, in bytes
_READ_SIZE = 1 << 18


@contextmanager
def redis_errors() -> Iterator[None]:
    """Redis being away becomes our own error; that it refuses a command is the caller's affair."""
    try:
        yield
    except RedisUnavailable:
        raise
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise RedisUnavailable(f"Redis is not available: {error}") from error


def connection_options() -> tuple[type[Connection], dict[str, Any]]:
    """The class of connections and its arguments, from ``WS4REDIS_CONNECTION``."""
    given = settings.WS4REDIS_CONNECTION
    options = parse_url(given) if isinstance(given, str) else dict(given)
    connection_class = options.pop("connection_class", Connection)
    if path := options.pop("unix_socket_path", None):
        connection_class = UnixDomainSocketConnection
        options["path"] = path
        for name in ("host", "port"):
            options.pop(name, None)
    if options.pop("ssl", False):
        connection_class = SSLConnection
    options.pop("timeout", None)
    options.setdefault("socket_timeout", settings.WS4REDIS_TIMEOUT)
    options.setdefault("socket_connect_timeout", settings.WS4REDIS_TIMEOUT)
    # PUBLISH is not idempotent: after an error nobody knows whether Redis did it, so nothing is tried twice
    options.setdefault("retry", Retry(NoBackoff(), 0))
    options["decode_responses"] = False
    return connection_class, options


class BoundedPool(ConnectionPool):
    """At most ``max_connections``; who comes later waits, ``patience`` seconds at most.

    Not redis-py's BlockingConnectionPool: its queue is gevent's where gevent has patched, and that belongs to the
    thread that made it, while hooks publish from others.
    """

    def __init__(self, patience: float, **options: Any) -> None:
        self._patience = patience
        super().__init__(**options)

    def reset(self) -> None:
        super().reset()
        self._room = threading.BoundedSemaphore(self.max_connections)

    def get_connection(self, *args: Any, **options: Any) -> Any:
        self._checkpid()
        if not self._room.acquire(timeout=self._patience):
            raise RedisConnectionError(f"all {self.max_connections} connections are busy (WS4REDIS_MAX_CONNECTIONS)")
        return super().get_connection(*args, **options)  # releases the connection where it cannot connect

    def release(self, connection: Any) -> None:
        super().release(connection)
        self._room.release()


class _Shared:
    """The one client of this process; made anew when the settings that it was made from have changed."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._made: tuple[tuple[Any, ...], Redis] | None = None

    def client(self) -> Redis:
        wanted = (settings.WS4REDIS_CONNECTION, settings.WS4REDIS_TIMEOUT, settings.WS4REDIS_MAX_CONNECTIONS)
        with self._making:
            if self._made is None or self._made[0] != wanted:
                self._made = (wanted, _make_client())
            return self._made[1]


def _make_client() -> Redis:
    connection_class, options = connection_options()
    options.setdefault("max_connections", settings.WS4REDIS_MAX_CONNECTIONS)
    connection_class(**{name: value for name, value in options.items() if name != "max_connections"})  # are they valid?
    return Redis(connection_pool=BoundedPool(settings.WS4REDIS_TIMEOUT, connection_class=connection_class, **options))


#: ``client()`` returns the client with which this process publishes and fetches
client = _Shared().client


class Subscription:
    """The connection on which Redis tells one process what was published.

    It speaks RESP3, where commands are answered between the publications. A key that is read here is therefore read
    at a known point of the stream: what came before is older, what comes after is newer.
    """

    def __init__(self) -> None:
        connection_class, options = connection_options()
        options |= {"protocol": 3, "socket_keepalive": options.get("socket_keepalive", True)}
        for name in ("max_connections", "health_check_interval"):
            options.pop(name, None)
        if connection_class is UnixDomainSocketConnection:
            options.pop("socket_keepalive")
        self._connection = connection_class(**options)
        self._reader = hiredis.Reader()
        with redis_errors():
            self._connection.connect()
            # redis-py's own parser costs some twenty times as much for each publication
            self._socket = self._connection._sock
            # silence is normal from now on
            self._socket.settimeout(None)

    def send(self, commands: Sequence[Sequence[str | bytes]]) -> None:
        with redis_errors():
            self._socket.sendall(b"".join(hiredis.pack_command(tuple(command)) for command in commands))

    def receive(self) -> list[Any]:
        """All that Redis has sent; waits where that is nothing yet. Pushes are lists, ``is_push`` tells them apart.

        Raises:
            RedisUnavailable: the connection is lost.
            ResponseError: Redis refuses what was asked.
        """
        replies: list[Any] = []
        while not replies:
            with redis_errors():
                data = self._socket.recv(_READ_SIZE)
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
