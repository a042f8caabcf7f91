"""The loop tells whether it delivers, with both doors."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websocket import WebSocketBadStatusException

from tests.rings import allows_io_uring
from tests.servers import UWSGI, Site, Valkey, wait_for


@pytest.fixture
def site(door: type[Site], valkey: Valkey, database: Path) -> Iterator[Site]:
    settings = {"WS4REDIS_HEALTH_PATH": '"health/loop"', "WS4REDIS_TIMEOUT": "2", "WS4REDIS_PREFIX": '"p"'}
    with door(valkey.url, DATABASE=str(database), **settings) as server:
        yield server


def ask(site: Site, path: str = "/ws/health/loop", method: str = "GET") -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(site.url(path), method=method), timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def figures(site: Site) -> dict[str, Any]:
    return dict(json.loads(ask(site)[1]))


def test_figures(site: Site, valkey: Valkey, door: type[Site]) -> None:
    wait_for(lambda: ask(site)[0] == 200, "it is healthy")
    browsers = [site.connect("/ws/a?subscribe-broadcast") for _ in range(3)]
    for _ in range(5):
        valkey.client().publish("p:broadcast:a", "hi")
    assert [browser.recv() for browser in browsers for _ in range(5)] == ["hi"] * 15
    with pytest.raises(WebSocketBadStatusException):
        site.connect("/ws/a", header={"Origin": "http://evil.example", "Cookie": "a=b"})
    browsers.pop().close()
    wait_for(lambda: "closed with 1000" in figures(site)["counts"], "one has left")
    found = figures(site)
    assert found["websockets"] == 2
    assert found["healthy"] is True
    assert found["seconds_since_canary"] <= 2
    assert (found["channels"], found["deliveries"] >= 15) == (1, True)
    assert found["io_uring"] is (door is UWSGI and allows_io_uring())
    assert found["counts"] == {"closed with 1000": 1, "rejected with 403": 1}


BROKEN = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}


@pytest.mark.parametrize("how", BROKEN.values(), ids=BROKEN)
def test_it_is_red_while_redis_does_not_deliver(site: Site, valkey: Valkey, how: signal.Signals) -> None:
    wait_for(lambda: ask(site)[0] == 200, "it is healthy")
    browser = site.connect("/ws/a?subscribe-broadcast")
    if how == signal.SIGKILL:
        valkey.stop(how)
    else:
        valkey.send_signal(how)
    red = wait_for(lambda: next((body for status, body in [ask(site)] if status == 503), None), "it is red")
    found = json.loads(red)
    assert found["websockets"] == 1, "the browser is still there"
    if how == signal.SIGKILL:
        assert found["seconds_since_canary"] < 3, "a loss is red before canaries are missed"
        assert found["counts"]["subscription lost"] == 1
    if how == signal.SIGKILL:
        valkey.start()
    else:
        valkey.send_signal(signal.SIGCONT)
    wait_for(lambda: ask(site)[0] == 200, "it is healthy again")
    valkey.client().publish("p:broadcast:a", "hi")
    assert browser.recv() == "hi"


OTHERS = [
    ("GET", "/ws/health", 400),
    ("GET", "/ws/health/loop/", 400),
    ("POST", "/ws/health/loop", 400),
    ("HEAD", "/ws/health/loop", 200),
]


@pytest.mark.parametrize(("method", "path", "status"), OTHERS)
def test_other_requests(site: Site, method: str, path: str, status: int) -> None:
    wait_for(lambda: ask(site)[0] == 200, "it is healthy")
    assert ask(site, path, method)[0] == status


# status, and the type of what GET would get
HEADS = [("/ws/health/loop", "200", "application/json"), ("/ws/health", "400", "text/plain")]


@pytest.mark.parametrize(("path", "status", "content_type"), HEADS)
def test_head_has_no_body(site: Site, path: str, status: str, content_type: str) -> None:
    wait_for(lambda: ask(site)[0] == 200, "it is healthy")
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as client:
        client.sendall(f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: client.recv(4096), b"")).decode().partition("\r\n\r\n")
    assert head.split()[1] == status
    assert f"\r\nContent-Type: {content_type}" in head
    assert int(re.search(r"\r\nContent-Length: (\d+)", head)[1]) > 0
    assert body == ""


def test_the_path_is_a_facility_like_others(site: Site, valkey: Valkey) -> None:
    browser = site.connect("/ws/health/loop?subscribe-broadcast")
    valkey.client().publish("p:broadcast:health/loop", "hi")
    assert browser.recv() == "hi"


def test_by_default_nobody_tells(door: type[Site], valkey: Valkey, database: Path) -> None:
    with door(valkey.url, DATABASE=str(database)) as site:
        assert ask(site, "/ws/health")[0] == ask(site, "/ws/")[0] == 400
