"""The door for ``manage.py runserver`` and other development servers that give each request a thread.

``WSGI_APPLICATION = "ws4redis.django_runserver.application"`` serves websockets and everything else on one port.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Iterable
from functools import partial
from io import BufferedReader
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.util import is_hop_by_hop

from django.core.servers import basehttp
from django.core.wsgi import get_wsgi_application
from django.db import connections

from ws4redis import settings
from ws4redis.core.deprecated import Historic, historic_names, imported
from ws4redis.exceptions import UpgradeRefused
from ws4redis.loop.connection import Connection
from ws4redis.runtime.sockets import configure_socket
from ws4redis.runtime.threads import ThreadRuntime
from ws4redis.upgrade.responses import Environ, StartResponse
from ws4redis.websocket import WebSocket, WebSocketListener
from ws4redis.wsgi_server import WebsocketWSGIServer

logger = logging.getLogger("ws4redis")

_runtime = ThreadRuntime()


class WebsocketRunServer(WebsocketWSGIServer):
    """The WSGI application for websockets in a threaded development server."""

    runtime = _runtime

    def may_send(self, name: str) -> bool:
        return not is_hop_by_hop(name)

    def upgrade_websocket(self, environ: Environ, start_response: StartResponse) -> WebSocket:
        taken = TakenSocket(*_connection_of(environ, start_response))
        return AwaitedWebSocket(self.runtime, taken, self.options.max_message_size, self.options.outbox_size)

    def park(self, connection: Connection) -> None:
        """Keep the server's thread while the websocket lives: the server would shut the connection down."""
        super().park(connection)
        # those of this thread: with CONN_MAX_AGE they would stay open as long as it lives
        connections.close_all()
        assert isinstance(connection.websocket, AwaitedWebSocket)
        connection.websocket.ended.wait()
        # the development servers take this for a client that has left, and neither answer nor log
        raise ConnectionAbortedError


class AwaitedWebSocket(WebSocket):
    """A websocket for whose end a thread waits."""

    __slots__ = ("ended",)

    _socket: TakenSocket

    def __init__(self, *args: Any) -> None:
        self.ended = threading.Event()
        super().__init__(*args)

    def start(self, owner: WebSocketListener) -> None:
        super().start(owner)
        if self._socket.unread:
            self._readable()  # the kernel does not report it

    def abort(self) -> None:
        try:
            super().abort()
        finally:
            self.ended.set()


class TakenSocket:
    """The connection of a request, non-blocking.

    Args:
        connection: plain, or TLS.
        reader: the buffer through which the server has read the request; None where it has none.
    """

    def __init__(self, connection: socket.socket, reader: BufferedReader | None) -> None:
        configure_socket(connection)
        self._connection = connection
        #: bytes that the server has read beyond the request
        self.unread = _buffered(reader) if reader is not None else b""

    def fileno(self) -> int:
        return self._connection.fileno()

    def recv(self, size: int) -> bytes:
        if self.unread:
            data, self.unread = self.unread, b""
            return data
        try:
            data = self._connection.recv(size)
            # no selector reports what TLS has decrypted already
            while isinstance(self._connection, ssl.SSLSocket) and (pending := self._connection.pending()):
                data += self._connection.recv(pending)
            return data
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        if not isinstance(self._connection, ssl.SSLSocket):
            return self._connection.send(data, flags)
        try:
            return self._connection.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        self._connection.shutdown(how)

    def close(self) -> None:
        """The server does that when the request's thread returns."""


def _connection_of(environ: Environ, start_response: StartResponse) -> tuple[socket.socket, BufferedReader | None]:
    """The request's socket in a development server, and the buffer through which it is read.

    Raises:
        UpgradeRefused: the server is none of them, or serves one request at a time.
    """
    handler = getattr(getattr(start_response, "__self__", None), "request_handler", None)
    if handler is None:
        if "werkzeug.socket" in environ:
            return environ["werkzeug.socket"], None
        raise UpgradeRefused(503, "This server cannot serve websockets: use manage.py runserver, or uWSGI with gevent.")
    if not isinstance(handler.server, ThreadingMixIn):
        raise UpgradeRefused(503, "Websockets need a thread each: start runserver without --nothreading.")
    handler.close_connection = True
    handler.log_request(101)
    return handler.connection, handler.rfile


def _buffered(reader: BufferedReader) -> bytes:
    """The contents of the buffer; the socket must not block."""
    try:
        return bytes(reader.peek())
    except ssl.SSLWantReadError:
        return b""


_websocket_url: str = settings.WEBSOCKET_URL
_websocket_app = WebsocketRunServer()
_django_app = get_wsgi_application()


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    app: Any = _django_app
    if _websocket_url and environ.get("PATH_INFO", "").startswith(f"/{_websocket_url.removeprefix('/')}"):
        app = _websocket_app
    return app(environ, start_response)  # type: ignore[no-any-return]


__getattr__ = historic_names(
    __name__,
    {
        name: Historic(f"django.core.servers.basehttp.{name}", partial(getattr, basehttp, name))
        for name in ("run", "ServerHandler", "WSGIRequestHandler")
    }
    | imported(
        HandshakeError="ws4redis.exceptions.HandshakeError",
        UpgradeRequiredError="ws4redis.exceptions.UpgradeRequiredError",
        WSGIServer="django.core.servers.basehttp.WSGIServer",
        _ServerHandler="django.core.servers.basehttp.ServerHandler",
        _WSGIRequestHandler="django.core.servers.basehttp.WSGIRequestHandler",
        base64="base64",
        django="django",
        force_str="django.utils.encoding.force_str",
        runserver="django.core.management.commands.runserver",
        select="select",
        sha1="hashlib.sha1",
        six="six",
        socketserver="socketserver",
        util="wsgiref.util",
    ),
)

logger.info("websockets are served under %s", _websocket_url)
