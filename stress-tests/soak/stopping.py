"""A signal ends the soak, and all that it has started."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

Result = TypeVar("Result")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """By a signal."""


def stop_on_signals() -> None:
    def stop(_number: int, _frame: object) -> NoReturn:
        ignore_signals()
        raise Stopped

    for each in _SIGNALS:
        signal.signal(each, stop)


def ignore_signals() -> None:
    """What runs now are the ends of what was started."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def run_stoppable(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Like ``asyncio.run``, which may swallow what a handler of signals raises."""
    try:
        return asyncio.run(_cancelled_by_signals(coroutine))
    finally:
        ignore_signals()


async def _cancelled_by_signals(coroutine: Coroutine[Any, Any, Result]) -> Result:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for each in _SIGNALS:
        loop.add_signal_handler(each, task.cancel)
    try:
        return await coroutine
    except asyncio.CancelledError:
        raise Stopped from None
