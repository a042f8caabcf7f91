"""How to reach Redis: one client with a bounded pool, for all of a process but its subscription."""

from __future__ import annotations

import inspect
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils.module_loading import import_string
from redis import Redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ws4redis import settings
from ws4redis.exceptions import RedisUnavailable

#: the beginnings of arguments that redis-py's pools add to their connections'
_OF_THE_POOL = ("maint_notifications", "orig_", "himport", "health_check_interval", "max_connections")


@contextmanager
def redis_errors() -> Iterator[None]:
    """Redis being away becomes our own error; that it refuses a command is the caller's affair."""
    try:
        yield
    except RedisUnavailable:
        raise
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise RedisUnavailable(f"Redis is not available: {error}") from error


def connection_options() -> tuple[type[AbstractConnection], dict[str, Any]]:
    """The class of connections and its arguments, from ``WS4REDIS_CONNECTION``.

    Raises:
        TypeError: the setting's function returns no ``redis.Redis``.
    """
    given = settings.WS4REDIS_CONNECTION
    if isinstance(given, str) and "://" not in given:
        given = import_string(given)
    if callable(given):
        connection_class, options = options_of(given())
        options.pop("retry", None)
    else:
        connection_class, options = _named_options(parse_url(given) if isinstance(given, str) else dict(given))
    options.pop("timeout", None)
    # PUBLISH is not idempotent: after an error nobody knows whether Redis did it, so nothing is tried twice
    return connection_class, _bounded({"retry": Retry(NoBackoff(), 0), **options})


def _bounded(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of connections that return bytes and do not wait for ever."""
    for name in ("socket_timeout", "socket_connect_timeout"):
        if options.get(name) is None:
            options[name] = settings.WS4REDIS_TIMEOUT
    return {**options, "decode_responses": False}


def _named_options(options: dict[str, Any]) -> tuple[type[AbstractConnection], dict[str, Any]]:
    connection_class = options.pop("connection_class", Connection)
    if path := options.pop("unix_socket_path", None):
        connection_class = UnixDomainSocketConnection
        options["path"] = path
        for name in ("host", "port"):
            options.pop(name, None)
    if options.pop("ssl", False):
        connection_class = SSLConnection
    return connection_class, options


def options_of(client: Any) -> tuple[type[AbstractConnection], dict[str, Any]]:
    """What a client makes its connections of, without what its pool adds for itself."""
    if not isinstance(client, Redis):
        raise TypeError(f"the function in WS4REDIS_CONNECTION must return a redis.Redis, not {client!r}")
    pool = client.connection_pool
    options = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith(_OF_THE_POOL)}
    return pool.connection_class, _bounded(options)


#: without the decorator that looks for deprecated arguments, which was 2 % of what publishing costs
_get_connection = inspect.unwrap(ConnectionPool.get_connection)


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
        self._room = _Room(self.max_connections)

    def get_connection(self, *args: Any, **options: Any) -> Any:
        self._checkpid()
        if not self._room.enter(self._patience):
            raise RedisConnectionError(f"all {self.max_connections} connections are busy (WS4REDIS_MAX_CONNECTIONS)")
        return _get_connection(self, *args, **options)  # releases the connection where it cannot connect

    def make_connection(self) -> Any:
        """One that tells at once that it is at rest, which the pool asks before each use."""
        connection: Any = super().make_connection()
        ask = connection.can_read

        def can_read(timeout: float = 0) -> bool:
            return not (timeout == 0 and _is_at_rest(connection)) and bool(ask(timeout))

        connection.can_read = can_read
        return connection

    def release(self, connection: Any) -> None:
        super().release(connection)
        self._room.leave()


def _is_at_rest(connection: Any) -> bool:
    """Whether it is open and Redis has said nothing, as far as a socket of gevent's tells without waiting.

    redis-py asks ``poll()``. Where gevent has patched it, that is a round through its loop for each message published.
    """
    reader, plain = getattr(connection._parser, "_reader", None), without_gevent(connection._sock)
    if reader is None or plain is connection._sock or reader.has_data():
        return False
    try:
        plain.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def without_gevent(connected: Any) -> Any:
    """The system's socket, which does not block, inside one of gevent's, which waits; any other one as it is."""
    return connected if hasattr(connected, "pending") else getattr(connected, "_sock", connected)


class _Room:
    """A semaphore that takes no lock while there is room: patched ones were a seventh of what publishing costs."""

    def __init__(self, size: int) -> None:
        self._free = deque([None] * size)
        self._left = threading.Condition()
        self._waiting = 0

    def enter(self, patience: float) -> bool:
        return self._try() or self._wait(patience)

    def leave(self) -> None:
        self._free.append(None)
        # whoever begins to wait later looks once more
        if self._waiting:
            with self._left:
                self._left.notify()

    def _try(self) -> bool:
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def _wait(self, patience: float) -> bool:
        with self._left:
            self._waiting += 1
            try:
                return self._left.wait_for(self._try, patience)
            finally:
                self._waiting -= 1


class _Shared:
    """The one client of this process; made anew when the settings that it was made from have changed."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._made: tuple[tuple[Any, ...], Redis] | None = None

    def client(self) -> Redis:
        wanted = (settings.WS4REDIS_CONNECTION, settings.WS4REDIS_TIMEOUT, settings.WS4REDIS_MAX_CONNECTIONS)
        made = self._made
        if made is None or made[0] != wanted:
            with self._making:
                made = self._made
                if made is None or made[0] != wanted:
                    made = self._made = (wanted, _make_client())
        return made[1]


def _make_client() -> Redis:
    connection_class, options = connection_options()
    options.setdefault("max_connections", settings.WS4REDIS_MAX_CONNECTIONS)
    connection_class(**{name: value for name, value in options.items() if name != "max_connections"})  # are they valid?
    pool = BoundedPool(settings.WS4REDIS_TIMEOUT, connection_class=connection_class, **options)
    return SharedClient(connection_pool=pool)


class SharedClient(Redis):
    """The client of a whole process."""

    def pubsub(self, **options: Any) -> PubSub:
        """Not on a connection of the pool: it would be kept as long as somebody listens."""
        return own_pubsub(self)


def own_pubsub(client: Redis) -> PubSub:
    """A subscription of redis-py's on a connection that belongs to no pool of ours; reads wait without end."""
    connection_class, options = options_of(client)
    return PubSub(ConnectionPool(connection_class, **(options | {"protocol": 2, "socket_timeout": None})))


#: ``client()`` returns the client with which this process publishes and fetches
client = _Shared().client
