"""From the request to the websocket, under uWSGI: who is rejected with what, and what a connection is made of."""

from __future__ import annotations

import json
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError

import pytest
import redis
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest
from django.test import RequestFactory, override_settings
from websocket import ABNF, WebSocket, WebSocketBadStatusException

import tests.django_setup  # noqa: F401
from tests.browsers import counts, get, log_in, plain_socket
from tests.servers import UWSGI, RunServer, Site, Valkey, wait_for
from ws4redis import settings as ws4redis_settings
from ws4redis.auth.session import identify
from ws4redis.exceptions import RedisUnavailable, UpgradeRefused
from ws4redis.subscriber import RedisSubscriber
from ws4redis.wsgi_server import WebsocketWSGIServer

HANDSHAKE = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


PLAIN: dict[str, None] = dict.fromkeys(name for name in HANDSHAKE if name != "Host")


def answer(
    site: Site,
    headers: dict[str, str | None],
    method: str = "GET",
    path: str = "/ws/foobar",
    version: str = "HTTP/1.1",
) -> str:
    """The whole answer to a request made of the good handshake and these changes."""
    lines = [f"{name}: {value}" for name, value in {**HANDSHAKE, **headers}.items() if value is not None]
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as browser:
        browser.sendall("\r\n".join([f"{method} {path} {version}", *lines, "", ""]).encode("latin-1"))
        received = b""
        while not (end := received.find(b"\r\n\r\n") + 4) > 3:
            received += some(browser)
        length = re.search(rb"Content-Length: (\d+)", received)
        while length and len(received) < end + int(length[1]):
            received += some(browser)
    return received.decode("latin-1")


def some(browser: socket.socket) -> bytes:
    part = browser.recv(65536)
    assert part, "the connection ends before the answer does"
    return part


