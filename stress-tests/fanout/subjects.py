"""What is measured: a server to which websockets connect, and that is made to send to all of them."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fanout import processes, wire
from fanout.pace import paced
from tests.servers import UWSGI, Server, Valkey, wait_for

STRESS_TESTS = Path(__file__).resolve().parent.parent
AnyServer = TypeVar("AnyServer", bound=Server)


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Stopped in any case, even where it does not come up."""
    try:
        server.start()
        yield server
    finally:
        server.__exit__()


def python_path() -> dict[str, str]:
    """The environment in which our own programs find each other, and this checkout."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(STRESS_TESTS), str(STRESS_TESTS.parent)])}


class Subject(Protocol):
    name: str
    port: int
    #: of the websockets
    path: str

    def pids(self) -> list[int]:
        """The processes that serve websockets."""

    def send(self, messages: int, rate: float) -> None:
        """Have all websockets sent so many messages; rate 0 is all at once. May return before they are sent."""


class Website(UWSGI):
    """Our server: one uWSGI worker, fed by a Redis of its own."""

    name = "ws4redis"
    path = "/ws/stress?subscribe-broadcast"

    def __init__(self, valkey: Valkey) -> None:
        options: dict[str, Any] = {
            "module": "fanout.site.wsgi",
            "pythonpath": str(STRESS_TESTS),
            "listen": min(1024, processes.listen_limit()),
            # lines in a log are no part of what is compared
            "disable-logging": True,
        }
        super().__init__(valkey.url, options, DJANGO_SETTINGS_MODULE="fanout.site.settings")
        self._redis = valkey.client()

    def start(self) -> None:
        super().start()
        wait_for(self.pids, "a worker of uWSGI")

    def pids(self) -> list[int]:
        assert self.process is not None
        return processes.children(self.process.pid)

    def send(self, messages: int, rate: float) -> None:
        channel = "broadcast:stress"
        if rate:
            for number in paced(messages, rate):
                self._redis.publish(channel, wire.message(number))
            return
        with self._redis.pipeline(transaction=False) as pipeline:
            for number in range(messages):
                pipeline.publish(channel, wire.message(number))
            pipeline.execute()


class Floor(Server):
    """What the same sending costs at least; see ``floor_program``."""

    name = "floor"
    path = "/"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "fanout.floor_program", str(self.port)]

    def environment(self) -> dict[str, str]:
        return python_path()

    def pids(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid]

    def send(self, messages: int, rate: float) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as order:
            order.sendall(b"SEND %d %f" % (messages, rate))
