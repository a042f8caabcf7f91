"""From the request to the websocket, under uWSGI: who is refused with what, and what a connection is made of."""

from __future__ import annotations

import json
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websocket import WebSocketBadStatusException

from tests.browsers import counts, get, log_in
from tests.servers import UWSGI, RunServer, Site, Valkey, wait_for

HANDSHAKE = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def answer(site: Site, headers: dict[str, str | None], method: str = "GET", path: str = "/ws/foobar") -> str:
    """The whole answer to a request made of the good handshake and these changes."""
    lines = [f"{name}: {value}" for name, value in {**HANDSHAKE, **headers}.items() if value is not None]
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as browser:
        browser.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1"))
        received = b""
        while not (end := received.find(b"\r\n\r\n") + 4) > 3:
            received += browser.recv(65536)
        length = re.search(rb"Content-Length: (\d+)", received)
        while length and len(received) < end + int(length[1]):
            received += browser.recv(65536)
    return received.decode("latin-1")


ANSWERS: list[tuple[str, dict[str, Any], str, str]] = [
    ("good", {}, "101", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ("one subprotocol", {"Sec-WebSocket-Protocol": "chat"}, "101", "Sec-WebSocket-Protocol: chat"),
    ("POST", {"method": "POST"}, "400", "GET"),
    ("no upgrade", {"Upgrade": None}, "400", "upgrade to a websocket"),
    ("other upgrade", {"Upgrade": "h2c"}, "400", "upgrade to a websocket"),
    ("no key", {"Sec-WebSocket-Key": None}, "400", "Sec-WebSocket-Key"),
    ("bad key", {"Sec-WebSocket-Key": "*"}, "400", "Sec-WebSocket-Key"),
    ("no version", {"Sec-WebSocket-Version": None}, "426", "Sec-WebSocket-Version: 13"),
    ("version 6", {"Sec-WebSocket-Version": "6"}, "426", "Sec-WebSocket-Version: 13"),
    ("other site, no cookie", {"Origin": "https://evil.example"}, "101", ""),
    ("other site, cookie", {"Origin": "https://evil.example", "Cookie": "a=b"}, "403", "https://evil.example"),
    ("own site, cookie", {"Origin": "http://127.0.0.1", "Cookie": "a=b"}, "101", ""),
    ("allowed host, cookie", {"Host": "upstream", "Origin": "https://localhost", "Cookie": "a=b"}, "101", ""),
    ("null origin, cookie", {"Origin": "null", "Cookie": "a=b"}, "403", "WS4REDIS_ALLOWED_ORIGINS"),
]


@pytest.mark.parametrize(("headers", "status", "words"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_answers(site: Site, headers: dict[str, Any], status: str, words: str) -> None:
    headers = dict(headers)
    text = answer(site, method=headers.pop("method", "GET"), headers=headers)
    assert text.startswith(f"HTTP/1.1 {status} "), text
    assert words in text


def test_several_subprotocols_without_a_preference(site: Site) -> None:
    assert "Sec-WebSocket-Protocol" not in answer(site, {"Sec-WebSocket-Protocol": "chat, news"})


def test_the_access_log_tells_101_and_403(site: Site) -> None:
    name = uuid.uuid4().hex
    answer(site, {}, path=f"/ws/{name}")
    answer(site, {"Origin": "https://evil.example", "Cookie": "a=b"}, path=f"/ws/{name}")

    def logged() -> list[str]:
        return re.findall(rf"GET /ws/{name} .*?HTTP/1.1\W+(\d+)\b", site.log())

    wait_for(lambda: len(logged()) == 2, "two lines in the access log")
    assert logged() == ["101", "403"]


@pytest.fixture(scope="module")
def with_settings(door: type[Site], redis_server: Valkey, database: Path) -> Iterator[Callable[..., Site]]:
    """Sites with other settings; each is started once."""
    sites: dict[str, Site] = {}
    with ExitStack() as started:

        def start(**settings: Any) -> Site:
            environment = {name: json.dumps(value) for name, value in settings.items()}
            key = json.dumps(environment, sort_keys=True)
            if key not in sites:
                site = door(redis_server.url, DATABASE=str(database), LOG_LEVEL="INFO", **environment)
                sites[key] = started.enter_context(site)
            return sites[key]

        yield start


HOOKS: list[tuple[dict[str, Any], str, dict[str, str], str]] = [
    ({"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.returns_nothing"}, "", {}, "101"),
    ({"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.returns_nothing"}, "", {"Deny-Channels": "YES"}, "403"),
    ({"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.fails"}, "", {}, "500"),
    ({"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.looks_into_the_database"}, "", {}, "101"),
    ({"WS4REDIS_PROCESS_REQUEST": "tests.site.hooks.token_as_user"}, "", {}, "101"),
    ({"WS4REDIS_PROCESS_REQUEST": "tests.site.hooks.token_as_user"}, "&token=bad", {}, "403"),
    ({"WS4REDIS_PROCESS_REQUEST": "tests.site.hooks.token_as_user"}, "&token=nobody", {}, "500"),
]

UNIMPORTABLE = [
    ("WS4REDIS_ALLOWED_CHANNELS", "tests.site.hooks.not_there"),
    ("WS4REDIS_ALLOWED_CHANNELS", "no.such.module"),
    ("WS4REDIS_PROCESS_REQUEST", "tests.site.hooks.not_there"),
]


@pytest.mark.parametrize(("settings", "query", "headers", "status"), HOOKS)
def test_hooks_fail_closed(
    with_settings: Callable[..., Site], settings: dict[str, Any], query: str, headers: dict[str, str], status: str
) -> None:
    site = with_settings(**settings)
    text = answer(site, headers, path=f"/ws/foobar?subscribe-broadcast{query}")
    assert text.startswith(f"HTTP/1.1 {status} "), text
    if status == "500":
        body = text.partition("\r\n\r\n")[2]
        assert body == "The server failed; its log says why.\n"
        assert "Traceback" in site.log()
    assert "secret" not in text


@pytest.mark.parametrize(("setting", "path"), UNIMPORTABLE)
def test_a_hook_that_cannot_be_imported_refuses_all(redis_server: Valkey, setting: str, path: str) -> None:
    """uWSGI serves on; runserver's system checks do not even let it start."""
    with UWSGI(redis_server.url, **{setting: json.dumps(path)}) as site:
        assert answer(site, {}).startswith("HTTP/1.1 500 ")
        assert "Until it can be imported, nobody can connect." in site.log()
    with (
        pytest.raises(AssertionError, match=r"ws4redis\.E003"),
        RunServer(redis_server.url, **{setting: json.dumps(path)}),
    ):
        pass


def test_allowed_channels_filters(with_settings: Callable[..., Site], redis_server: Valkey) -> None:
    site = with_settings(WS4REDIS_ALLOWED_CHANNELS="tests.site.hooks.only_broadcast")
    key, facility = log_in(site, "john"), uuid.uuid4().hex
    browser = site.connect(f"/ws/{facility}?subscribe-user&subscribe-broadcast", cookie=f"sessionid={key}")
    assert redis_server.client().publish(f"user:john:{facility}", "hi") == 0
    assert redis_server.client().publish(f"broadcast:{facility}", "hi") == 1
    assert browser.recv() == "hi"


def test_a_hook_that_returns_none_is_named_once(with_settings: Callable[..., Site]) -> None:
    site = with_settings(WS4REDIS_ALLOWED_CHANNELS="tests.site.hooks.returns_nothing")
    for _ in range(3):
        answer(site, {})
    assert site.log().count("tests.site.hooks.returns_nothing returned None") == 1


def test_process_request_says_who_it_is(with_settings: Callable[..., Site], redis_server: Valkey) -> None:
    site = with_settings(WS4REDIS_PROCESS_REQUEST="tests.site.hooks.token_as_user")
    facility = uuid.uuid4().hex
    browser = site.connect(f"/ws/{facility}?subscribe-user&token=mary")
    assert redis_server.client().publish(f"user:mary:{facility}", "hi") == 1
    assert browser.recv() == "hi"


SUBPROTOCOLS: list[tuple[Any, str, str | None]] = [
    (["news", "chat"], "chat, news", "news"),
    (["news", "chat"], "chat", "chat"),
    (["news"], "chat", None),
    ("tests.site.hooks.second_subprotocol", "chat, news", "news"),
    ("tests.site.hooks.second_subprotocol", "chat", None),
]


@pytest.mark.parametrize(("preference", "offered", "chosen"), SUBPROTOCOLS)
def test_subprotocols(with_settings: Callable[..., Site], preference: Any, offered: str, chosen: str | None) -> None:
    site = with_settings(WS4REDIS_SUBPROTOCOL=preference)
    text = answer(site, {"Sec-WebSocket-Protocol": offered})
    assert text.startswith("HTTP/1.1 101 ")
    assert re.findall("Sec-WebSocket-Protocol: (.*)\r", text) == ([chosen] if chosen else [])


def test_a_subscriber_keeps_its_own_request(with_settings: Callable[..., Site]) -> None:
    """uWSGI uses its environ dictionary again for the next visitor."""
    site = with_settings(WS4REDIS_SUBSCRIBER="tests.site.hooks.RememberingSubscriber")
    path = f"/ws/{uuid.uuid4().hex}?subscribe-session&publish-session"
    browsers = {}
    for name in ("john", "mary"):
        browsers[name] = site.connect(
            f"{path}&echo", cookie=f"sessionid={log_in(site, name)}; name={name}", header={"X-Name": name}
        )
    for number in range(100):
        get(site, f"/counts?{number}")
    for name, browser in browsers.items():
        browser.send("hi")
        assert browser.recv() == f"{name} {name} {name} hi"
    released = counts(site)["released"]
    site.close_browsers()
    wait_for(lambda: counts(site)["released"] == released + 2, "release() was called for each")


def test_options_of_the_socket(site: Site) -> None:
    site.connect()
    wait_for(lambda: counts(site)["options"] == [[1, 1]], "TCP_NODELAY and SO_KEEPALIVE are set")


def test_a_message_that_is_too_big(with_settings: Callable[..., Site]) -> None:
    site = with_settings(WS4REDIS_MAX_MESSAGE_SIZE=1000)
    path = f"/ws/{uuid.uuid4().hex}?subscribe-broadcast&publish-broadcast&echo"
    browser = site.connect(path)
    browser.send("x" * 1000)
    assert browser.recv() == "x" * 1000
    browser.send("x" * 1001)
    opcode, data = browser.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (8, 1009)


def test_a_server_without_room_refuses_with_503(redis_server: Valkey) -> None:
    """The descriptors end before the browsers do: the rest is told so, and comes in when others leave."""
    with UWSGI(redis_server.url, {"max-fd": 400, "gevent": 20}, WS4REDIS_THREADS="2") as small:
        for _ in range(400):
            try:
                small.connect()
            except WebSocketBadStatusException as error:
                assert error.status_code == 503
                assert b"no room" in error.resp_body
                break
        else:
            pytest.fail("nobody was refused")
        assert len(small.browsers) > 100
        assert counts(small)["connections"] == len(small.browsers)
        assert small.log().count("refused with 503") == 1
        small.close_browsers()
        wait_for(lambda: counts(small)["connections"] == 0, "the browsers have left")
        small.connect()


class Limited(UWSGI):
    """Started where the soft limit of descriptors is low, as a login shell's is."""

    def command(self) -> list[str]:
        return ["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", *super().command()]


def test_the_soft_limit_of_descriptors_is_raised(redis_server: Valkey) -> None:
    with Limited(redis_server.url, LOG_LEVEL="INFO") as site:
        found = wait_for(lambda: re.findall(r"worker 1 has room for (\d+) websockets", site.log()), "the capacity")
        assert int(found[0]) > 256
        for _ in range(300):
            site.connect()
        assert counts(site)["connections"] == 300


def test_the_log_names_the_channels_but_no_session_key(with_settings: Callable[..., Site]) -> None:
    site = with_settings()
    key, facility = log_in(site, "john"), uuid.uuid4().hex
    flags = "subscribe-session&subscribe-user&publish-broadcast"
    site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={key}")
    channels = [f"session:{key[:4]}...:{facility}", f"user:john:{facility}"]
    line = f"INFO websocket on '/ws/{facility}' hears {channels} and publishes to ['broadcast:{facility}']"
    wait_for(lambda: line in site.log(), line)
    assert key not in site.log()
    site.connect("/ws/a%0Ab?subscribe-broadcast")
    wait_for(lambda: r"websocket on '/ws/a\nb'" in site.log(), "an escaped newline")
