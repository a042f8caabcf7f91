"""Reloads and stops: browsers are told, the server serves again, and the log stays clean."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.browsers import all_counts, get, plain_socket
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


# to one worker of two: signal, the close code that its browsers get
SIGNALS_TO_A_WORKER = [
    (signal.SIGHUP, 1012),
    (signal.SIGTERM, 1012),
    (signal.SIGINT, 1012),
    (signal.SIGKILL, None),
]


@pytest.mark.parametrize(("number", "code"), SIGNALS_TO_A_WORKER)
def test_a_worker_ends(
    start: Callable[..., UWSGI], redis_server: Valkey, number: signal.Signals, code: int | None
) -> None:
    """Its browsers are told, where it can still speak; those of the other stay; a new one takes its place."""
    site = start(workers=2)
    browsers = [site.connect("/ws/x?subscribe-broadcast") for _ in range(20)]
    pid = max(all_counts(site).values(), key=lambda each: each["connections"])["pid"]
    os.kill(pid, number)
    wait_for(lambda: all(each["pid"] != pid for each in all_counts(site).values()), "a new worker")
    redis_server.client().publish("broadcast:x", "hi")
    ended, stayed = [], []
    for browser in browsers:
        try:
            opcode, data = browser.recv_data()
        except (websocket.WebSocketException, OSError):
            ended.append(None)
            continue
        (ended if opcode == 8 else stayed).append(int.from_bytes(data[:2], "big") if opcode == 8 else data)
    assert set(ended) == {code}
    assert set(stayed) <= {b"hi"} and len(ended) + len(stayed) == 20
    again = wait_for(lambda: serves_again(site), "it serves again")
    wait_for(lambda: redis_server.client().publish("broadcast:x", "again"), "somebody listens")
    assert again.recv() == "again"
    assert "Traceback" not in site.log()


def test_a_reload_under_load(start: Callable[..., UWSGI], redis_server: Valkey) -> None:
    """Two workers, a thousand browsers, a request in flight: it is answered, all are told, and all may come back."""
    site = start(workers=2, log_master=False)
    browsers = [plain_socket(site, "/ws/x?subscribe-broadcast") for _ in range(1000)]
    answers: list[str] = []
    request = threading.Thread(target=lambda: answers.append(get(site, "/slow?seconds=1")))
    request.start()
    wait_for(lambda: any(each["slow"] for each in all_counts(site).values()), "the request is in flight")
    site.send_signal(signal.SIGHUP)
    for browser in browsers:
        received = b""
        while data := browser.recv(4096):
            received += data
        assert received == b"\x88\x02\x03\xf4", "1012 and nothing else"
        browser.close()
    request.join()
    assert answers == ["slow"]
    begin = time.monotonic()
    wait_for(lambda: serves_again(site), "it serves again")
    back = [plain_socket(site, "/ws/x?subscribe-broadcast") for _ in range(1000)]
    print(f"1000 browsers were back {time.monotonic() - begin:.1f} s after the first")
    wait_for(lambda: redis_server.client().publish("broadcast:x", "hi") == 2, "both workers listen")
    for browser in back:
        assert browser.recv(100) == b"\x81\x02hi"
        browser.close()
    assert "Traceback" not in site.log()