ANSWERS: list[tuple[str, dict[str, Any], str, str]] = [
    ("good", {}, "101", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ("one subprotocol", {"Sec-WebSocket-Protocol": "chat"}, "101", "Sec-WebSocket-Protocol: chat"),
    ("POST", {"method": "POST"}, "400", "GET"),
    ("plain GET", PLAIN, "400", "upgrade to a websocket"),
    ("plain POST", {**PLAIN, "method": "POST"}, "400", "GET"),
    ("HTTP/1.0", {"version": "HTTP/1.0"}, "400", "HTTP/1.1"),
    ("another case", {"Upgrade": "WebSocket"}, "101", ""),
    ("no upgrade", {"Upgrade": None}, "400", "upgrade to a websocket"),
    ("other upgrade", {"Upgrade": "h2c"}, "400", "upgrade to a websocket"),
    ("no key", {"Sec-WebSocket-Key": None}, "400", "Sec-WebSocket-Key"),
    ("bad key", {"Sec-WebSocket-Key": "*"}, "400", "Sec-WebSocket-Key"),
    ("short key", {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub24="}, "400", "16 bytes"),
    ("version 8", {"Sec-WebSocket-Version": "8"}, "101", ""),
    ("version 7", {"Sec-WebSocket-Version": "7"}, "101", ""),
    ("no version", {"Sec-WebSocket-Version": None}, "426", "Sec-WebSocket-Version: 13"),
    ("version 6", {"Sec-WebSocket-Version": "6"}, "426", "Sec-WebSocket-Version: 13"),
    ("other site, no cookie", {"Origin": "https://evil.example"}, "101", ""),
    ("other site, cookie", {"Origin": "https://evil.example", "Cookie": "a=b"}, "403", "https://evil.example"),
    ("own site, cookie", {"Origin": "http://127.0.0.1", "Cookie": "a=b"}, "101", ""),
    ("allowed host, cookie", {"Host": "upstream", "Origin": "https://localhost", "Cookie": "a=b"}, "101", ""),
    ("other port, cookie", {"Origin": "http://127.0.0.1:8080", "Cookie": "a=b"}, "403", "USE_X_FORWARDED_PORT"),
    (
        "other scheme, cookie",
        {"Host": "localhost:8443", "Origin": "https://localhost:8443", "Cookie": "a=b"},
        "403",
        "SECURE_PROXY_SSL_HEADER",
    ),
    ("other site, password", {"Origin": "https://evil.example", "Authorization": "Basic YTpi"}, "403", "evil.example"),
    ("other site, certificate", {"Origin": "https://evil.example", "X-SSL-Client-DN": "CN=a"}, "403", "evil.example"),
    ("null origin, cookie", {"Origin": "null", "Cookie": "a=b"}, "403", "WS4REDIS_ALLOWED_ORIGINS"),
]


@pytest.mark.contract(
    "8.1 server: it is a WSGI application",
    "8.4 runserver: a page below WEBSOCKET_URL is a 400",
    "8.4 runserver: 101 with the accepted key, in HTTP/1.1",
    "8.4 runserver: decided: Django 4.2 and later",
    "8.5 uWSGI: decided: answers and versions are those of runserver",
    "9.1 answers: 400: not GET",
    "9.1 answers: 400: not HTTP/1.1",
    "9.1 answers: 400: no Upgrade, or another one; the body speaks of an upgrade to a websocket",
    "9.1 answers: 426: no version; decided: with the headers of RFC 6455",
    "9.1 answers: versions 13, 8 and 7 are accepted; decided: others are a 426",
    "9.1 answers: 400: no key (decided: under uWSGI, too), or not of 16 bytes",
    "9.1 answers: 400, decided: a key that is no base64",
    "9.5 origin: decided: a page of another site that comes with a cookie, or with other authority, is refused",
    "9.5 origin: decided: without cookie, authority and hooks, or without an origin, nothing is refused",
    "asks deployment: #54, #124, #247: no Sec-WebSocket-Key, or an upgrade that uWSGI cannot make",
    "asks deployment: #193, #204, #273: a websocket's URL that is opened as a page answers why it is none",
    "asks deployment: #184: websockets on a host of their own",
    "asks javascript: #152, #149, #151, #154: a subprotocol that nobody asked for",
)
@pytest.mark.parametrize(("headers", "status", "words"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_answers(site: Site, headers: dict[str, Any], status: str, words: str) -> None:
    request = {name: value for name, value in headers.items() if name in ("method", "version")}
    text = answer(site, {name: value for name, value in headers.items() if name not in request}, **request)
    assert re.match(rf"HTTP/1\.[01] {status} ", text), text
    assert words in text


class OnlyWebsockets(UWSGI):
    """All requests are the websocket application's, as where pages have a server of their own."""

    defaults: dict[str, Any] = {**UWSGI.defaults, "module": "tests.site.wsgi:_websocket_app"}  # noqa: RUF012


class OnlyWebsocketsRunServer(RunServer):
    def environment(self) -> dict[str, str]:
        return {**super().environment(), "WSGI_APPLICATION": "ws4redis.django_runserver._websocket_app"}


@pytest.fixture(scope="module")
def bare_door(door: type[Site], redis_server: Valkey, database: Path) -> Iterator[Site]:
    kind = OnlyWebsockets if door is UWSGI else OnlyWebsocketsRunServer
    with kind(redis_server.url, DATABASE=str(database)) as server:
        yield server


# request target, status where pages are served, too, and where they are not; and the facility
TARGETS: list[tuple[str, str, str, str | None]] = [
    ("/ws/secret", "101", "101", "secret"),
    ("/secret", "404", "101", "secret"),
    ("secret", "404", "400", None),
    ("ws/secret", "404", "400", None),
    ("sec/ws/ret", "404", "400", None),
    ("%2Fws/secret", "101", "101", "secret"),
    ("/sec/ws/ret", "404", "101", "/secret"),
    # bytes as they were decoded
    (f"/ws/{'x' * 1024}", "101", "101", "x" * 1024),
    (f"/ws/{'x' * 1025}", "404", "404", None),
    (f"/ws/{'%E2%82%AC' * 341}x", "101", "101", "\N{EURO SIGN}" * 341 + "x"),
    (f"/ws/{'%E2%82%AC' * 341}xx", "404", "404", None),
]


@pytest.mark.parametrize(("target", "with_pages", "without", "facility"), TARGETS, ids=lambda each: str(each)[:20])
def test_which_paths_lead_to_a_facility(
    site: Site, bare_door: Site, redis_server: Valkey, target: str, with_pages: str, without: str, facility: str | None
) -> None:
    """Who looks at ``request.path_info`` in a hook knows each facility by one path, or by that without the prefix."""
    for server, status in ((site, with_pages), (bare_door, without)):
        text = answer(server, {}, path=f"{target}?subscribe-broadcast")
        assert re.match(rf"HTTP/1\.[01] {status} ", text), text
    if facility is not None:
        with plain_socket(bare_door, f"{target}?subscribe-broadcast"):
            assert redis_server.client().publish(f"broadcast:{facility}", "hi") == 1


def test_a_query_that_uwsgi_has_dropped(redis_server: Valkey) -> None:
    """It goes on without what does not fit into its buffer: who asks to listen would get in, and hear nothing."""
    with UWSGI(redis_server.url, {"buffer-size": 4096}) as small:
        for length, status in ((1000, "101 Switching Protocols"), (2500, "414 URI Too Long")):
            text = answer(small, {}, path=f"/ws/a?subscribe-broadcast&{'x' * length}")
            assert text.startswith(f"HTTP/1.1 {status}\r\n")
        assert "buffer-size" in text


# what a server tells of a request without a query; a proxy or a rule may have taken it off
WITHOUT_A_QUERY: list[tuple[dict[str, Any], str]] = [
    ({"QUERY_STRING": "", "REQUEST_URI": "/ws/news?subscribe-broadcast"}, "503"),
    ({"QUERY_STRING": "subscribe-broadcast", "REQUEST_URI": "/ws/news"}, "503"),
    ({"QUERY_STRING": None, "REQUEST_URI": "/ws/news"}, "503"),
    ({"QUERY_STRING": None, "REQUEST_URI": "/ws/news?"}, "503"),
    ({"QUERY_STRING": None}, "503"),
    ({"QUERY_STRING": None, "REQUEST_URI": "/ws/news?subscribe-broadcast"}, "414"),
]


@pytest.mark.parametrize(("environ", "status"), WITHOUT_A_QUERY)
def test_a_query_that_was_not_there(environ: dict[str, Any], status: str) -> None:
    assert steps(environ=environ)[0].startswith(status)


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"Upgrade": None}, "400 Bad Request"),
    ({"Origin": "https://evil.example", "Cookie": "a=b"}, "403 Forbidden"),
    ({"Sec-WebSocket-Version": None}, "426 Upgrade Required"),
]


@pytest.mark.contract(
    "9.1 answers: status line, and a body that says what is wrong; decided: as plain text",
    "asks deployment: #193, #204, #273: a websocket's URL that is opened as a page answers why it is none",
    "differs from 0.6: what a refused visitor sees",
)
@pytest.mark.parametrize(("headers", "status"), REFUSALS)
def test_a_refusal_is_a_line_of_plain_text(site: Site, headers: dict[str, Any], status: str) -> None:
    head, _, body = answer(site, headers).partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}\r\n")
    assert "\r\nContent-Type: text/plain; charset=utf-8" in head
    assert body.endswith("\n") and body.count("\n") == 1


@pytest.mark.contract("8.4 runserver: a subprotocol only if one is offered; decided: one of them")
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

# where a hook finds who it is, nobody but the site knows
HOOKED: list[dict[str, Any]] = [
    {"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.only_broadcast"},
    {"WS4REDIS_PROCESS_REQUEST": "tests.site.hooks.token_as_user"},
    {"WS4REDIS_SUBSCRIBER": "tests.site.hooks.StoppingSubscriber"},
]


@pytest.mark.contract(
    "9.5 origin: decided: every page of another site is refused where the site has hooks",
    "differs from 0.6: pages of other sites",
)
@pytest.mark.parametrize("settings", HOOKED, ids=lambda settings: next(iter(settings)))
def test_where_there_are_hooks_every_page_is_looked_at(
    with_settings: Callable[..., Site], settings: dict[str, Any]
) -> None:
    site = with_settings(**settings)
    for origin, status in (
        ("https://evil.example", "403"),
        ("null", "403"),
        ("http://127.0.0.1", "101"),
        (None, "101"),
    ):
        assert answer(site, {"Origin": origin}).startswith(f"HTTP/1.1 {status} "), origin
    wait_for(
        lambda: "rejected with 403: The page's origin https://evil.example is not this" in site.log(), "a log line"
    )


def test_a_hook_that_calls_an_attribute_is_told_what_to_write(with_settings: Callable[..., Site]) -> None:
    """As the sample of an old manual does it."""
    site = with_settings(WS4REDIS_ALLOWED_CHANNELS="tests.site.hooks.calls_is_authenticated")
    assert answer(site, {}).startswith("HTTP/1.1 500 ")
    line = (
        "websocket rejected with 500: is_authenticated is an attribute since Django 1.10, write it without parentheses"
    )
    wait_for(lambda: line in site.log(), line)


# path, facility
WITHOUT_A_SLASH = [("/ws/short", "/short"), ("/wsshort", "short")]


@pytest.mark.contract("differs from 0.6: `WEBSOCKET_URL` without a slash at an end")
@pytest.mark.parametrize(("path", "facility"), WITHOUT_A_SLASH)
def test_a_websocket_url_without_a_slash(
    with_settings: Callable[..., Site], redis_server: Valkey, path: str, facility: str
) -> None:
    """As of old, the facility is what follows it."""
    site = with_settings(WEBSOCKET_URL="/ws")
    browser = site.connect(f"{path}?subscribe-broadcast")
    # the other door's browser may still be leaving
    wait_for(lambda: redis_server.client().publish(f"broadcast:{facility}", "hi") == 1, "one listener")
    assert browser.recv() == "hi"
    assert "WEBSOCKET_URL is '/ws', without a slash at both ends" in site.log()
    site.close_browsers()


def test_a_websocket_url_without_the_first_slash(redis_server: Valkey, database: Path) -> None:
    """Which no path lacks; under uWSGI the site's own wsgi.py compares."""
    with RunServer(redis_server.url, DATABASE=str(database), WEBSOCKET_URL='"ws/"') as site:
        browser = site.connect("/ws/late?subscribe-broadcast")
        assert redis_server.client().publish("broadcast:/late", "hi") == 1
        assert browser.recv() == "hi"


UNIMPORTABLE = [
    ("WS4REDIS_ALLOWED_CHANNELS", "tests.site.hooks.not_there"),
    ("WS4REDIS_ALLOWED_CHANNELS", "no.such.module"),
    ("WS4REDIS_PROCESS_REQUEST", "tests.site.hooks.not_there"),
]


@pytest.mark.contract(
    "9.1 answers: 403: a hook raises PermissionDenied",
    "9.1 answers: 500: anything else; decided: without its text",
    "9.3 process request: 403: it raises PermissionDenied",
    "9.4 allowed channels: 403: it raises PermissionDenied",
    "9.4 allowed channels: decided: it may block, e.g. ask the database",
    "9.4 allowed channels: decided: one that fails lets nobody in, an AttributeError of a path's included",
    "14 manual: 8 WS4REDIS_ALLOWED_CHANNELS is asked before the upgrade",
    "asks identity: #103: hooks that ask the database",
    "asks channels: #190, #174, #103: who may publish",
    "differs from 0.6: an authorisation hook that fails",
)
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


@pytest.mark.contract("9.4 allowed channels: decided: a path that leads nowhere lets nobody in")
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


def test_a_prefix_that_names_an_audience_starts_no_server(door: type[Site], redis_server: Valkey) -> None:
    server = door(redis_server.url, WS4REDIS_PREFIX='"shop:user"')
    try:
        with suppress(AssertionError):  # uWSGI listens before it loads the site
            server.start()
        assert server.process is not None
        assert wait_for(server.process.poll, "the server has ended with an error")
        assert "WS4REDIS_PREFIX is 'shop:user'" in server.log()
    finally:
        server.__exit__()


@pytest.mark.contract(
    "7 URLs: decided: authorisation sees other spellings as the usual ones",
    "9.4 allowed channels: what it returns, any iterable, are the flags that hold, unchecked",
)
@pytest.mark.parametrize("flags", ["subscribe-user&subscribe-broadcast", "subscribe=user&subscribe=broadcast"])
def test_allowed_channels_filters(with_settings: Callable[..., Site], redis_server: Valkey, flags: str) -> None:
    site = with_settings(WS4REDIS_ALLOWED_CHANNELS="tests.site.hooks.only_broadcast")
    key, facility = log_in(site, "john"), uuid.uuid4().hex
    browser = site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={key}")
    assert redis_server.client().publish(f"user:john:{facility}", "hi") == 0
    assert redis_server.client().publish(f"broadcast:{facility}", "hi") == 1
    assert browser.recv() == "hi"


@pytest.mark.contract(
    "9.4 allowed channels: decided: None as its answer leaves the flags, and is warned of",
    "differs from 0.6: an authorisation hook that returns nothing",
)
def test_a_hook_that_returns_none_is_named_once(with_settings: Callable[..., Site]) -> None:
    site = with_settings(WS4REDIS_ALLOWED_CHANNELS="tests.site.hooks.returns_nothing")
    for _ in range(3):
        answer(site, {})
    assert site.log().count("tests.site.hooks.returns_nothing returned None") == 1


@pytest.mark.contract(
    "9.3 process request: it is called in place of the cookie's look-up",
    "9.3 process request: a token in the URL may identify the user",
)
def test_process_request_says_who_it_is(with_settings: Callable[..., Site], redis_server: Valkey) -> None:
    site = with_settings(WS4REDIS_PROCESS_REQUEST="tests.site.hooks.token_as_user")
    facility = uuid.uuid4().hex
    browser = site.connect(f"/ws/{facility}?subscribe-user&token=mary", cookie=f"sessionid={log_in(site, 'john')}")
    assert redis_server.client().publish(f"user:john:{facility}", "the cookie does not count") == 0
    assert redis_server.client().publish(f"user:mary:{facility}", "hi") == 1
    assert browser.recv() == "hi"


SUBPROTOCOLS: list[tuple[Any, str, str | None]] = [
    (["news", "chat"], "chat, news", "news"),
    (["news", "chat"], "chat", "chat"),
    (["news"], "chat", None),
    ("tests.site.hooks.second_subprotocol", "chat, news", "news"),
    ("tests.site.hooks.second_subprotocol", "chat", None),
]


@pytest.mark.contract(
    "8.4 runserver: a subprotocol only if one is offered; decided: one of them",
    "asks deployment: #206, #248: Safari wants HTTP/1.1 of runserver",
    "asks javascript: #152, #149, #151, #154: a subprotocol that nobody asked for",
)
@pytest.mark.parametrize(("preference", "offered", "chosen"), SUBPROTOCOLS)
def test_subprotocols(with_settings: Callable[..., Site], preference: Any, offered: str, chosen: str | None) -> None:
    site = with_settings(WS4REDIS_SUBPROTOCOL=preference)
    text = answer(site, {"Sec-WebSocket-Protocol": offered})
    assert text.startswith("HTTP/1.1 101 ")
    assert re.findall("Sec-WebSocket-Protocol: (.*)\r", text) == ([chosen] if chosen else [])


@pytest.mark.contract("6 RedisSubscriber: the request is at hand in set_pubsub_channels() only, and may be kept")
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


@pytest.mark.contract(
    "8.2 order: decided: nothing is written after the close frame",
    "12 closing: 1011, decided: the server fails; nothing follows the close frame",
    "asks deployment: #207, #266: bytes behind the close frame",
)
def test_a_subscriber_that_fails_closes_with_1011(with_settings: Callable[..., Site]) -> None:
    site = with_settings(WS4REDIS_SUBSCRIBER="tests.site.hooks.RememberingSubscriber")
    browser = site.connect(f"/ws/{uuid.uuid4().hex}?publish-broadcast")
    browser.send("hi")
    frame = browser.recv_frame()
    assert (frame.opcode, frame.data) == (ABNF.OPCODE_CLOSE, b"\x03\xf3server error")
    browser.send(frame.data, ABNF.OPCODE_CLOSE)
    assert browser.sock.recv(1) == b"", "nothing follows the close frame"
    wait_for(lambda: "KeyError: 'name'" in site.log(), "a cookie is missing, and the log says so")


@pytest.mark.contract(
    "3 names: one name is the channel and the key of its last message",
    "3 names: the prefix comes first with a colon; without one there is none",
    "3 names: the channel of the broadcast",
    "3 names: the channel of a user, by get_username(), which may be an e-mail address",
    "3 names: the channel of a group, by its name",
    "3 names: the channel of a session, by its key",
)
def test_the_prefix_begins_every_name(with_settings: Callable[..., Site], redis_server: Valkey) -> None:
    site, redis = with_settings(WS4REDIS_PREFIX="ws"), redis_server.client()
    key, facility = log_in(site, "john"), uuid.uuid4().hex
    audiences = ["broadcast", "group:chatusers", "user:john", f"session:{key}"]
    names = [f"ws:{each}:{facility}" for each in audiences]
    for name in names:
        redis.set(name, name, ex=60)
    flags = "&".join([*RedisSubscriber.subscription_channels, *RedisSubscriber.publish_channels])
    browser = site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={key}")
    assert [browser.recv() for _ in names] == names
    encoded = {name.encode() for name in names}
    assert set(redis.pubsub_channels(f"*:{facility}")) == encoded
    browser.send("hi")
    wait_for(lambda: redis.mget(names) == [b"hi"] * 4, "it is kept under these names")
    assert set(redis.keys(f"*:{facility}")) == encoded


@pytest.mark.contract("9.2 identity: no middleware runs")
def test_no_middleware_runs(door: type[Site], redis_server: Valkey, tmp_path: Path) -> None:
    (tmp_path / "closed_site.py").write_text(
        "from django.http import HttpResponse\n"
        "from tests.site.settings import *\n"
        "MIDDLEWARE = ['closed_site.closed']\n"
        "def closed(get_response):\n"
        "    return lambda request: HttpResponse(status=418)\n"
    )
    with door(redis_server.url, DJANGO_SETTINGS_MODULE="closed_site", PYTHONPATH=str(tmp_path)) as site:
        with pytest.raises(HTTPError, match="418"):
            get(site, "/counts")
        site.connect()


@pytest.mark.contract("14 manual: 1 WEBSOCKET_URL is /ws/ by default, everywhere")
def test_without_websocket_url_it_is_ws(door: type[Site], redis_server: Valkey, tmp_path: Path) -> None:
    (tmp_path / "brief_settings.py").write_text("from tests.site.settings import *\ndel WEBSOCKET_URL\n")
    with door(redis_server.url, DJANGO_SETTINGS_MODULE="brief_settings", PYTHONPATH=str(tmp_path)) as site:
        browser = site.connect("/ws/brief?subscribe-broadcast")
        assert redis_server.client().publish("broadcast:brief", "hi") == 1
        assert browser.recv() == "hi"


# the session engine, whose app the site does not have; the cookie, which may be of another site on this host
NOBODYS: list[tuple[str, str | None]] = [
    ("cache", None),
    ("cache", f"sessionid={'x' * 32}"),
    ("db", None),
    ("db", f"sessionid={'x' * 32}"),
]


@pytest.mark.contract("asks identity: #220: a site without users")
@pytest.mark.parametrize(("engine", "cookie"), NOBODYS)
def test_a_site_without_users_and_sessions(
    bare_site: Callable[[str], Site], redis_server: Valkey, engine: str, cookie: str | None
) -> None:
    site, facility = bare_site(engine), uuid.uuid4().hex
    flags = "&".join(RedisSubscriber.subscription_channels)
    browser = site.connect(f"/ws/{facility}?{flags}", cookie=cookie)
    assert redis_server.client().publish(f"broadcast:{facility}", "hi") == 1
    assert browser.recv() == "hi"


@pytest.fixture(scope="module")
def bare_site(
    door: type[Site], redis_server: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Site]]:
    """Neither has Django's apps for users and sessions, nor their middleware."""
    folder, sites = tmp_path_factory.mktemp("bare"), {}
    (folder / "bare_settings.py").write_text(
        "from tests.site.settings import *\n"
        "INSTALLED_APPS, MIDDLEWARE, ROOT_URLCONF = ['ws4redis'], [], 'bare_settings'\n"
        "urlpatterns = []\n"
    )
    with ExitStack() as started:

        def start(engine: str) -> Site:
            if engine not in sites:
                settings = {"DJANGO_SETTINGS_MODULE": "bare_settings", "PYTHONPATH": str(folder)}
                settings["SESSION_ENGINE"] = f"django.contrib.sessions.backends.{engine}"
                sites[engine] = started.enter_context(door(redis_server.url, **settings))
            return sites[engine]

        yield start


