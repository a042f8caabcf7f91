"""The Redis client of a process, with a bounded pool; for all but the subscription."""

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
    """Turn redis-py's errors, of a lost Redis or of a rejected command, into ``RedisUnavailable``."""
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
    # PUBLISH is not idempotent: after an error it is not known whether Redis did it, so nothing is retried
    return connection_class, _bounded({"retry": Retry(NoBackoff(), 0), **options})


def _bounded(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of connections that return bytes and time out."""
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
    """The class and the arguments of a client's connections, without what its pool adds for itself."""
    if not isinstance(client, Redis):
        raise TypeError(f"the function in WS4REDIS_CONNECTION must return a redis.Redis, not {client!r}")
    pool = client.connection_pool
    options = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith(_OF_THE_POOL)}
    return pool.connection_class, _bounded(options)


#: without the decorator that looks for deprecated arguments, which was 2 % of what publishing costs
_get_connection = inspect.unwrap(ConnectionPool.get_connection)


_serves_client: ContextVar[bool] = ContextVar("ws4redis_serves_client", default=False)


@contextmanager
def serving_client() -> Iterator[None]:
    """Mark this greenlet or thread as working for a client: some connections are left to the site's views."""
    token = _serves_client.set(True)
    try:
        yield
    finally:
        _serves_client.reset(token)


class BoundedPool(ConnectionPool):
    """At most ``max_connections``, of which clients get three quarters; later callers wait, first come, first served.

    Not redis-py's BlockingConnectionPool: its queue is gevent's where gevent has patched, and that belongs to the
    thread that made it, while hooks publish from others.

    Args:
        timeout: seconds that a caller waits for a connection, at most.
    """

    def __init__(self, timeout: float, **options: Any) -> None:
        self._timeout = timeout
        super().__init__(**options)

    def reset(self) -> None:
        super().reset()
        size = self.max_connections
        self._for_all = (_FairSemaphore(size),)
        # a view must not queue behind all clients that publish
        self._for_clients = (_FairSemaphore(max(1, size - max(1, size // 4))), *self._for_all)

    def get_connection(self, *args: Any, **options: Any) -> Any:
        self._checkpid()
        semaphores = self._acquire()
        try:
            connection = _get_connection(self, *args, **options)
        except BaseException:
            _release(semaphores)
            raise
        connection.semaphores = semaphores
        return connection

    def _acquire(self) -> tuple[_FairSemaphore, ...]:
        """Wait for all that apply, and return them."""
        semaphores = self._for_clients if _serves_client.get() else self._for_all
        entered = 0
        try:
            for each in semaphores:
                if not each.acquire(self._timeout):
                    busy = f"all {self.max_connections} connections are busy (WS4REDIS_MAX_CONNECTIONS)"
                    raise RedisConnectionError(busy)
                entered += 1
        except BaseException:
            _release(semaphores[:entered])
            raise
        return semaphores

    def make_connection(self) -> Any:
        """A connection that knows without ``poll()`` whether it is idle, which the pool asks before each use."""
        connection: Any = super().make_connection()
        ask = connection.can_read

        def can_read(timeout: float = 0) -> bool:
            return not (timeout == 0 and _is_idle(connection)) and bool(ask(timeout))

        connection.can_read = can_read
        return connection

    def release(self, connection: Any) -> None:
        # none where it is not in use: it could not connect, was released before, or is of the time before a fork
        semaphores = vars(connection).pop("semaphores", ())
        super().release(connection)
        _release(semaphores)


def _is_idle(connection: Any) -> bool:
    """Whether it is open and Redis has sent nothing, as far as a socket of gevent's tells without waiting.

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


class _FairSemaphore:
    """A semaphore, first come, first served.

    It takes no lock while it is free: patched ones were a seventh of what publishing costs. Not ``Semaphore``, for that
    lets a caller overtake the one that it has just woken: among hundreds, some waited until their timeout.
    """

    def __init__(self, size: int) -> None:
        self._free = deque([None] * size)
        #: a lock for each waiter, in order; released when its turn has come
        self._waiting: deque[threading.Lock] = deque()
        self._handing_out = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        """False where none is free within ``timeout`` seconds."""
        return (not self._waiting and self._try()) or self._wait(timeout)

    def release(self) -> None:
        self._free.append(None)
        # a waiter that starts later tries once more
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

    def _wait(self, timeout: float) -> bool:
        turn = threading.Lock()
        turn.acquire()
        self._waiting.append(turn)
        self._hand_out()
        try:
            return turn.acquire(timeout=timeout) or not self._withdraw(turn)
        except BaseException:
            if not self._withdraw(turn):
                self.release()
            raise

    def _withdraw(self, turn: threading.Lock) -> bool:
        """Stop waiting; False where the turn has come meanwhile."""
        with self._handing_out:
            try:
                self._waiting.remove(turn)
            except ValueError:
                return False
            return True


def _release(semaphores: tuple[_FairSemaphore, ...]) -> None:
    for each in semaphores:
        each.release()


class _Shared:
    """The one client of this process; made again when ``WS4REDIS_CONNECTION`` has changed.

    A publisher may have no server that hands options down, so the number of connections and their timeout are read from
    the settings when it is made.
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
        """Not on a connection of the pool, which a subscription would keep."""
        return own_pubsub(self)


def own_pubsub(client: Redis) -> PubSub:
    """A subscription of redis-py's on a connection that belongs to no pool of ours; reads wait without end."""
    connection_class, options = options_of(client)
    return PubSub(ConnectionPool(connection_class, **(options | {"protocol": 2, "socket_timeout": None})))


#: ``client()`` returns the client with which this process publishes and fetches
client = _Shared().client
