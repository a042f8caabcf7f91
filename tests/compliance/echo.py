"""A site whose only websocket says back what it hears, behind the door of whichever server imports this."""

from __future__ import annotations

from typing import Any

from ws4redis.loop.endpoint import Connection, Endpoint

try:
    from ws4redis.uwsgi_runserver import uWSGIWebsocketServer as Server
except ImportError:
    from ws4redis.django_runserver import WebsocketRunServer as Server


class Echo(Endpoint):
    def on_open(self, connection: Connection) -> None:
        self.connection = connection

    def on_message(self, message: str | bytes) -> None:
        self.connection.send(message, binary=isinstance(message, bytes))


class EchoServer(Server):
    def _make_endpoint(self, request: Any) -> Endpoint:
        return Echo()


application = EchoServer()
