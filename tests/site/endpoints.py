"""Endpoints that a site could have, behind the door of whichever server imports this."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from django.core.wsgi import get_wsgi_application

from tests.site.echo import Echo, Server
from ws4redis.core.encoding import Dialect
from ws4redis.core.publication import Publication
from ws4redis.exceptions import WebSocketError
from ws4redis.loop.endpoint import Connection, Endpoint, Taking
from ws4redis.protocol.frames import Opcode
from ws4redis.upgrade.steps import Maker


class Revocable(Endpoint):
    def __init__(self, request: Any) -> None:
        self.channel = f"revoked:{request.user.get_username()}".encode()

    def on_open(self, connection: Connection) -> None:
        connection.subscribe_control(self.channel, lambda payload: connection.close(1008, payload.decode()))


class Slow(Endpoint):
    def on_message(self, message: str | bytes) -> None:
        time.sleep(float(message))


class Pulling(Endpoint):
    """Answers when it likes, in a greenlet or thread of its own, as a view does."""

    taking = Taking.PULLED
    accepts_at_once = False

    def on_open(self, connection: Connection) -> None:
        threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    @staticmethod
    def run(connection: Connection) -> None:
        connection.accept()
        subscribed = threading.Event()
        connection.subscribe(b"pulled", confirmed=subscribed.set)
        subscribed.wait(20)
        try:
            while True:
                connection.send(connection.receive(), wait=True)
        except WebSocketError:
            pass


def envelope(publication: Publication) -> tuple[Opcode, bytes]:
    return Opcode.TEXT, json.dumps([publication.channel.decode(), publication.payload.decode()]).encode()


class ListHistory:
    """Keeps in a list what a client catches up with."""

    def start(self, pubsub: Any, channels: Any, done: Any) -> Any:
        [channel] = channels
        length: list[Any] = []

        def read(entries: list[bytes]) -> None:
            done([Publication(channel, each) for each in entries])

        return [
            # fails where it is no list
            pubsub.ask(("LLEN", b"history:" + channel), length.append, length.append),
            pubsub.ask(("LRANGE", b"history:" + channel, "0", "-1"), read, lambda _error: done(())),
        ]


class Historian(Endpoint):
    catch_up = ListHistory()
    dialect = Dialect(envelope)

    def on_open(self, connection: Connection) -> None:
        connection.subscribe(b"news")


MAKERS = {
    "echo": Maker(lambda request: Echo(), site_decides=False),
    "revocable": Maker(Revocable),
    "slow": Maker(lambda request: Slow(), site_decides=False),
    "pulling": Maker(lambda request: Pulling(), site_decides=False),
    "history": Maker(lambda request: Historian(), site_decides=False),
}

server = Server()
server.routes.insert(0, lambda request: MAKERS.get(request.path_info.removeprefix("/ws/")))
_django_app = get_wsgi_application()


def application(environ: Any, start_response: Any) -> Any:
    app: Any = server if environ["PATH_INFO"].startswith("/ws/") else _django_app
    return app(environ, start_response)
