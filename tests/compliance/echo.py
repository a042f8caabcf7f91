"""A site whose only websocket says back what it hears, behind the door of whichever server imports this."""

from __future__ import annotations

from typing import Any

from ws4redis.websocket import WebSocket

try:
    from ws4redis.uwsgi_runserver import uWSGIWebsocketServer as Server
except ImportError:
    from ws4redis.django_runserver import WebsocketRunServer as Server


class EchoView:
    """Hears no channel; satisfies ``ws4redis.loop.ports.View``."""

    channels = ()
    own_messages = groups_channel = send_kept = source = None
    seats: tuple[str, ...] = ()
    bytes_received = 0
    #: known only once the browser is admitted
    websocket: WebSocket

    def on_message(self, message: str | bytes) -> None:
        self.websocket.send(message, binary=isinstance(message, bytes))

    def set_listener(self, listener: Any) -> None:
        pass

    def regroup(self, update: bytes | None) -> None:
        pass

    def on_close(self) -> None:
        pass


class EchoServer(Server):
    def _make_view(self, request: Any) -> EchoView:
        return EchoView()

    def park(self, websocket: WebSocket, view: EchoView, response: bytes) -> None:
        view.websocket = websocket
        super().park(websocket, view, response)


application = EchoServer()
