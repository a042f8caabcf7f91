"""The echo endpoint, and the server of whichever door imports this."""

from __future__ import annotations

from ws4redis.loop.endpoint import Connection, Endpoint

try:
    from ws4redis.uwsgi_runserver import uWSGIWebsocketServer as Server
except ImportError:
    from ws4redis.django_runserver import WebsocketRunServer as Server

__all__ = ["Echo", "Server"]


class Echo(Endpoint):
    def on_open(self, connection: Connection) -> None:
        self.connection = connection

    def on_message(self, message: str | bytes) -> None:
        self.connection.send(message, binary=isinstance(message, bytes))