def test_options_of_the_socket(site: Site) -> None:
    site.connect()
    wait_for(lambda: counts(site)["options"] == [[1, 1, 1 << 17, 60_000]], "the options of TCP are set")


@pytest.mark.contract(
    "12 closing: 1009, decided: a message is too large",
    "differs from 0.6: how much a browser may say",
)
def test_a_message_that_is_too_big(with_settings: Callable[..., Site]) -> None:
    site = with_settings(WS4REDIS_MAX_MESSAGE_SIZE=1000)
    path = f"/ws/{uuid.uuid4().hex}?subscribe-broadcast&publish-broadcast&echo"
    browser = site.connect(path)
    browser.send("x" * 1000)
    assert browser.recv() == "x" * 1000
    browser.send("x" * 1001)
    opcode, data = browser.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (8, 1009)


@pytest.mark.contract("9.1 answers: decided: what uWSGI makes impossible is a 503 that the log explains")
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
        assert small.log().count("rejected with 503") == 1
        small.close_browsers()
        wait_for(lambda: counts(small)["connections"] == 0, "the browsers have left")
        small.connect()


class Limited(UWSGI):
    """Started where the soft limit of descriptors is low, as a login shell's is."""

    def command(self) -> list[str]:
        return ["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", *super().command()]


@pytest.mark.contract(
    "asks scale: #166, #110: only as many websockets as workers, or as --gevent says",
    "differs from 0.6: how many websockets",
)
def test_the_soft_limit_of_descriptors_is_raised(redis_server: Valkey) -> None:
    with Limited(redis_server.url, LOG_LEVEL="INFO") as site:
        found = wait_for(lambda: re.findall(r"worker 1 has room for (\d+) websockets", site.log()), "the capacity")
        assert int(found[0]) > 256
        for _ in range(300):
            site.connect()
        assert counts(site)["connections"] == 300


