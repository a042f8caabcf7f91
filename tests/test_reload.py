"""Reloads and stops: browsers are told, the server serves again, and the log stays clean."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.servers import UWSGI, Valkey, wait_for


@pytest.fixture
def start(redis_server: Valkey, tmp_path: Path) -> Iterator[Callable[..., UWSGI]]:
    with ExitStack() as started:

        def start(**options: Any) -> UWSGI:
            names = {name.replace("_", "-"): value for name, value in options.items()}
            (tmp_path / "reload").touch()
            server = UWSGI(redis_server.url, {"touch-reload": tmp_path / "reload", **names})
            return started.enter_context(server)

        yield start


def serves_again(site: UWSGI) -> websocket.WebSocket | None:
    try:
        return site.connect("/ws/x?subscribe-broadcast")
    except (OSError, websocket.WebSocketException):
        return None


def restarts(site: UWSGI) -> int:
    return site.log().count("spawned uWSGI worker 1 ")


@pytest.mark.parametrize("options", [{}, {"lazy_apps": True}, {"workers": 2}], ids=["prefork", "lazy", "2 workers"])
@pytest.mark.parametrize("how", ["SIGHUP", "SIGTERM", "touch-reload"])
def test_reload(
    start: Callable[..., UWSGI], redis_server: Valkey, tmp_path: Path, how: str, options: dict[str, Any]
) -> None:
    site = start(**options)
    browsers = [site.connect("/ws/x?subscribe-broadcast") for _ in range(10)]
    if how == "touch-reload":
        soon = time.time() + 5  # uWSGI compares whole seconds
        os.utime(tmp_path / "reload", (soon, soon))
    else:
        site.send_signal(getattr(signal, how))
    for browser in browsers:
        opcode, data = browser.recv_data()
        assert (opcode, int.from_bytes(data[:2], "big")) == (8, 1012)
    wait_for(lambda: restarts(site) == 2, f"worker 1 is started again\n{site.log()}")
    again = wait_for(lambda: serves_again(site), "it serves again")
    assert redis_server.client().publish("broadcast:x", "hi") >= 1
    assert again.recv() == "hi"
    assert "Traceback" not in site.log()
    assert " 500) " not in site.log()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_stop(start: Callable[..., UWSGI], how: signal.Signals) -> None:
    site = start()
    browser = site.connect("/ws/x?subscribe-broadcast")
    assert site.process is not None
    site.process.send_signal(how)
    opcode, data = browser.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (8, 1012)
    assert site.process.wait(20) is not None
    assert "Traceback" not in site.log()
