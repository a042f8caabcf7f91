"""The port to threads: what it promises to the loop."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ws4redis.runtime.threads import ThreadRuntime


def test_a_callback_that_fails_disturbs_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    runtime = ThreadRuntime()
    failing, good = socket.socketpair(), socket.socketpair()
    called = threading.Event()
    with runtime.lock, caplog.at_level(logging.ERROR):
        first = runtime.watch_readable(failing[0].fileno())
        second = runtime.watch_readable(good[0].fileno())

        def fail() -> None:
            first.close()
            raise LookupError("on purpose")

        first.start(fail)
        second.start(lambda: (good[0].recv(1), called.set()))
    failing[1].send(b"1")
    for _ in range(3):
        good[1].send(b"1")
        assert called.wait(20)
        called.clear()
    assert "loop callback failed" in caplog.text
    with runtime.lock:
        second.close()
    for each in (*failing, *good):
        each.close()


def test_a_stopped_watcher_is_not_called() -> None:
    runtime = ThreadRuntime()
    here, there = socket.socketpair()
    events: list[str] = []
    done = threading.Event()
    with runtime.lock:
        reader = runtime.watch_readable(here.fileno())
        writer = runtime.watch_writable(here.fileno())

        def readable() -> None:
            events.append("read")
            reader.stop()
            writer.start(writable)

        def writable() -> None:
            events.append("write")
            writer.close()
            done.set()

        reader.start(readable)
    there.send(b"1")
    assert done.wait(20)
    assert events == ["read", "write"]
    here.close()
    there.close()


def test_callbacks_that_come_soon_let_the_sockets_have_their_turn() -> None:
    runtime = ThreadRuntime()
    here, there = socket.socketpair()
    heard = threading.Event()

    def again() -> None:
        if not heard.is_set():
            runtime.call_soon(again)

    with runtime.lock:
        reader = runtime.watch_readable(here.fileno())
        reader.start(lambda: (here.recv(1), heard.set()))
        runtime.call_soon(again)
    there.send(b"1")
    assert heard.wait(20), "the socket is read"
    with runtime.lock:
        reader.close()
    here.close()
    there.close()


@pytest.mark.parametrize("wrap", [lambda function: function, partial], ids=["function", "partial"])
def test_whatever_can_be_called_can_be_spawned(wrap: Callable[..., Any]) -> None:
    """The loop logs what has failed by a partial."""
    called = threading.Event()
    ThreadRuntime().spawn(wrap(called.set))
    assert called.wait(20)