@pytest.mark.contract(
    "asks delivery: #211, #267, #60: all is connected, and nothing arrives",
    "asks identity: #267: the loop takes somebody for anonymous",
)
def test_the_log_names_the_channels_but_no_session_key(with_settings: Callable[..., Site]) -> None:
    site = with_settings()
    key, facility = log_in(site, "john"), uuid.uuid4().hex
    flags = "subscribe-session&subscribe-user&publish-broadcast"
    site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={key}")
    channels = [f"session:{key[:4]}...:{facility}", f"user:john:{facility}"]
    line = f"INFO websocket on '/ws/{facility}' subscribes to {channels} and publishes to ['broadcast:{facility}']"
    wait_for(lambda: line in site.log(), line)
    assert key not in site.log()
    site.connect("/ws/a%0Ab?subscribe-broadcast")
    wait_for(lambda: r"websocket on '/ws/a\nb'" in site.log(), "an escaped newline")


ENDS: dict[str, Callable[[WebSocket], Any]] = {
    "1000": lambda browser: browser.close(),
    "1001": lambda browser: browser.close(1001),
    "no code": lambda browser: browser.send(b"", ABNF.OPCODE_CLOSE),
    "just gone": lambda browser: browser.shutdown(),
}


@pytest.mark.contract(
    "12 closing: decided: a normal end is quiet",
    "asks deployment: #101, #111, #266, #272, #244: a traceback at each end",
    "differs from 0.6: how a websocket ends",
)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_normal_end_is_quiet(site: Site, end: Callable[[WebSocket], Any]) -> None:
    counts(site)  # it has told all about its start
    before = len(site.log())
    end(site.connect())
    wait_for(lambda: counts(site)["connections"] == 0, "it has left")
    assert not re.search("WARNING|ERROR|Traceback", site.log()[before:])


