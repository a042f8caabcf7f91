"""The door for uWSGI with gevent; the only module that knows either.

uWSGI parses the request, forks and reloads the workers and runs gevent's loop. From the upgrade on the connection is
ours: ``uWSGIWebsocketServer.upgrade_websocket`` takes a duplicate of the descriptor and returns from the WSGI call.
"""

from __future__ import annotations

from gevent import monkey

PATCHED_LATE = not monkey.is_module_patched("socket")
if PATCHED_LATE:
    monkey.patch_all()

import _socket  # noqa: E402
import ctypes  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import uwsgi  # noqa: E402
from gevent.threadpool import ThreadPool  # noqa: E402

from ws4redis import settings  # noqa: E402
from ws4redis.loop.runtime import Result, Watcher  # noqa: E402
from ws4redis.websocket import WebSocket  # noqa: E402
from ws4redis.wsgi_server import Environ, StartResponse, WebsocketWSGIServer  # noqa: E402

_READ, _WRITE = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)
_EPOLL_CTL_DEL = 2


class GeventRuntime:
    """The port to gevent; used after the fork only."""

    def __init__(self) -> None:
        self._pool: ThreadPool | None = None

    def watch_readable(self, descriptor: int) -> Watcher:
        return gevent.get_hub().loop.io(descriptor, _READ)  # type: ignore[no-any-return]

    def watch_writable(self, descriptor: int) -> Watcher:
        return gevent.get_hub().loop.io(descriptor, _WRITE)  # type: ignore[no-any-return]

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        gevent.spawn(function, *args)

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def run_in_thread(self, function: Callable[..., Result], *args: Any) -> Result:
        if self._pool is None:
            # not gevent's own pool, which resolves host names
            self._pool = ThreadPool(settings.WS4REDIS_THREADS)
        return self._pool.apply(function, args)  # type: ignore[no-any-return]


_runtime = GeventRuntime()


class uWSGIWebsocketServer(WebsocketWSGIServer):
    """The WSGI application for websockets under uWSGI with ``--gevent``."""

    runtime = _runtime

    def upgrade_websocket(self, environ: Environ, start_response: StartResponse) -> WebSocket:
        original = uwsgi.connection_fd()
        connected = _duplicate(original)
        try:
            _forget_in_loop(original)
            _replace_by_null(original)
            # for uWSGI's access log; the browser gets our own answer through the duplicate
            start_response("101 Switching Protocols", [])
            return WebSocket(self.runtime, connected, settings.WS4REDIS_MAX_MESSAGE_SIZE, settings.WS4REDIS_OUTBOX_SIZE)
        except BaseException:
            connected.close()
            raise


uWSGIWebSocketServer = uWSGIWebsocketServer


def _duplicate(descriptor: int) -> socket.socket:
    # the plain C type: a gevent socket would bring two watchers and a hub of its own along
    connected = _socket.socket(fileno=os.dup(descriptor))
    connected.setblocking(False)
    if connected.family in (socket.AF_INET, socket.AF_INET6):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connected  # type: ignore[return-value]


def _forget_in_loop(descriptor: int) -> None:
    """Take the original out of libev's epoll set.

    libev leaves it in and the duplicate keeps it alive there, which makes libev build the whole set anew for each
    browser that leaves. ``select.epoll.fromfd`` is no way: when it is collected it closes the loop.
    """
    loop = gevent.get_hub().loop.fileno()
    if loop is not None:
        _libc.epoll_ctl(loop, _EPOLL_CTL_DEL, descriptor, None)


def _replace_by_null(descriptor: int) -> None:
    """Nothing that uWSGI writes or shuts down later reaches the browser."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)
