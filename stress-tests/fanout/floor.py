"""The floor: what the same sending costs at least, in C; see ``floor.c``."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fanout import wire
from fanout.streams import Post
from fanout.subjects import STRESS_TESTS, Visit, publish_on
from tests.servers import Server, Valkey

_SOURCE = Path(__file__).with_name("floor.c")
_CACHE = STRESS_TESTS / ".cache"


def compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")


def why_not() -> str | None:
    """What is missing, in words."""
    if compiler() is None:
        return "there is no C compiler, so the floor is left out (on Debian: apt-get install gcc libc6-dev)"
    return None


def program() -> Path:
    """The compiled floor, made where the source has changed."""
    target = _CACHE / f"floor-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}"
    if not target.exists():
        _CACHE.mkdir(exist_ok=True)
        # under another name first: another process may be doing the same
        made = target.with_suffix(f".{os.getpid()}")
        found = compiler()
        assert found is not None
        done = subprocess.run([found, "-O2", "-o", made, _SOURCE], stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, f"the floor does not compile:\n{done.stderr}"
        made.rename(target)
    return target


def version() -> str:
    found = compiler()
    assert found is not None
    return subprocess.run([found, "--version"], stdout=subprocess.PIPE, text=True).stdout.partition("\n")[0]


class Floor(Server):
    name = "floor"

    def __init__(self, valkey: Valkey) -> None:
        super().__init__()
        self._valkey = valkey
        self._redis = valkey.client()

    def command(self) -> list[str]:
        return [str(program()), str(self.port), str(self._valkey.port)]

    def pids(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid]

    def listeners(self, heard: Sequence[Sequence[str]]) -> list[Visit]:
        return [Visit("/" + ",".join(map(_channel, streams))) for streams in heard]

    def publish(self, posts: Sequence[Post]) -> None:
        publish_on(self._redis, [(_channel(post.stream), wire.message(post.number, post.stream)) for post in posts])


def _channel(stream: str) -> str:
    """As long as those of ws4redis."""
    return f"{stream}:stress"