# settings, headers, line of the log
LOGGED: list[tuple[dict[str, str], dict[str, str | None], str]] = [
    ({}, {}, "django.request INFO websocket on"),
    ({}, {"Origin": "https://evil.example", "Cookie": "a=b"}, "django.request WARNING websocket rejected with 403"),
    (
        {"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.fails"},
        {},
        "django.request ERROR websocket rejected with 500",
    ),
]


@pytest.mark.contract("12 closing: what concerns one request is logged to django.request")
@pytest.mark.parametrize(("settings", "headers", "line"), LOGGED)
def test_the_logger_is_that_of_djangos_requests(
    with_settings: Callable[..., Site], settings: dict[str, str], headers: dict[str, str | None], line: str
) -> None:
    site = with_settings(**settings)
    before = len(site.log())
    answer(site, headers)
    wait_for(lambda: line in site.log()[before:], line)


# the steps, in this process


class Doorless(WebsocketWSGIServer):
    """Nobody gets past the last step."""

    runtime = SimpleNamespace(run_in_thread=lambda function, *args: function(*args))
    process = SimpleNamespace(check_redis=lambda: None, acquire=lambda limits: (), release=lambda keys: None)

    def upgrade_websocket(self, environ: Any, start_response: Any) -> Any:
        raise UpgradeRefused(503, "so far so good")


