"""What is measured: a server to which websockets connect, and that is made to send to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import redis

from fanout import processes, wire
from fanout.streams import BROADCAST, SESSION, USER, Post, split
from tests.servers import UWSGI, Server, Valkey, wait_for

STRESS_TESTS = Path(__file__).resolve().parent.parent
AnyServer = TypeVar("AnyServer", bound=Server)

_FACILITY = "stress"

#: uWSGI's: requests that are handled at the same time, of which a websocket is one while it connects
_CORES = 200


class Visit(NamedTuple):
    """How a websocket comes in."""

    path: str
    cookie: str = ""


class Subject(Protocol):
    name: str
    port: int

    def pids(self) -> list[int]:
        """The processes that serve websockets."""

    def listeners(self, heard: Sequence[Sequence[str]]) -> list[Visit]:
        """Websockets each of which hears these streams."""

    def publish(self, posts: Sequence[Post]) -> None:
        """Publish these at once; may return before they are sent."""


class Conversational(Subject, Protocol):
    """A subject to which the browsers speak, too."""

    def speaker(self) -> Visit:
        """A websocket that hears nothing, and whose messages go to the stream ``broadcast``."""

    def soliloquist(self, number: int) -> Visit:
        """A websocket that alone hears its own messages."""


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


def publish_on(client: redis.Redis, posts: Sequence[tuple[str, bytes]]) -> None:
    """One PUBLISH for each channel and payload, in one round trip."""
    with client.pipeline(transaction=False) as pipeline:
        for channel, payload in posts:
            pipeline.publish(channel, payload)
        pipeline.execute()


class Website(UWSGI):
    """Our server: one uWSGI worker, fed by a Redis of its own.

    Args:
        settings: environment for ``fanout.site.settings``.
    """

    name = "ws4redis"

    def __init__(self, valkey: Valkey, **settings: str) -> None:
        options: dict[str, Any] = {
            "module": "fanout.site.wsgi",
            "pythonpath": str(STRESS_TESTS),
            "listen": min(1024, processes.listen_limit()),
            "gevent": _CORES,
            # lines in a log are no part of what is compared
            "disable-logging": True,
        }
        self._folder = tempfile.TemporaryDirectory(prefix="fanout-")
        database = str(Path(self._folder.name) / "users.sqlite3")
        super().__init__(
            valkey.url, options, DJANGO_SETTINGS_MODULE="fanout.site.settings", DATABASE=database, **settings
        )
        self._redis = valkey.client()
        self._session_keys: list[str] = []

    def start(self) -> None:
        super().start()
        wait_for(self.pids, "a worker of uWSGI")

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__()
        self._folder.cleanup()

    def pids(self) -> list[int]:
        assert self.process is not None
        return processes.children(self.process.pid)

    def listeners(self, heard: Sequence[Sequence[str]]) -> list[Visit]:
        own = [split(stream)[1] for streams in heard for stream in streams if split(stream)[0] in (USER, SESSION)]
        if own and max(own) >= len(self._session_keys):
            self._log_in(max(own) + 1)
        return [self._listener(streams) for streams in heard]

    def publish(self, posts: Sequence[Post]) -> None:
        publish_on(
            self._redis, [(self._channel(post.stream), wire.message(post.number, post.stream)) for post in posts]
        )

    def speaker(self) -> Visit:
        return Visit(f"/ws/{_FACILITY}?publish-broadcast")

    def soliloquist(self, number: int) -> Visit:
        return Visit(f"/ws/alone{number}?subscribe-broadcast&publish-broadcast&echo")

    def _listener(self, streams: Sequence[str]) -> Visit:
        audiences = dict(map(split, streams))
        path = f"/ws/{_FACILITY}?" + "&".join(f"subscribe-{audience}" for audience in audiences)
        visitor = audiences.get(USER, audiences.get(SESSION))
        return Visit(path) if visitor is None else Visit(path, f"sessionid={self._session_keys[visitor]}")

    def _channel(self, stream: str) -> str:
        audience, number = split(stream)
        if audience == BROADCAST:
            return f"{audience}:{_FACILITY}"
        return f"{audience}:{self._session_keys[number] if audience == SESSION else stream}:{_FACILITY}"

    def _log_in(self, visitors: int) -> None:
        """Let Django make so many users, each with a session."""
        done = subprocess.run(
            [sys.executable, "-m", "fanout.site.visitors", str(visitors)],
            env={**python_path(), **self.settings},
            stdout=subprocess.PIPE,
            check=True,
        )
        self._session_keys = json.loads(done.stdout)
