"""How to reach Redis: one client with a bounded pool, for all of a process but its subscription."""

from __future__ import annotations

import inspect
import socket
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ws4redis import settings
from ws4redis.core.deprecated import callers_level
from ws4redis.exceptions import RedisUnavailable
from ws4redis.runtime.borrowed import must_have

#: arguments of redis-py's that mean nothing any more -> why
GONE = {
    "charset": "what comes from Redis is bytes, and what goes there is UTF-8",
    "errors": "nothing that comes from Redis is decoded",
    "single_connection_client": "the connections of a process are a pool",
}

must_have("redis", ConnectionPool, "_checkpid")
must_have("redis", Connection(), "_sock", "_parser")

#: the beginnings of arguments that redis-py's pools add to their connections'
_OF_THE_POOL = ("maint_notifications", "orig_", "himport", "health_check_interval", "max_connections")


@contextmanager
def redis_errors() -> Iterator[None]:
    """That Redis is away, or refuses what it is asked, becomes our own error."""
    try:
        yield
    except RedisUnavailable:
        raise
    except (ResponseError, BusyLoadingError) as error:
        raise RedisUnavailable(f"Redis refuses: {error}") from error
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
    for name in GONE:
        if name in options:
            del options[name]
            warnings.warn(f"WS4REDIS_CONNECTION: {name} is left out: {GONE[name]}", DeprecationWarning, callers_level())
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


_serves_browser: ContextVar[bool] = ContextVar("ws4redis_serves_browser", default=False)


@contextmanager
def serving_browser() -> Iterator[None]:
    """What is done in here is done for a browser, in this greenlet or thread: some connections are left to others."""
    token = _serves_browser.set(True)
    try:
        yield
    finally:
        _serves_browser.reset(token)


class BoundedPool(ConnectionPool):
    """At most ``max_connections``, of which browsers get three quarters; later callers wait, first come, first served.

    Not redis-py's BlockingConnectionPool: its queue is gevent's where gevent has patched, and that belongs to the
    thread that made it, while hooks publish from others.

    Args:
        patience: seconds that a caller waits for a connection at most.
    """

    def __init__(self, patience: float, **options: Any) -> None:
        self._patience = patience
        super().__init__(**options)

    def reset(self) -> None:
        super().reset()
        size = self.max_connections
        self._all = (_Room(size),)
        # who comes here is served by a view, which must not queue behind every browser that has something to say
        self._browsers = (_Room(max(1, size - max(1, size // 4))), *self._all)

    def get_connection(self, *args: Any, **options: Any) -> Any:
        self._checkpid()
        rooms = self._enter()
        try:
            connection = _get_connection(self, *args, **options)
        except BaseException:
            _leave(rooms)
            raise
        connection.rooms = rooms
        return connection

    def _enter(self) -> tuple[_Room, ...]:
        """Wait until there is room in all that apply, which are returned."""
        rooms = self._browsers if _serves_browser.get() else self._all
        entered = 0
        try:
            for room in rooms:
                if not room.enter(self._patience):
                    busy = f"all {self.max_connections} connections are busy (WS4REDIS_MAX_CONNECTIONS)"
                    raise RedisConnectionError(busy)
                entered += 1
        except BaseException:
            _leave(rooms[:entered])
            raise
        return rooms

    def make_connection(self) -> Any:
        """One that tells at once that it is at rest, which the pool asks before each use."""
        connection: Any = super().make_connection()
        ask = connection.can_read

        def can_read(timeout: float = 0) -> bool:
            return not (timeout == 0 and _is_at_rest(connection)) and bool(ask(timeout))

        connection.can_read = can_read
        return connection

    def release(self, connection: Any) -> None:
        # none where it was not handed out: it could not connect, or was released before, or a fork has left it behind
        rooms = vars(connection).pop("rooms", ())
        super().release(connection)
        _leave(rooms)


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


def socket_of(connection: AbstractConnection) -> Any:
    """The socket of a connection that is open."""
    return connection._sock


def without_gevent(connected: Any) -> Any:
    """The system's socket, which does not block, inside one of gevent's, which waits; any other one as it is."""
    return connected if hasattr(connected, "pending") else getattr(connected, "_sock", connected)


class _Room:
    """A semaphore, first come, first served.

    It takes no lock while there is room: patched ones were a seventh of what publishing costs. Not ``Semaphore``, for
    that lets a caller overtake the one that it has just woken: among hundreds, some waited until they gave up.
    """

    def __init__(self, size: int) -> None:
        self._free = deque([None] * size)
        #: a lock of each that waits, in order; it is released when their turn has come
        self._waiting: deque[threading.Lock] = deque()
        self._handing_out = threading.Lock()

    def enter(self, patience: float) -> bool:
        """False where there is no room for so many seconds."""
        return (not self._waiting and self._try()) or self._wait(patience)

    def leave(self) -> None:
        self._free.append(None)
        # whoever begins to wait later looks once more
        if self._waiting:
            self._hand_out()

    def _try(self) -> bool:
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def _hand_out(self) -> None:
        with self._handing_out:
            while self._waiting and self._try():
                self._waiting.popleft().release()

    def _wait(self, patience: float) -> bool:
        turn = threading.Lock()
        turn.acquire()
        self._waiting.append(turn)
        self._hand_out()
        try:
            return turn.acquire(timeout=patience) or not self._withdraw(turn)
        except BaseException:
            if not self._withdraw(turn):
                self.leave()
            raise

    def _withdraw(self, turn: threading.Lock) -> bool:
        """Wait no longer; False where the turn has come meanwhile."""
        with self._handing_out:
            try:
                self._waiting.remove(turn)
            except ValueError:
                return False
            return True


def _leave(rooms: tuple[_Room, ...]) -> None:
    for room in rooms:
        room.leave()


class _Shared:
    """The one client of this process; made anew when ``WS4REDIS_CONNECTION`` has changed.

    A publisher may have no server that hands options down: how many connections there may be, and how long they may
    take, is read when it is made.
    """

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._made: tuple[Any, Redis] | None = None

    def client(self) -> Redis:
        wanted = settings.WS4REDIS_CONNECTION
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