def steps(
    query: str = "", server: type[Doorless] = Doorless, environ: dict[str, Any] | None = None, **settings: Any
) -> tuple[str, str]:
    """The status line and the body.

    Args:
        environ: what is changed in the request's; None leaves out.
    """
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HANDSHAKE.items()}
    told: list[str] = []
    with override_settings(**settings):
        request = {**RequestFactory().get(f"/ws/news?{query}", **headers).environ, **(environ or {})}
        given = {name: value for name, value in request.items() if value is not None}
        body = server()(given, lambda status, headers: told.append(status))
    return told[0], b"".join(body).decode()


# how a site may install its check of who comes: a function of the class to be changed and of what is called
Install = Callable[[pytest.MonkeyPatch, type[Doorless], Callable[..., Any]], None]


def on_the_server(name: str) -> Install:
    return lambda patch, server, check: patch.setattr(server, name, check)


def on_the_base(name: str) -> Install:
    return lambda patch, server, check: patch.setattr(WebsocketWSGIServer, name, check)


def on_the_object(name: str) -> Install:
    def install(patch: pytest.MonkeyPatch, server: type[Doorless], check: Callable[..., Any]) -> None:
        def init(self: Any) -> None:
            WebsocketWSGIServer.__init__(self)
            setattr(self, name, partial(check, self))

        patch.setattr(server, "__init__", init, raising=False)

    return install


def by_mixin(name: str) -> Install:
    def install(patch: pytest.MonkeyPatch, server: type[Doorless], check: Callable[..., Any]) -> None:
        server.__bases__ = (type("Mixin", (WebsocketWSGIServer,), {name: check}), Doorless)

    return install


def on_the_subscriber(patch: pytest.MonkeyPatch, server: type[Doorless], check: Callable[..., Any]) -> None:
    patch.setattr(RedisSubscriber, "set_pubsub_channels", check)


def as_the_servers_subscriber(patch: pytest.MonkeyPatch, server: type[Doorless], check: Callable[..., Any]) -> None:
    def init(self: Any) -> None:
        WebsocketWSGIServer.__init__(self)
        self.Subscriber = type("Own", (RedisSubscriber,), {"set_pubsub_channels": check})

    patch.setattr(server, "__init__", init, raising=False)


