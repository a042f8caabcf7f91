"""1,000 threads, each with a websocket, and one message for all of them.

The server is started first, in another shell; README.md says how. Then either of

    python test_uwsgi_threads.py
    pytest test_uwsgi_threads.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import one_message
import websocket

if TYPE_CHECKING:
    import pytest


def each(function: Callable[..., object], items: Iterable[object], at_once: int) -> Iterator[object]:
    pool = ThreadPoolExecutor(at_once)
    calls = [pool.submit(function, item) for item in items]
    pool.shutdown(wait=False)
    return (call.result() for call in as_completed(calls))


def connect(url: str, timeout: float) -> websocket.WebSocket:
    return websocket.create_connection(url, timeout)


THREADS = one_message.Kind("threads", each, connect)


def test_uwsgi_threads(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(one_message.run(THREADS, one_message.from_environment()))


if __name__ == "__main__":
    sys.exit(one_message.main(THREADS))
