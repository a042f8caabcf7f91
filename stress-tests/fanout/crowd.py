"""The browsers' process, as seen by who gives it orders."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from fanout.subjects import python_path


class Crowd:
    """A context manager; orders are the methods of ``crowd_program.Crowd``."""

    def __enter__(self) -> Crowd:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fanout.crowd_program"],
            env=python_path(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()

    def order(self, order: str, **arguments: Any) -> dict[str, Any]:
        """Give an order and wait until it is done."""
        self.begin(order, **arguments)
        return self.end()

    def begin(self, order: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"order": order, **arguments}).encode() + b"\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the crowd's process has ended; what it said stands above")
        return json.loads(answer)  # type: ignore[no-any-return]
