"""What is being measured, on stderr: a bar on a terminal, else a line for each step."""

from __future__ import annotations

import sys
import time

_WIDTH = 24


class Progress:
    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self._begin = time.monotonic()
        self._bar = sys.stderr.isatty()

    def begin(self, what: str) -> None:
        """The next step begins."""
        done, elapsed = self._step / self._steps, time.monotonic() - self._begin
        self._step += 1
        told = f"{self._step}/{self._steps} {what}"
        if done:
            told += f", {_minutes(elapsed * (1 - done) / done)} left"
        if self._bar:
            filled = "#" * round(done * _WIDTH)
            print(f"\r\x1b[K[{filled:.<{_WIDTH}}] {told}", end="", file=sys.stderr, flush=True)
        else:
            print(told, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._bar:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
