"""A site of django-websocket-redis 0.6 (``tests/site06``) works as it did, without a change."""

from __future__ import annotations

import http.cookiejar
import importlib
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import websocket
from websocket import WebSocketBadStatusException

import tests.django_setup  # noqa: F401
from tests.servers import ROOT, UWSGI, RunServer, Site, Valkey, wait_for

if TYPE_CHECKING:
    from tests.chromium import Window

    OpenWindow = Callable[..., Window]

HEARTBEAT = "--heartbeat--"
BOTH = "subscribe-broadcast&publish-broadcast"
ECHO = f"{BOTH}&echo"


class Visitor:
    """A browser without scripts; with a name it has logged in."""

    def __init__(self, pages: Site, name: str | None) -> None:
        self._url = pages.url
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))
        if name is not None:
            self.get("/accounts/login/")
            data = {"username": name, "password": "secret", "csrfmiddlewaretoken": self.cookie("csrftoken")}
            assert f'<p id="user">{name}</p>' in self.post("/accounts/login/", **data)

    def cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self._jar if cookie.name == name), "")

    def get(self, path: str) -> str:
        return self._open(path, None)

    def post(self, path: str, **data: Any) -> str:
        return self._open(path, urllib.parse.urlencode(data, doseq=True).encode())

    def _open(self, path: str, data: bytes | None) -> str:
        with self._opener.open(self._url(path), data, timeout=60) as response:
            return response.read().decode()


class Site06(Site):
    def __init__(self, redis_url: str, ini: str, **settings: str) -> None:
        super().__init__(redis_url, **settings)
        self.settings |= {"PORT": str(self.port), "VIRTUAL_ENV": sys.prefix}
        self.ini = ini
        #: where Django is
        self.pages: Site = self
        self._visitors: dict[str | None, Visitor] = {}

    def visitor(self, name: str | None = None) -> Visitor:
        if name not in self._visitors:
            self._visitors[name] = Visitor(self.pages, name)
        return self._visitors[name]

    def open(self, path: str, visitor: str | None = None, **options: Any) -> websocket.WebSocket:
        """A websocket; ``path`` is what follows WEBSOCKET_URL."""
        if visitor is not None:
            options["cookie"] = f"sessionid={self.visitor(visitor).cookie('sessionid')}"
        return self.connect(f"/ws/{path}", **options)


class UWSGI06(Site06):
    def command(self) -> list[str]:
        command = [UWSGI.program, "--ini", f"tests/site06/uwsgi.ini:{self.ini}"]
        return [*command, "--binary-path", sys.executable] if UWSGI.program == UWSGI.wheel else command


class RunServer06(Site06):
    command = RunServer.command
    arguments = RunServer.arguments


SERVERS: dict[str, tuple[type[Site06], str, str]] = {
    "one uwsgi": (UWSGI06, "uwsgi", "settings"),
    "runserver": (RunServer06, "", "settings"),
    "uwsgi for django": (UWSGI06, "runserver", "settings"),
    "uwsgi for websockets": (UWSGI06, "wsserver", "settings"),
    "uwsgi with a client": (UWSGI06, "client", "settings_client"),
    "uwsgi with tokens": (UWSGI06, "uwsgi", "settings_token"),
    "uwsgi with apps": (UWSGI06, "apps", "settings"),
    "runserver with apps": (RunServer06, "", "settings_apps"),
}


