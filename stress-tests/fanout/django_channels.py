"""Django Channels: one uvicorn process, channels_redis' pub/sub layer, a consumer as its tutorial has it.

What it needs is installed into a virtual environment of its own, so that nobody else gets it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fanout.streams import BROADCAST, Post
from fanout.subjects import STRESS_TESTS, Visit, python_path
from tests.servers import Server, Valkey

_SITE = "fanout.channels_site"
_REQUIREMENTS = Path(__file__).with_name("channels_site") / "requirements.txt"
_ENVIRONMENT = STRESS_TESTS / ".stress-venv"
_PYTHON = _ENVIRONMENT / "bin" / "python"


def why_not() -> str | None:
    """What is missing, in words; installs what can be installed."""
    # of the same Python as ours: how it was built tells in the figures
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes() + f"{sys.base_prefix} {sys.version}".encode()).hexdigest()
    stamp = _ENVIRONMENT / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    print(f"fanout: Django Channels is installed into {_ENVIRONMENT}", file=sys.stderr, flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", _ENVIRONMENT],
        [_PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", _REQUIREMENTS],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            return f"Django Channels cannot be installed: {done.stdout.strip()[-500:]}"
    stamp.write_text(wanted)
    return None


def version() -> str:
    names = [line for line in _REQUIREMENTS.read_text().split() if not line.startswith("#")]
    code = (
        "import importlib.metadata as installed, sys; "
        "print(', '.join(f'{name} {installed.version(name.partition(\"[\")[0])}' for name in sys.argv[1:]))"
    )
    return subprocess.run([_PYTHON, "-c", code, *names], stdout=subprocess.PIPE, text=True).stdout.strip()


class Channels(Server):
    name = "channels"

    def __init__(self, valkey: Valkey) -> None:
        super().__init__()
        self._redis_url = valkey.url
        self._publisher: subprocess.Popen[str] | None = None

    def command(self) -> list[str]:
        options = f"--host 127.0.0.1 --port {self.port} --log-level warning --no-access-log --lifespan off"
        return [str(_PYTHON), "-m", "uvicorn", f"{_SITE}.asgi:application", *options.split()]

    def environment(self) -> dict[str, str]:
        return {**python_path(), "DJANGO_SETTINGS_MODULE": f"{_SITE}.settings", "REDIS_URL": self._redis_url}

    def __exit__(self, *exc_info: object) -> None:
        if self._publisher is not None:
            self._publisher.kill()
            self._publisher.communicate()
        super().__exit__()

    def pids(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid]

    def listeners(self, heard: Sequence[Sequence[str]]) -> list[Visit]:
        return [Visit(f"/?hear={','.join(streams)}") for streams in heard]

    def publish(self, posts: Sequence[Post]) -> None:
        """By another process: what publishes is not what serves websockets."""
        if self._publisher is None:
            self._publisher = subprocess.Popen(
                [str(_PYTHON), "-m", f"{_SITE}.publisher"],
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._publisher.stdin is not None and self._publisher.stdout is not None
        self._publisher.stdin.write(json.dumps(posts) + "\n")
        self._publisher.stdin.flush()
        assert self._publisher.stdout.readline(), "the publisher of Channels has ended; what it said stands above"

    def speaker(self) -> Visit:
        return Visit(f"/?say={BROADCAST}")

    def soliloquist(self, number: int) -> Visit:
        return Visit(f"/?hear=alone{number}&say=alone{number}")
