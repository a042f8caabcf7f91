"""Endpoints of a site's own, behind both doors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.browsers import counts, log_in, plain_socket
from tests.protocol.client import TEXT, frame
from tests.servers import UWSGI, RunServer, Site, Valkey, wait_for

#: in which a client that has left must be noticed, and by how much that may be exceeded on a busy machine
NOTICED_WITHIN, PATIENCE = 4, 4


class Running(RunServer):
    def environment(self) -> dict[str, str]:
        return {**super().environment(), "WSGI_APPLICATION": "tests.site.endpoints.application"}


@pytest.fixture(scope="module", params=["uwsgi", "runserver"])
def site(request: pytest.FixtureRequest, redis_server: Valkey, database: Path) -> Iterator[Site]:
    made: Site = (
        UWSGI(redis_server.url, {"module": "tests.site.endpoints"}, DATABASE=str(database))
        if request.param == "uwsgi"
        else Running(redis_server.url, DATABASE=str(database))
    )
    with made as server:
        yield server


@pytest.fixture
def client(redis_server: Valkey) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        client.delete("revoked:john", "revoked:mary", "history:news")
        yield client


def test_echo(site: Site) -> None:
    browser = site.connect("/ws/echo")
    for message in ("hü", "x" * 100_000):
        browser.send(message)
        assert browser.recv() == message
    browser.send_binary(b"\xff")
    assert browser.recv() == b"\xff"


def test_a_control_message_closes_the_websockets_of_a_user(site: Site, client: redis.Redis) -> None:
    browsers = {
        name: [site.connect("/ws/revocable", cookie=f"sessionid={log_in(site, name)}") for _ in range(2)]
        for name in ("john", "mary")
    }
    assert client.publish("revoked:john", "logged out") == 1
    for each in browsers["john"]:
        opcode, data = each.recv_data()
        assert (opcode, int.from_bytes(data[:2], "big"), data[2:]) == (8, 1008, b"logged out")
    for each in browsers["mary"]:
        each.ping("still there")
        assert each.recv_data(control_frame=True) == (10, b"still there")


@pytest.mark.parametrize("goodbye", [b"", b"\x88\x80\0\0\0\0"], ids=["cut off", "closed"])
def test_a_client_that_leaves_while_its_message_is_handled_is_noticed(site: Site, goodbye: bytes) -> None:
    before = counts(site)["connections"]
    with closing(plain_socket(site, "/ws/slow")) as browser:
        wait_for(lambda: counts(site)["connections"] == before + 1, "it is connected")
        browser.sendall(frame(TEXT, b"60"))
        # behind it reading pauses
        browser.sendall(frame(TEXT, b"0") * 2)
        time.sleep(0.5)
        browser.sendall(frame(TEXT, b"0") + goodbye)
    begin = time.monotonic()
    wait_for(lambda: counts(site)["connections"] == before, "it is noticed", timeout=50)
    took = time.monotonic() - begin
    print(f"noticed after {took:.2f} s, promised are {NOTICED_WITHIN} s")
    assert took < NOTICED_WITHIN * PATIENCE


def test_messages_are_pulled(site: Site, client: redis.Redis) -> None:
    """And what it is subscribed to goes to the client meanwhile."""
    browser = site.connect("/ws/pulling")
    for number in range(200):
        browser.send(str(number))
    assert [browser.recv() for _ in range(200)] == [str(number) for number in range(200)]
    assert client.publish("pulled", "from elsewhere") == 1
    assert browser.recv() == "from elsewhere"


# what Redis has, what is sent first
HISTORIES: dict[str, tuple[list[Any], list[str]]] = {
    "nothing": ([], []),
    "a list": (["RPUSH", "history:news", "1", "2"], ["1", "2"]),
    "no list": (["SET", "history:news", "1"], []),
}


@pytest.mark.parametrize(("command", "first"), HISTORIES.values(), ids=HISTORIES)
def test_a_history_and_a_dialect_add_files_only(
    site: Site, client: redis.Redis, command: list[Any], first: list[str]
) -> None:
    if command:
        client.execute_command(*command)
    browsers = [site.connect("/ws/history") for _ in range(2)]
    wait_for(lambda: client.publish("news", "3") == 1, "a subscriber")
    for browser in browsers:
        assert [json.loads(browser.recv()) for _ in [*first, "3"]] == [["news", each] for each in [*first, "3"]]