@pytest.fixture(scope="module")
def environment(redis_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What ``settings`` reads; the database has the fixture's users."""
    environment = {
        "REDIS_URL": redis_server.url,
        "DATABASE": str(tmp_path_factory.mktemp("site06") / "site.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "tests.site06.settings",
    }
    for command in ("migrate -v 0", "loaddata -v 0 data.json"):
        manage(environment, command, check=True)
    return environment


def manage(environment: dict[str, str], command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.site06.manage", *command.split()],
        cwd=ROOT,
        env={**os.environ, **environment},
        text=True,
        timeout=300,
        **options,
    )


@pytest.fixture(scope="module")
def serve(environment: dict[str, str]) -> Iterator[Callable[[str], Site06]]:
    """The servers, each started when it is first wanted."""
    sites: dict[str, Site06] = {}
    with ExitStack() as started:

        def start(name: str) -> Site06:
            if name not in sites:
                kind, ini, settings = SERVERS[name]
                own = {**environment, "DJANGO_SETTINGS_MODULE": f"tests.site06.{settings}"}
                sites[name] = started.enter_context(kind(own.pop("REDIS_URL"), ini, **own))
            return sites[name]

        yield start


@pytest.fixture(scope="module", params=["one uwsgi", "two uwsgi", "runserver"])
def site(request: pytest.FixtureRequest, serve: Callable[[str], Site06]) -> Site06:
    if request.param == "two uwsgi":
        site = serve("uwsgi for websockets")
        site.pages = serve("uwsgi for django")
        return site
    return serve(request.param)


@pytest.fixture(scope="module", params=["uwsgi", "runserver"])
def apps(request: pytest.FixtureRequest, serve: Callable[[str], Site06]) -> Site06:
    return serve(f"{request.param} with apps")


@pytest.fixture(autouse=True)
def store(redis_server: Valkey) -> redis.Redis:
    """Nothing is kept in Redis from the tests before, but sessions."""
    client = redis_server.client()
    for key in client.scan_iter("site06:*"):
        client.delete(key)
    return client


@pytest.fixture(autouse=True)
def close_all_browsers(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in {"site", "apps"}.intersection(request.fixturenames):
        request.getfixturevalue(name).close_browsers()


def receive(browser: websocket.WebSocket) -> str | bytes:
    """The next message; heartbeats come every few seconds, so five without a message mean that none comes."""
    for _ in range(5):
        opcode, data = browser.recv_data()
        if data != HEARTBEAT.encode():
            return data.decode() if opcode == websocket.ABNF.OPCODE_TEXT else data
    raise AssertionError("nothing but heartbeats")


def publish(store: redis.Redis, channel: str, message: str) -> None:
    """As other programs do it, by the channel's name."""
    wait_for(lambda: store.publish(f"site06:{channel}", message), f"a listener of {channel}")


def nothing_waits(store: redis.Redis, channel: str, browser: websocket.WebSocket) -> None:
    """The next that arrives is what is published now, to a channel that the browser hears."""
    marker = uuid.uuid4().hex
    publish(store, channel, marker)
    assert receive(browser) == marker


# -- pages --

PAGES = [
    ("/chat/", "ws://{host}/ws/foobar?subscribe-broadcast&publish-broadcast&echo'"),
    ("/", 'src="/static/js/ws4redis.js"'),
    ("/userchat/", "<option>mary</option>"),
    ("/userchat/", 'src="/static/js/ws4redis.js"'),
    ("/groupchat/", "ws://{host}/ws/foobar?subscribe-group'"),
    ("/groupchat/", 'heartbeat_msg: "--heartbeat--"\n'),
    ("/accounts/login/", 'name="password"'),
    ("/static/js/ws4redis.js", "WS4Redis"),
]


@pytest.mark.contract(
    "2 package: decided: Django is set up where nobody has done it",
    "13.1 templates: WEBSOCKET_URI: scheme by the request's, host, WEBSOCKET_URL",
    "13.2 WS4Redis: it is included by the static tag, or behind STATIC_URL",
    "14 manual: 16 /chat/, /userchat/ and /groupchat/",
    "asks deployment: #271: settings that are not configured when wsgi.py imports",
    "asks javascript: #201, #243: STATIC_URL, and a demonstration that runs",
)
@pytest.mark.parametrize(("path", "words"), PAGES)
def test_pages(site: Site06, path: str, words: str) -> None:
    assert words.format(host=f"127.0.0.1:{site.pages.port}") in site.visitor().get(path)


@pytest.mark.parametrize("server", ["one uwsgi", "runserver"])
def test_two_windows_chat(serve: Callable[[str], Site06], open_window: OpenWindow, server: str) -> None:
    windows = [open_window(serve(server).url("/chat/")) for _ in range(2)]
    for window in windows:
        window.wait_for_text("#billboard p", "Hello everybody")
    windows[0].type("#text", "<b>hi</b>")
    windows[0].click("#send")
    for window in windows:
        window.wait_for_text("#billboard p", "<b>hi</b>")
        assert window.texts("#billboard p")[:2] == ["connecting", "connected"]


# -- john publishes --

# path, form, flags, who hears it, who does not
AUDIENCES: list[tuple[str, dict[str, Any], str, str | None, str | None]] = [
    ("/userchat/", {"user": "mary"}, "subscribe-user", "mary", "john"),
    ("/groupchat/", {"group": "chatusers"}, "subscribe-group", "mary", "admin"),
    ("/notice/", {"user": ["admin", "mary"]}, "subscribe-user", "admin", "john"),
    ("/notice/", {"user": ["admin", "mary"], "pipeline": 1}, "subscribe-user", "mary", None),
    ("/notice/", {"broadcast": 1, "group": "chatusers"}, "subscribe-group", "john", None),
    ("/notice/", {"broadcast": 1, "group": "chatusers"}, "subscribe-broadcast", None, None),
    ("/self/users/", {}, "subscribe-user", "john", "mary"),
    ("/self/groups/", {}, "subscribe-group", "mary", "admin"),
    ("/self/sessions/", {}, "subscribe-session", "john", "mary"),
    ("/legacy/users/", {}, "subscribe-user", "john", "mary"),
    ("/legacy/users/", {"name": "mary"}, "subscribe-user", "mary", "john"),
    ("/legacy/groups/", {}, "subscribe-group", "john", "admin"),
    ("/legacy/groups/", {"name": "chatusers"}, "subscribe-group", "john", "admin"),
    ("/legacy/sessions/", {}, "subscribe-session", "john", "mary"),
]


@pytest.mark.contract(
    "8.5 uWSGI: decided: whatever gevent has not patched by then is patched",
    "14 manual: 16 /chat/, /userchat/ and /groupchat/",
    "14 manual: 18 the fixture's group is chatusers",
    "14 manual: 21 wsgi.py may patch little or nothing, and set DJANGO_SETTINGS_MODULE first",
    "asks scale: #116: Django on another WSGI server",
)
@pytest.mark.parametrize(("path", "form", "flags", "hears", "hears_not"), AUDIENCES)
def test_audiences(
    site: Site06, store: redis.Redis, path: str, form: dict[str, Any], flags: str, hears: str, hears_not: str | None
) -> None:
    browser = site.open(f"foobar?{flags}", hears)
    other = site.open(f"foobar?{flags}&subscribe-broadcast", hears_not) if hears_not else None
    assert site.visitor("john").post(path, message="Grüße", **form) == "OK"
    assert receive(browser) == "Grüße"
    if other is not None:
        nothing_waits(store, "broadcast:foobar", other)


def test_opening_a_page_publishes(site: Site06) -> None:
    browser = site.open("foobar?subscribe-broadcast")
    site.visitor().get("/chat/")
    assert receive(browser) == "Hello everybody"


# -- what is kept --

# path, form, the key, for how long at most
KEPT: list[tuple[str, dict[str, Any], str, range]] = [
    ("/userchat/", {"user": "mary"}, "site06:user:mary:foobar", range(60, 7201)),
    ("/groupchat/", {"group": "chatusers"}, "site06:group:chatusers:foobar", range(60, 7201)),
    ("/notice/", {"broadcast": 1}, "site06:broadcast:foobar", range(1, 61)),
    ("/notice/", {"broadcast": 1, "pipeline": 1, "expire": 600}, "site06:broadcast:foobar", range(60, 601)),
]


@pytest.mark.parametrize(("path", "form", "key", "seconds"), KEPT)
def test_newcomers_get_the_last_message(
    site: Site06, store: redis.Redis, path: str, form: dict[str, Any], key: str, seconds: range
) -> None:
    for message in ("old", "last"):
        site.visitor("john").post(path, message=message, **form)
    assert store.get(key) == b"last"
    assert store.ttl(key) in seconds
    for _ in range(2):
        browser = site.open("foobar?subscribe-user&subscribe-group&subscribe-broadcast", "mary")
        assert receive(browser) == "last"
        nothing_waits(store, "broadcast:foobar", browser)


@pytest.mark.parametrize("form", [{}, {"pipeline": 1}])
def test_expire_0_keeps_nothing(site: Site06, store: redis.Redis, form: dict[str, Any]) -> None:
    site.visitor("john").post("/notice/", message="gone", broadcast=1, expire=0, **form)
    nothing_waits(store, "broadcast:foobar", site.open("foobar?subscribe-broadcast"))


def test_what_was_kept_comes_by_audience(site: Site06) -> None:
    john = site.visitor("john")
    for path, form in (("self/sessions", {}), ("self/users", {}), ("self/groups", {}), ("notice", {"broadcast": 1})):
        john.post(f"/{path}/", message=path, **form)
    browser = site.open("foobar?subscribe-session&subscribe-user&subscribe-group&subscribe-broadcast", "john")
    assert [receive(browser) for _ in range(4)] == ["notice", "self/groups", "self/users", "self/sessions"]


# john's flag, who fetches it from where, who does not
FETCHED = [
    ("broadcast", None, None),
    ("group", "mary", "admin"),
    ("user", "john", "mary"),
    ("session", "john", "mary"),
]


@pytest.mark.parametrize(("audience", "fetches", "fetches_not"), FETCHED)
def test_django_fetches_what_a_browser_said(site: Site06, audience: str, fetches: str, fetches_not: str) -> None:
    site.open(f"foobar?publish-{audience}", "john").send("N 52")
    for each in (audience, "any"):
        path = f"/last/{each}/"
        wait_for(lambda path=path: site.visitor(fetches).get(path) == "N 52", f"the position, by {each}")
        assert fetches_not is None or site.visitor(fetches_not).get(path) == "nothing"


# -- what browsers say --

# what is said, what all hear who want it
SAID: list[tuple[str | bytes, str | bytes]] = [
    ("hi", "hi"),
    ("/shout hi", "HI"),
    (b"\x00\x12\xaa", b"\x00\x12\xaa"),
]


@pytest.mark.contract(
    "6 RedisSubscriber: subclasses override publish_message() to react",
    "8.3 frames: binary messages of browsers are published and kept unchanged",
)
@pytest.mark.parametrize(("said", "heard"), SAID)
def test_said_with_and_without_echo(site: Site06, store: redis.Redis, said: str | bytes, heard: str | bytes) -> None:
    with_echo, without, other = (site.open(f"foobar?{flags}") for flags in (ECHO, BOTH, "subscribe-broadcast"))
    for sender in (with_echo, without):
        sender.send(said, websocket.ABNF.OPCODE_BINARY if isinstance(said, bytes) else websocket.ABNF.OPCODE_TEXT)
        assert [receive(each) for each in (with_echo, other)] == [heard] * 2
        if sender is with_echo:
            assert receive(without) == heard
    nothing_waits(store, "broadcast:foobar", without)


@pytest.mark.contract(
    "6 RedisSubscriber: publish_message() gets each message of the browser, with the default expiry",
    "6 RedisSubscriber: subclasses override publish_message() to react",
)
def test_a_subscriber_reacts(site: Site06, store: redis.Redis) -> None:
    browser = site.open(f"foobar?{ECHO}")
    browser.send("/count clicks")
    wait_for(lambda: store.get("site06:clicks") == b"1", "the count")
    nothing_waits(store, "broadcast:foobar", browser)


def test_without_a_flag_nothing_is_published(site: Site06, store: redis.Redis) -> None:
    browser = site.open("foobar?subscribe-broadcast")
    browser.send("unheard")
    browser.ping()
    assert browser.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG
    nothing_waits(store, "broadcast:foobar", browser)
    assert store.get("site06:broadcast:foobar") is None


@pytest.mark.parametrize("opcode", [websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY])
def test_a_heartbeat_is_no_message(site: Site06, store: redis.Redis, opcode: int) -> None:
    browser = site.open("foobar?publish-broadcast")
    with store.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("site06:broadcast:foobar")
        browser.send(HEARTBEAT, opcode)
        browser.send("hi")
        message = wait_for(lambda: listener.get_message(timeout=1), "the message")
    assert message["data"] == b"hi"


def test_the_server_sends_heartbeats(site: Site06) -> None:
    browsers = [site.open(path) for path in ("foobar", "foobar?subscribe-broadcast")]
    assert [each.recv() for each in browsers * 2] == [HEARTBEAT] * 4


# -- who may connect --

# path, visitor, further options, status, words of the answer
ANSWERS: list[tuple[str, str | None, dict[str, Any], int, str]] = [
    ("members", "john", {}, 101, ""),
    ("members", None, {}, 403, ""),
    ("members", None, {"cookie": f"sessionid={'x' * 32}"}, 403, ""),
    ("foobar?subscribe-user&subscribe-group&subscribe-session", None, {}, 101, ""),
    ("foobar?no-such-flag&subscribe=", None, {}, 101, ""),
    ("foobar", None, {"header": {"Sec-WebSocket-Key": "short"}}, 400, "Sec-WebSocket-Key"),
]


@pytest.mark.contract("14 manual: 9 a visitor who has not logged in gets the hook's 403")
@pytest.mark.parametrize(("path", "visitor", "options", "status", "words"), ANSWERS)
def test_answers(
    site: Site06, path: str, visitor: str | None, options: dict[str, Any], status: int, words: str
) -> None:
    found, text = answer_of(lambda: site.open(path, visitor, **options))
    assert found == status
    assert words in text


@pytest.mark.contract("8.4 runserver: a page below WEBSOCKET_URL is a 400")
def test_a_page_is_no_websocket(site: Site06) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(site.url("/ws/foobar"))
    with refused.value as answer:
        assert answer.code == 400
        assert "upgrade to a websocket" in answer.read().decode()


def answer_of(connect: Callable[[], websocket.WebSocket]) -> tuple[int, str]:
    try:
        return connect().getstatus(), ""
    except WebSocketBadStatusException as refused:
        return refused.status_code, refused.resp_body.decode()


def test_channels_are_taken_away(site: Site06, store: redis.Redis) -> None:
    """The hook returns a set."""
    browser, other = site.open(f"readonly?{ECHO}"), site.open("readonly?subscribe-broadcast")
    browser.send("unheard")
    browser.ping()
    assert browser.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG
    nothing_waits(store, "broadcast:readonly", browser)
    assert receive(other) is not None
    assert store.get("site06:broadcast:readonly") is None


def test_tokens(serve: Callable[[str], Site06], store: redis.Redis) -> None:
    """WS4REDIS_PROCESS_REQUEST"""
    site = serve("uwsgi with tokens")
    token = site.visitor("john").get("/token/")
    assert answer_of(lambda: site.open("foobar?token=bad", "john"))[0] == 403
    browser = site.connect(f"/ws/foobar?subscribe-user&subscribe-group&subscribe-session&token={token}")
    publish(store, "user:john:foobar", "to john")
    publish(store, "group:chatusers:foobar", "to his group")
    assert [receive(browser), receive(browser)] == ["to john", "to his group"]


@pytest.mark.contract("8.1 server: a Redis client may be given to it")
def test_a_client_made_elsewhere(serve: Callable[[str], Site06], store: redis.Redis) -> None:
    """Given to the server, it is the only way to Redis: the settings lead nowhere."""
    site = serve("uwsgi with a client")
    store.set("site06:broadcast:foobar", "kept", ex=60)
    browser = site.connect(f"/ws/foobar?{ECHO}")
    assert receive(browser) == "kept"
    browser.send("hi")
    assert receive(browser) == "hi"
    wait_for(lambda: store.get("site06:broadcast:foobar") == b"hi", "the message in Redis")
    nothing_waits(store, "broadcast:foobar", browser)


# -- servers of one's own --

OWN_SERVERS: list[tuple[str, dict[str, str], int, str]] = [
    ("header/x", {"X-User": "john"}, 101, ""),
    ("header/x", {"X-User": "nobody"}, 403, ""),
    ("header/x", {}, 101, ""),
    ("key/x", {"X-Api-Key": "right"}, 101, ""),
    ("key/x", {"X-Api-Key": "wrong"}, 400, "The API key is missing"),
    ("key/x", {}, 400, "The API key is missing"),
    ("trusting/x", {}, 101, ""),
]


@pytest.mark.contract(
    "2.1 exceptions: a server may raise HandshakeError",
    "6 RedisSubscriber: subclasses of the server override process_request()",
    "8.1 server: assure_protocol_requirements() may ask for more, or less",
)
@pytest.mark.parametrize(("path", "headers", "status", "words"), OWN_SERVERS)
def test_own_servers_answer(apps: Site06, path: str, headers: dict[str, str], status: int, words: str) -> None:
    found, text = answer_of(lambda: apps.open(path, header=headers))
    assert found == status
    assert words in text


# flags, the headers, the visitor's cookie, the channel that is heard
IDENTITIES: list[tuple[str, dict[str, str], str | None, str]] = [
    ("subscribe-user", {"X-User": "mary"}, None, "user:mary:header/x"),
    ("subscribe-user", {"X-User": "mary"}, "john", "user:mary:header/x"),
    ("subscribe-user", {}, "john", "user:john:header/x"),
    ("subscribe-session", {"X-User": "mary", "X-Session": "{key}"}, None, "session:{key}:header/x"),
]


@pytest.mark.contract("8.1 server: process_request() may identify the user")
@pytest.mark.parametrize(("flags", "headers", "visitor", "channel"), IDENTITIES)
def test_an_own_server_says_who_it_is(
    apps: Site06, store: redis.Redis, flags: str, headers: dict[str, str], visitor: str | None, channel: str
) -> None:
    key = apps.visitor("mary").cookie("sessionid")
    headers = {name: value.format(key=key) for name, value in headers.items()}
    browser = apps.open(f"header/x?{flags}", visitor, header=headers)
    publish(store, channel.format(key=key), "hi")
    assert receive(browser) == "hi"


@pytest.mark.contract("8.1 server: process_subscriptions() may change flags and echo")
def test_an_own_server_changes_flags(apps: Site06, store: redis.Redis) -> None:
    browser = apps.open("listen/x?publish-broadcast")
    browser.send("unheard")
    nothing_waits(store, "broadcast:listen/x", browser)


@pytest.mark.contract("8.1 server: process_subscriptions() may change flags and echo")
def test_an_own_server_decides_on_echo(apps: Site06) -> None:
    browser = apps.open(f"echo/x?{BOTH}")
    browser.send("hi")
    assert receive(browser) == "hi"


@pytest.mark.contract("8.1 server: websockets are the open ones of this process")
def test_a_server_knows_its_websockets(apps: Site06) -> None:
    browsers = [apps.open("echo/x") for _ in range(3)]
    wait_for(lambda: apps.visitor().get("/open/echo") == "3", "three")
    browsers[0].close()
    wait_for(lambda: apps.visitor().get("/open/echo") == "2", "two")


# -- subscribers of one's own --

# flags, channel, is it heard
TEAM = [
    ("", "announcements", True),
    ("", "team", False),
    ("subscribe-team", "team", True),
    ("subscribe-broadcast", "broadcast:team/x", True),
]


@pytest.mark.contract(
    "6 RedisSubscriber: it has four flags to subscribe and four to publish; subclasses may add to both",
    "6 RedisSubscriber: subclasses override set_pubsub_channels() for channels of their own",
    "asks identity: #261: channels for anybody",
    "asks channels: #261: channels of any name",
)
@pytest.mark.parametrize(("flags", "channel", "heard"), TEAM)
@pytest.mark.parametrize("kept", [True, False])
def test_own_channels(apps: Site06, store: redis.Redis, flags: str, channel: str, heard: bool, kept: bool) -> None:
    if kept:
        store.set(f"site06:{channel}", "hi")
    browser = apps.open(f"team/x?{flags}")
    if heard and not kept:
        publish(store, channel, "hi")
    elif not kept:
        store.publish(f"site06:{channel}", "hi")
    if heard:
        assert receive(browser) == "hi"
    nothing_waits(store, "announcements", browser)


# flags, the channels to which it goes
TEAM_SAYS = [
    ("", ["archive"]),
    ("publish-team", ["archive", "team"]),
    ("publish-broadcast&publish-team", ["archive", "team", "broadcast:team/x"]),
]


@pytest.mark.contract(
    "6 RedisSubscriber: it has four flags to subscribe and four to publish; subclasses may add to both",
    "6 RedisSubscriber: subclasses override set_pubsub_channels() for channels of their own",
)
@pytest.mark.parametrize(("flags", "channels"), TEAM_SAYS)
def test_own_publishers(apps: Site06, store: redis.Redis, flags: str, channels: list[str]) -> None:
    """The subscriber remembers the user's id, which is the fixture's."""
    apps.open(f"team/x?{flags}", "john").send("hi")
    expected = [b"2: hi" if each in channels else None for each in TEAM_SAYS[-1][1]]
    wait_for(lambda: store.mget([f"site06:{each}" for each in TEAM_SAYS[-1][1]]) == expected, f"{expected}")


def fail(browser: websocket.WebSocket) -> None:
    """Opcode 3 does not exist."""
    browser.sock.sendall(b"\x83\x80\0\0\0\0")
    browser.recv()
    browser.shutdown()


LEAVING: dict[str, Callable[[websocket.WebSocket], None]] = {
    "closed": lambda browser: browser.close(),
    "closed with a code": lambda browser: browser.close(1001),
    "cut off": lambda browser: browser.shutdown(),
    "protocol error": fail,
}


@pytest.mark.contract(
    "6 RedisSubscriber: release() on every path; decided: once",
    "6 RedisSubscriber: subclasses override release() to act at the end",
)
@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
def test_release(apps: Site06, store: redis.Redis, leave: Callable[[websocket.WebSocket], None]) -> None:
    room = f"leaving/{uuid.uuid4().hex}"
    browser, other = apps.open(f"{room}?publish-broadcast", "john"), apps.open(f"{room}?subscribe-broadcast", "mary")
    leave(browser)
    assert receive(other) == "john has left"
    wait_for(lambda: store.lrange(f"site06:/ws/{room}", 0, -1) == [b"john"], "john alone, and once")
    nothing_waits(store, f"broadcast:{room}", other)


# path, audience, what the first, the second hears
ONCE = [
    ("once/x", "broadcast", ["kept", "welcome"], ["welcome"]),
    ("once/x", "user:john", ["kept", "welcome"], ["welcome"]),
    ("oldonce/x", "broadcast", ["kept"], ["kept"]),
    ("oldonce/x", "user:john", ["kept"], []),
]


@pytest.mark.contract(
    "6 RedisSubscriber: send_persisted_messages() sends what was kept and is not empty, in the order of subscription",
    "6 RedisSubscriber: decided: an override of send_persited_messages() is called, too",
    "6 RedisSubscriber: subclasses override send_persisted_messages() to deliver once",
    "8.1 server: a subscriber may send to its websocket, and close it",
)
@pytest.mark.parametrize(("path", "audience", "first", "second"), ONCE)
def test_delivered_once(
    apps: Site06, store: redis.Redis, path: str, audience: str, first: list[str], second: list[str]
) -> None:
    store.set(f"site06:{audience}:{path}", "kept")
    for expected in (first, second):
        browser = apps.open(f"{path}?subscribe-broadcast&subscribe-user", "john")
        assert [receive(browser) for _ in expected] == expected
        nothing_waits(store, f"broadcast:{path}", browser)


@pytest.mark.contract(
    "6 RedisSubscriber: parse_response() is one reply of Redis",
    "6 RedisSubscriber: decided: overriding parse_response() or get_file_descriptor() gives a connection of its own",
)
def test_replies_are_filtered(apps: Site06, store: redis.Redis) -> None:
    browsers = [apps.open("filtering/x?subscribe-broadcast&subscribe-user", "john") for _ in range(2)]
    wait_for(lambda: store.pubsub_numsub("site06:user:john:filtering/x")[0][1] == 2, "a connection for each")
    for channel, message in (("broadcast", "one"), ("broadcast", "secret"), ("user:john", "two")):
        publish(store, f"{channel}:filtering/x", message)
    for browser in browsers:
        assert [receive(browser) for _ in range(2)] == ["one (checked)", "two (checked)"]


def patterns(store: redis.Redis) -> int:
    """The connections that listen by patterns."""
    return sum(int(each["psub"]) for each in store.client_list())


@pytest.mark.contract(
    "6 RedisSubscriber: decided: overriding parse_response() or get_file_descriptor() gives a connection of its own",
    "6 RedisSubscriber: patterns work on a connection of its own, and are an error elsewhere",
)
def test_replies_of_an_own_connection(apps: Site06, store: redis.Redis) -> None:
    browsers = [apps.open("pattern/x"), apps.open("pattern/y")]
    wait_for(lambda: patterns(store) == 2, "a connection for each")
    messages = [str(number) for number in range(20)]
    for number in messages:
        publish(store, f"broadcast:pattern/room/{number}", number)
    for browser in browsers:
        assert [receive(browser) for _ in messages] == messages
    browsers.pop().close()
    wait_for(lambda: patterns(store) == 1, "one is given back")
    publish(store, "broadcast:pattern/room/a", "still there")
    assert receive(browsers.pop()) == "still there"
    apps.close_browsers()
    wait_for(lambda: patterns(store) == 0, "both are given back")


# -- names that sites import --

NAMES = {
    "_compat": "is_authenticated",
    "context_processors": "default",
    "django_runserver": "WebsocketRunServer _django_app _websocket_app _websocket_url application",
    "exceptions": "FrameTooLargeException HandshakeError UpgradeRequiredError WebSocketError",
    "models": "store_groups_in_session",
    "publisher": "RedisPublisher redis_connection_pool",
    "redis_store": "RedisMessage RedisStore SELF _wrap_groups _wrap_sessions _wrap_users",
    "store": "RedisStore RedisSubscriber",
    "subscriber": "RedisStore RedisSubscriber SELF",
    "websocket": "WebSocket",
    "wsgi_server": "HandshakeError RedisMessage UpgradeRequiredError WebSocketError WebsocketWSGIServer",
}


@pytest.mark.parametrize("name", [f"{module}.{name}" for module, names in NAMES.items() for name in names.split()])
def test_names(name: str) -> None:
    module, _, name = name.partition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert hasattr(importlib.import_module(f"ws4redis.{module}"), name)


# -- the original's own tests --

LIVE_TESTS = re.findall(r"def (test_\w+)", Path(ROOT, "tests/site06/tests.py").read_text())


@pytest.fixture(scope="module")
def live_tests(environment: dict[str, str]) -> str:
    """What ``manage.py test`` says."""
    return manage(environment, "test tests.site06.tests -v 2", capture_output=True).stderr


@pytest.mark.contract("8.4 runserver: under LiveServerTestCase, by set_app()")
@pytest.mark.parametrize("name", LIVE_TESTS)
def test_under_a_live_server(live_tests: str, name: str) -> None:
    assert re.search(rf"(?m)^{name} \(", live_tests), live_tests
    assert not re.search(rf"(?m)^(FAIL|ERROR): {name} ", live_tests), live_tests