def as_a_setting(patch: pytest.MonkeyPatch, server: type[Doorless], check: Callable[..., Any]) -> None:
    # as by an assignment, which ends with the test
    patch.setitem(vars(ws4redis_settings), "WS4REDIS_ALLOWED_CHANNELS", partial(check, None))


# and whether the visitor has been identified when it is called
INSTALLED: dict[str, tuple[Install, bool]] = {
    f"{how.__name__} {name}": (how(name), identified)
    for name, identified in (("process_request", False), ("process_subscriptions", True))
    for how in (on_the_server, on_the_base, on_the_object, by_mixin)
} | {each.__name__: (each, True) for each in (on_the_subscriber, as_the_servers_subscriber, as_a_setting)}


@pytest.mark.parametrize(("install", "identified"), INSTALLED.values(), ids=INSTALLED)
def test_a_check_is_called_wherever_it_was_put(
    monkeypatch: pytest.MonkeyPatch, install: Install, identified: bool
) -> None:
    """Visitors without a cookie are not spared it, and pages of other sites do not get as far."""

    class Server(Doorless):
        pass

    def check(self: Any, request: HttpRequest, *flags: Any) -> None:
        seen.append(hasattr(request, "user"))
        raise PermissionDenied

    seen: list[bool] = []
    install(monkeypatch, Server, check)
    assert steps("subscribe-broadcast", Server)[0] == "403 Forbidden"
    assert seen == [identified]
    assert "origin" in steps("subscribe-broadcast", Server, {"HTTP_ORIGIN": "https://evil.example"})[1]
    assert len(seen) == 1


class AuthenticationFailed(Exception):
    """As other frameworks have their own."""


# what a hook raises, status
RAISED: list[tuple[Exception, str]] = [
    (PermissionDenied("secret"), "403 Forbidden"),
    (Http404("secret"), "404 Not Found"),
    (SuspiciousOperation("secret"), "400 Bad Request"),
    (RedisUnavailable("secret"), "503 Service Unavailable"),
    (AuthenticationFailed("secret"), "500 Internal Server Error"),
    (AttributeError("secret"), "500 Internal Server Error"),
    (TypeError("secret"), "500 Internal Server Error"),
]


