"""The two historic stress tests, with fewer sockets: they find what they should, and what is lost. No times."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from tests.servers import ROOT, Server, Valkey, free_port
from ws4redis.protocol.frames import message_frame

FOLDER = ROOT / "stress-tests"
KINDS = {"greenlets": "test_uwsgi_gevent.py", "threads": "test_uwsgi_threads.py"}
SERVE = "uwsgi --http :8000 --gevent 1000 --http-websockets --master --workers 2 --module wsgi_websocket"


class Historic(Server):
    """Started inside ``stress-tests/`` as its README says."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self.redis_url = redis_url

    def command(self) -> list[str]:
        command = SERVE.replace(":8000", f"127.0.0.1:{self.port}")
        return ["sh", "-c", f"cd {shlex.quote(str(FOLDER))} && exec {command}"]

    def environment(self) -> dict[str, str]:
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**super().environment(), "PATH": programs, "PYTHONPATH": str(ROOT), "REDIS_URL": self.redis_url}

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/foobar"


@pytest.fixture(scope="module")
def server(redis_server: Valkey) -> Iterator[Historic]:
    with Historic(redis_server.url) as server:
        yield server


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    settings = {"cwd": FOLDER, "capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run([sys.executable, *command], **settings)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("command", [SERVE, *(f"python {path}" for path in KINDS.values())])
def test_the_readme_prints_it(command: str) -> None:
    assert f"\n{command}\n" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize(("kind", "path"), KINDS.items())
def test_all_get_the_message(server: Historic, kind: str, path: str) -> None:
    done = run(path, "--sockets", "60", "--url", server.url)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert done.stdout.startswith(f"60 {kind}, each with a websocket: all got the message")
    connected, got = done.stderr.splitlines()
    assert f"] 60 {kind} connected, " in connected
    assert "] 60 got the message, " in got


@pytest.mark.parametrize(("kind", "path"), KINDS.items())
def test_under_pytest(server: Historic, kind: str, path: str) -> None:
    environment = {**os.environ, "STRESS_SOCKETS": "20", "STRESS_URL": server.url}
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", path, env=environment)
    assert done.returncode == 0, done.stdout
    assert f"20 {kind}, each with a websocket: all got the message" in done.stdout
    assert "1 passed" in done.stdout


# -- what they must notice, from a server that does it --


@contextmanager
def server_that_sends(times: int) -> Iterator[str]:
    """Its URL. To all who listen it sends each message so many times; only the last who comes publishes."""
    listening: set[ServerConnection] = set()

    def remember(connection: ServerConnection, request: Request, response: Response) -> None:
        """Before it knows that it is connected."""
        if "subscribe" in request.path:
            listening.add(connection)

    def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for message in connection:
                for each in list(listening):
                    # in one piece, for whoever has the first leaves; send() then waits for the end of that connection
                    each.socket.sendall(times * message_frame(message))

    with serve(handle, "127.0.0.1", 0, process_response=remember) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws/foobar"
        server.shutdown()
    thread.join()


LOST = "4 of 4 did not get the message once: 4 x WebSocketTimeoutException"
TWICE = "4 of 4 did not get the message once: 4 x 2"


@pytest.mark.parametrize("path", KINDS.values())
@pytest.mark.parametrize(
    ("times", "code", "said"),
    [(1, 0, "[########################] 4 got the message"), (0, 1, LOST), (2, 1, TWICE)],
    ids=["once", "lost", "twice"],
)
def test_what_is_lost_or_doubled(path: str, times: int, code: int, said: str) -> None:
    with server_that_sends(times) as url:
        done = run(path, "--sockets", "4", "--timeout", "2", "--url", url)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("path", KINDS.values())
def test_nobody_serves(path: str) -> None:
    done = run(path, "--sockets", "4", "--url", f"ws://127.0.0.1:{free_port()}/ws/foobar")
    assert done.returncode == 1
    assert "4 of 4 could not connect: 4 x ConnectionRefusedError" in done.stderr


@pytest.mark.parametrize("path", KINDS.values())
def test_too_few_descriptors_are_noticed_first(path: str) -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws/foobar"
    done = run(path, "--url", url, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    assert done.returncode == 2
    assert done.stderr.startswith("1100 open files are needed, but the limit of this shell is 256: ")
    assert done.stderr.count("\n") == 1