@pytest.mark.contract(
    "8.2 order: errors before the upgrade are HTTP's",
    "9.1 answers: 403: a hook raises PermissionDenied",
    "9.1 answers: decided: Http404 is a 404, SuspiciousOperation a 400",
    "9.1 answers: 500: anything else; decided: without its text",
    "9.3 process request: 403: it raises PermissionDenied",
    "9.4 allowed channels: 403: it raises PermissionDenied",
)
@pytest.mark.parametrize(("error", "status"), RAISED, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("setting", ["WS4REDIS_PROCESS_REQUEST", "WS4REDIS_ALLOWED_CHANNELS"])
def test_what_a_hook_raises_becomes_a_status(setting: str, error: Exception, status: str) -> None:
    def hook(*args: Any) -> Any:
        raise error

    told, body = steps(**{setting: hook})
    assert told == status
    assert "secret" not in body


class Recording(RedisSubscriber):
    """Has a flag of its own."""

    subscription_channels = [*RedisSubscriber.subscription_channels, "subscribe-admins"]  # noqa: RUF012
    made: list[Recording] = []  # noqa: RUF012

    def set_pubsub_channels(self, request: HttpRequest, channels: Any) -> None:
        super().set_pubsub_channels(request, channels)
        self.flags = list(channels)
        self.made.append(self)


# query, the flags that it asks for, whether it asks for the echo
QUERIES: list[tuple[str, list[str], bool]] = [
    ("", [], False),
    ("echo", [], True),
    ("subscribe-user&Publish-Broadcast=0&ECHO", ["subscribe-user", "publish-broadcast"], True),
    ("publish=user&subscribe=Session", ["publish-user", "subscribe-session"], False),
    ("subscribe-admins&subscribe-everybody&x=1&subscribe", ["subscribe-admins"], False),
]


@pytest.mark.contract(
    "6 RedisSubscriber: it has four flags to subscribe and four to publish; subclasses may add to both",
    "7 URLs: unknown names of parameters are ignored",
    "7 URLs: a subscriber may have further flags",
)
@pytest.mark.parametrize(("query", "flags", "echo"), QUERIES)
def test_which_flags_are_known(query: str, flags: list[str], echo: bool) -> None:
    with override_settings(WS4REDIS_SUBSCRIBER=Recording):
        server = Doorless()
    assert server.process_subscriptions(RequestFactory().get(f"/ws/news?{query}")) == (flags, echo)


# what the hook returns for the flags that it is given, flags that hold
PERMISSIONS: list[tuple[Callable[[list[str]], Any], list[str]]] = [
    (lambda flags: flags, ["subscribe-user", "subscribe-admins"]),
    (lambda flags: [], []),
    (lambda flags: (each for each in flags if each.endswith("user")), ["subscribe-user"]),
    (lambda flags: (*flags, "publish-user"), ["subscribe-user", "subscribe-admins", "publish-user"]),
    (lambda flags: None, ["subscribe-user", "subscribe-admins"]),
]


@pytest.mark.contract(
    "7 URLs: decided: authorisation sees other spellings as the usual ones",
    "9.4 allowed channels: it is given the request and the flags that are known",
    "9.4 allowed channels: what it returns, any iterable, are the flags that hold, unchecked",
    "9.4 allowed channels: decided: None as its answer leaves the flags, and is warned of",
)
@pytest.mark.parametrize(("returned", "holding"), PERMISSIONS)
def test_the_hook_is_given_flags_and_its_own_hold(returned: Callable[[list[str]], Any], holding: list[str]) -> None:
    Recording.made.clear()
    given: list[tuple[str, list[str]]] = []

    def permit(request: HttpRequest, channels: list[str]) -> Any:
        given.append((request.path_info, channels))
        return returned(channels)

    query = "subscribe=user&subscribe-admins&echo&unknown"
    told, body = steps(query, WS4REDIS_ALLOWED_CHANNELS=permit, WS4REDIS_SUBSCRIBER=Recording)
    assert body == "so far so good\n", told
    assert given == [("/ws/news", ["subscribe-user", "subscribe-admins"])]
    assert [each.flags for each in Recording.made] == [holding]


@pytest.mark.contract(
    "9.3 process request: wanted: it may call what it replaces",
    "asks identity: #67, #82, #164, #232, #233: tokens in place of the session",
)
def test_a_hook_may_begin_with_what_it_replaces() -> None:
    seen: list[tuple[Any, Any]] = []

    def by_session_or_token(request: HttpRequest) -> None:
        identify(request)
        if not request.user.is_authenticated:
            request.user = request.GET["token"]

    def look(request: HttpRequest, channels: list[str]) -> list[str]:
        seen.append((request.user, request.session.session_key))
        return channels

    steps("token=mary", WS4REDIS_PROCESS_REQUEST=by_session_or_token, WS4REDIS_ALLOWED_CHANNELS=look)
    assert seen == [("mary", None)]


@pytest.mark.contract("9.3 process request: decided: where it sets neither user nor session, nobody is there")
def test_a_hook_that_identifies_nobody_leaves_nobodys_channels() -> None:
    Recording.made.clear()
    flags = [*RedisSubscriber.subscription_channels, *RedisSubscriber.publish_channels]
    steps("&".join(flags), WS4REDIS_PROCESS_REQUEST=lambda request: None, WS4REDIS_SUBSCRIBER=Recording)
    [subscriber] = Recording.made
    assert (subscriber._subscription.names, subscriber._publishers) == ((b"broadcast:news",), {"broadcast:news"})


@pytest.mark.contract(
    "8.2 order: the order is protocol, identity, flags, WS4REDIS_ALLOWED_CHANNELS, upgrade",
    "8.2 order: decided: the subscriber is made and subscribed before the upgrade",
    "14 manual: 8 WS4REDIS_ALLOWED_CHANNELS is asked before the upgrade",
)
def test_the_order_of_the_steps() -> None:
    """Who may be refused is refused before there is a subscriber, and before the upgrade."""
    order: list[str] = []

    class Step:
        """Notes its name, and goes on."""

        def __init__(self, name: str, then: Any = None) -> None:
            self.name, self.then = name, then

        def __call__(self, *args: Any) -> Any:
            order.append(self.name)
            return self.then(*args) if self.then else None

    class Told(RedisSubscriber):
        def __init__(self, connection: Any) -> None:
            order.append("subscriber")
            super().__init__(connection)

        def set_pubsub_channels(self, request: HttpRequest, channels: Any) -> None:
            order.append("channels")
            super().set_pubsub_channels(request, channels)

        def release(self) -> None:
            order.append("release")
            super().release()

    class Server(Doorless):
        def assure_protocol_requirements(self, environ: Any) -> Any:
            order.append("protocol")
            return super().assure_protocol_requirements(environ)

        def process_request(self, request: HttpRequest) -> None:
            order.append("process_request")
            super().process_request(request)

        def process_subscriptions(self, request: HttpRequest) -> Any:
            order.append("flags")
            return super().process_subscriptions(request)

        def upgrade_websocket(self, environ: Any, start_response: Any) -> Any:
            order.append("upgrade")
            return super().upgrade_websocket(environ, start_response)

    allowed = Step("allowed", lambda request, flags: flags)
    steps("subscribe-broadcast", Server, WS4REDIS_ALLOWED_CHANNELS=allowed, WS4REDIS_SUBSCRIBER=Told)
    rest = ["flags", "allowed", "subscriber", "channels", "upgrade", "release"]
    assert order == ["protocol", "process_request", *rest]
    order.clear()
    hooks = {"WS4REDIS_ALLOWED_CHANNELS": allowed, "WS4REDIS_PROCESS_REQUEST": Step("hook")}
    steps("subscribe-broadcast", Server, WS4REDIS_SUBSCRIBER=Told, **hooks)
    assert order == ["protocol", "hook", *rest]


@pytest.mark.contract(
    "2 package: methods and attributes of their classes",
    "6 RedisSubscriber: the server knows all flags as possible_channels",
    "8.1 server: possible_channels, Subscriber and _redis_connection",
)
def test_what_a_server_tells_of_itself() -> None:
    given = redis.Redis()
    with override_settings(WS4REDIS_SUBSCRIBER=Recording):
        servers = [Doorless(), Doorless(given), Doorless(redis_connection=given)]
    for server in servers:
        assert server.Subscriber is Recording
        assert server.possible_channels == [*Recording.subscription_channels, *Recording.publish_channels]
    assert [server._redis_connection is given for server in servers] == [False, True, True]
