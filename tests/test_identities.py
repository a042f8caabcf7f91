"""Who a browser is: by session, user and group, with both doors."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from websocket import WebSocket, WebSocketBadStatusException, WebSocketTimeoutException

from tests.browsers import counts, get, log_in, plain_socket
from tests.servers import ROOT, Site, Valkey, wait_for
from ws4redis import settings
from ws4redis.auth.groups import update_groups
from ws4redis.exceptions import RedisUnavailable
from ws4redis.publisher import RedisPublisher

#: to hear what one must not
TRIES = 100

ALL = "subscribe-session&subscribe-user&subscribe-group&subscribe-broadcast"


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


@pytest.fixture(scope="module")
def people_database(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("people") / "site.sqlite3")
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.site.settings",
        "DATABASE": path,
        "AUTH_USER_MODEL": "people.Person",
    }
    subprocess.run(
        [sys.executable, "-m", "tests.site.make_database"], cwd=ROOT, env={**os.environ, **environment}, check=True
    )
    return path


@pytest.fixture(scope="module")
def people_site(door: type[Site], redis_server: Valkey, people_database: str) -> Iterator[Site]:
    """A site whose users are known by e-mail addresses, and whose groups are no Django groups."""
    with door(redis_server.url, DATABASE=people_database, AUTH_USER_MODEL="people.Person") as server:
        yield server


@pytest.fixture(autouse=True)
def close_people(people_site: Site) -> Iterator[None]:
    yield
    people_site.close_browsers()


@pytest.mark.contract(
    "3 names: the channel of a user, by get_username(), which may be an e-mail address",
    "3 names: the channel of a group, by its name",
    "11.4 groups: what is named groups need not be Django's",
    "asks identity: #109: sessions and users of another kind",
    "asks identity: #26: users with an e-mail address",
)
def test_users_with_an_email_address(people_site: Site, redis_server: Valkey, facility: str) -> None:
    key = log_in(people_site, "john@example.com")
    browser = people_site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={key}")
    channels = [
        f"user:john@example.com:{facility}",
        f"group:chatusers:{facility}",
        f"session:{key}:{facility}",
        f"broadcast:{facility}",
    ]
    for channel in channels:
        assert redis_server.client().publish(channel, channel) == 1
        assert browser.recv() == channel
    assert redis_server.client().publish(f"user:mary@example.com:{facility}", "hi") == 0


@pytest.mark.contract(
    "3 names: the channel of a session, by its key", "asks delivery: #249: of two tabs one receives messages"
)
def test_several_tabs(site: Site, redis_server: Valkey, facility: str) -> None:
    key = log_in(site, "john")
    tabs = [site.connect(f"/ws/{facility}?subscribe-session", cookie=f"sessionid={key}") for _ in range(5)]
    other_login = site.connect(f"/ws/{facility}?subscribe-session", cookie=f"sessionid={log_in(site, 'john')}")
    redis_server.client().publish(f"session:{key}:{facility}", "hi")
    assert [tab.recv() for tab in tabs] == ["hi"] * 5
    other_login.settimeout(0.2)
    with pytest.raises(WebSocketTimeoutException):
        other_login.recv()


@pytest.mark.contract("9.2 identity: an expired session, decided: as no cookie")
def test_an_expired_session_is_none(door: type[Site], redis_server: Valkey, database: Path, facility: str) -> None:
    with door(redis_server.url, DATABASE=str(database), SESSION_COOKIE_AGE="1") as site:
        key = log_in(site, "john")
        session = f":1:django.contrib.sessions.cache{key}"
        wait_for(lambda: not redis_server.client().exists(session), "the session has expired")
        site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={key}")
        for channel in (f"user:john:{facility}", f"group:chatusers:{facility}", f"session:{key}:{facility}"):
            assert redis_server.client().publish(channel, "hi") == 0
        assert redis_server.client().publish(f"broadcast:{facility}", "hi") == 1


@pytest.mark.contract(
    "9.2 identity: no login: broadcasts and session work; decided: user and group have no channel",
    "asks identity: #59: messages for user and session arrive under runserver only",
)
def test_a_session_without_a_login(site: Site, redis_server: Valkey, facility: str) -> None:
    key = get(site, "/visit")
    browser = site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={key}")
    assert redis_server.client().publish(f"session:{key}:{facility}", "hi") == 1
    assert browser.recv() == "hi"


@pytest.fixture
def groups_of_john(redis_server: Valkey, settings_of_redis: None) -> Iterator[Callable[[list[str]], int]]:
    """Changes John's groups; afterwards it is as if nothing had happened."""
    User = type("User", (), {"get_username": lambda self: "john"})
    yield lambda names: update_groups(User(), names)
    redis_server.client().delete("ws4redis:memberof:john")


@pytest.mark.contract(
    "11.4 groups: decided: a later change can be published",
    "asks identity: #17, #49, #277: groups without the database, of another kind, that change",
    "differs from 0.6: groups that change",
)
def test_open_websockets_follow_a_change_of_groups(
    site: Site, redis_server: Valkey, facility: str, groups_of_john: Callable[[list[str]], int]
) -> None:
    redis, john = redis_server.client(), f"sessionid={log_in(site, 'john')}"
    browser = site.connect(f"/ws/{facility}?subscribe-group&publish-group&echo", cookie=john)
    redis.set(f"group:new:{facility}", "kept", ex=60)
    assert groups_of_john(["new", "newer"]) == 1
    assert browser.recv() == "kept"
    wait_for(lambda: redis.publish(f"group:chatusers:{facility}", "lost") == 0, "nobody listens, after a moment")
    assert redis.publish(f"group:newer:{facility}", "hi") == 1
    assert browser.recv() == "hi"
    browser.send("mine")
    assert [browser.recv(), browser.recv()] == ["mine"] * 2
    assert [redis.get(f"group:{each}:{facility}") for each in ("new", "newer", "chatusers")] == [b"mine", b"mine", None]

    late = site.connect(f"/ws/{facility}?subscribe-group", cookie=john)
    assert [late.recv(), late.recv()] == ["mine"] * 2, "a session that is older than the change follows, too"
    groups_of_john([])
    wait_for(lambda: not redis.pubsub_channels(f"*:{facility}"), "both have left their groups")

    again = f"sessionid={log_in(site, 'john')}"
    site.connect(f"/ws/{facility}?subscribe-group", cookie=again)
    assert redis.pubsub_channels(f"*:{facility}") == [f"group:chatusers:{facility}".encode()], "the login is newer"


def test_groups_that_change_under_load(
    site: Site, redis_server: Valkey, facility: str, groups_of_john: Callable[[list[str]], int]
) -> None:
    """What else the browsers hear is neither lost nor doubled nor out of order, and in the end all is as told last."""
    redis, john = redis_server.client(), f"sessionid={log_in(site, 'john')}"
    url = f"/ws/{facility}?subscribe-group&subscribe-user"
    browsers = [site.connect(url, cookie=john) for _ in range(10)]
    for number in range(300):
        groups_of_john([f"g{number % 3}", f"g{number % 5}"])
        redis.publish(f"user:john:{facility}", str(number))
    groups_of_john(["last"])
    for browser in browsers:
        assert [browser.recv() for _ in range(300)] == [str(number) for number in range(300)]
    wanted = {f"group:last:{facility}".encode(), f"user:john:{facility}".encode()}
    wait_for(lambda: set(redis.pubsub_channels(f"*:{facility}")) == wanted, "all are in the last group only")
    redis.publish(f"group:last:{facility}", "the end")
    assert [browser.recv() for browser in browsers] == ["the end"] * 10


#: by whom; the view's own process is the one with the websockets
EXPELLED_BY = {
    "a view": lambda site, redis, facility, update: get(site, f"/expel/john?facility={facility}"),
    "another process": lambda site, redis, facility, update: (
        update([]),
        redis.publish(f"group:chatusers:{facility}", "secret"),
        redis.publish(f"user:john:{facility}", "the end"),
    ),
}


@pytest.mark.parametrize("expelled_by", EXPELLED_BY)
def test_who_was_expelled_hears_nothing_more(
    site: Site, redis_server: Valkey, facility: str, groups_of_john: Callable[[list[str]], int], expelled_by: str
) -> None:
    """While others are told much, so that what concerns John is read in one piece."""
    redis, john = redis_server.client(), f"sessionid={log_in(site, 'john')}"
    others = [plain_socket(site, f"/ws/{facility}?subscribe-broadcast") for _ in range(20)]
    threading.Thread(target=drain, args=(others,), daemon=True).start()
    browser = site.connect(f"/ws/{facility}?subscribe-group&subscribe-user", cookie=john)
    browser.settimeout(60)
    leaks = 0
    for number in range(TRIES):
        groups_of_john(["chatusers"])
        hello = partial(redis.publish, f"group:chatusers:{facility}", f"hello {number}")
        wait_for(lambda hello=hello: hello() == 1, "the group is heard again")
        while browser.recv() != f"hello {number}":
            pass
        with redis.pipeline(transaction=False) as pipeline:
            for _ in range(200):
                pipeline.publish(f"broadcast:{facility}", "x" * 100)
            pipeline.execute()
        EXPELLED_BY[expelled_by](site, redis, facility, groups_of_john)
        while (heard := browser.recv()) != "the end":
            leaks += heard == "secret"
    for each in others:
        each.shutdown(socket.SHUT_RDWR)
    assert leaks == 0


def drain(browsers: list[socket.socket]) -> None:
    """Read until all are at their ends."""
    with selectors.DefaultSelector() as selector:
        for each in browsers:
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if not key.fileobj.recv(1 << 16):  # type: ignore[union-attr]
                    selector.unregister(key.fileobj)


def test_a_group_that_is_left_and_joined_again_at_once_is_no_new_stay(
    site: Site, redis_server: Valkey, facility: str, groups_of_john: Callable[[list[str]], int]
) -> None:
    """``groups.clear(); groups.add()`` in a view: the last message is not sent again, unless it is another one."""
    redis, john = redis_server.client(), f"sessionid={log_in(site, 'john')}"
    groups_of_john(["g"])
    channel = f"group:g:{facility}"
    redis.set(channel, "first")
    browser = site.connect(f"/ws/{facility}?subscribe-group&subscribe-user", cookie=john)
    assert browser.recv() == "first"
    for number in range(20):
        groups_of_john([])
        groups_of_john(["g"])
        redis.publish(f"user:john:{facility}", str(number))
        assert browser.recv() == str(number)
    for number in range(20):
        redis.pipeline().set(channel, f"in {number}").publish(channel, f"in {number}").execute()
        groups_of_john([])
        redis.pipeline().set(channel, f"out {number}").publish(channel, f"out {number}").execute()
        groups_of_john(["g"])
        assert [browser.recv(), browser.recv()] == [f"in {number}", f"out {number}"]
    groups_of_john([])
    wait_for(lambda: channel.encode() not in redis.pubsub_channels(), "the stay is over")
    groups_of_john(["g"])
    assert browser.recv() == "out 19", "a new stay begins with the last message"


def test_groups_that_change_while_the_loop_is_cut_off(
    site: Site, redis_server: Valkey, facility: str, groups_of_john: Callable[[list[str]], int]
) -> None:
    redis = redis_server.client()
    site.connect(f"/ws/{facility}?subscribe-group", cookie=f"sessionid={log_in(site, 'john')}")
    told = 1
    while told:
        redis.client_kill_filter(_type="pubsub")
        told = groups_of_john(["new"])
    wanted = [f"group:new:{facility}".encode()]
    wait_for(lambda: redis.pubsub_channels(f"*:{facility}") == wanted, "the loop asks when it is back")


@pytest.mark.contract(
    "3 names: decided: in names of users, groups and sessions a colon is %3A and a percent sign %25",
    "differs from 0.6: `:` and `%` in names of users, groups and sessions",
)
def test_a_group_is_not_part_of_another(
    site: Site, redis_server: Valkey, facility: str, groups_of_john: Callable[[list[str]], int]
) -> None:
    """Whoever may choose the facility cannot choose the rest of a group's name by it."""
    john, mary = (f"sessionid={log_in(site, name)}" for name in ("john", "mary"))
    groups_of_john(["chatusers:b"])
    member = site.connect(f"/ws/{facility}?subscribe-group", cookie=john)
    outsider = site.connect(f"/ws/b:{facility}?subscribe-group&publish-group&echo", cookie=mary)
    RedisPublisher(facility=facility, groups=["chatusers:b"]).publish_message("for members")
    assert member.recv() == "for members"
    outsider.send("forged")
    assert outsider.recv() == "forged", "the first that it hears"
    redis_server.client().publish(f"group:chatusers%3Ab:{facility}", "the end")
    assert member.recv() == "the end"


@pytest.mark.parametrize("hour", [-3600, 3600], ids=["behind", "ahead"])
def test_no_clock_tells_whether_the_login_or_the_change_was_later(
    site: Site,
    redis_server: Valkey,
    facility: str,
    groups_of_john: Callable[[list[str]], int],
    monkeypatch: pytest.MonkeyPatch,
    hour: int,
) -> None:
    """The groups are changed on a host whose clock is an hour away from that of the site."""
    key = log_in(site, "john")
    with monkeypatch.context() as elsewhere:
        now = time.time
        elsewhere.setattr("time.time", lambda: now() + hour)
        groups_of_john(["new"])
    before = site.connect(f"/ws/{facility}?subscribe-group", cookie=f"sessionid={key}")
    assert redis_server.client().pubsub_channels(f"*:{facility}") == [f"group:new:{facility}".encode()]
    before.close()
    site.connect(f"/ws/{facility}?subscribe-group", cookie=f"sessionid={log_in(site, 'john')}")
    wanted = [f"group:chatusers:{facility}".encode()]
    wait_for(lambda: redis_server.client().pubsub_channels(f"*:{facility}") == wanted, "the login is later")


class Lossy(NamedTuple):
    """A site whose Redis may lose its data; sessions are in the database."""

    site: Site
    valkey: Valkey
    database: Path

    def execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.database, timeout=60, isolation_level=None)) as connection:
            connection.execute(statement)

    def connect(self, name: str, facility: str, flags: str = "subscribe-group&subscribe-user") -> WebSocket:
        return self.site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={log_in(self.site, name)}")

    def ban(self, name: str) -> None:
        self.execute(
            f"DELETE FROM auth_user_groups WHERE user_id = (SELECT id FROM auth_user WHERE username = '{name}')"
        )

    def tell(self, name: str, groups: list[str]) -> int:
        return update_groups(type("User", (), {"get_username": lambda self: name})(), groups)

    def heard(self, facility: str) -> list[str]:
        return sorted(each.decode() for each in self.valkey.client().pubsub_channels(f"*:{facility}"))

    def restart(self) -> None:
        self.valkey.stop(signal.SIGKILL)
        self.valkey.start()


@pytest.fixture(scope="module")
def lossy_site(door: type[Site], database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lossy]:
    path = tmp_path_factory.mktemp("lossy") / "site.sqlite3"
    engine = "django.contrib.sessions.backends.db"
    path.write_bytes(database.read_bytes())
    with (
        Valkey() as valkey,
        door(valkey.url, DATABASE=str(path), SESSION_ENGINE=engine) as site,
    ):
        yield Lossy(site, valkey, path)


@pytest.fixture
def lossy(lossy_site: Lossy) -> Iterator[Lossy]:
    """John and Mary are in chatusers."""
    settings.WS4REDIS_CONNECTION = lossy_site.valkey.url
    lossy_site.execute(
        "INSERT OR IGNORE INTO auth_user_groups (user_id, group_id) "
        "SELECT auth_user.id, auth_group.id FROM auth_user, auth_group WHERE username IN ('john', 'mary')"
    )
    yield lossy_site
    del settings.WS4REDIS_CONNECTION
    lossy_site.site.close_browsers()
    lossy_site.valkey.client().flushall()


LOSSES: dict[str, Callable[[Lossy], object]] = {
    "nothing": lambda lossy: None,
    "everything": lambda lossy: lossy.valkey.client().flushall(),
    "everything, and it knows others again": lambda lossy: (
        lossy.valkey.client().flushall(),
        lossy.tell("admin", ["admins"]),
    ),
    "the server": Lossy.restart,
    "the user's key": lambda lossy: lossy.valkey.client().delete("ws4redis:memberof:john"),
    "the stamp": lambda lossy: lossy.valkey.client().delete("ws4redis:memberof"),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_ban_outlives_what_redis_has(lossy: Lossy, facility: str, loss: Callable[[Lossy], object]) -> None:
    """Connected or not yet, with a session that is older than the ban; others stay where they are."""
    url = f"/ws/{facility}?subscribe-group&publish-group&subscribe-user&publish-user&echo"
    john, mary = (f"sessionid={log_in(lossy.site, name)}" for name in ("john", "mary"))
    opened = [lossy.site.connect(url, cookie=each) for each in (john, mary)]
    lossy.ban("john")
    lossy.tell("john", [])
    loss(lossy)
    redis, members = lossy.valkey.client(), f"group:chatusers:{facility}"
    wait_for(lambda: members in lossy.heard(facility), "whom it concerns are subscribed")
    late = [lossy.site.connect(url, cookie=each) for each in (john, mary)]
    redis.publish(members, "for members")
    redis.publish(f"user:john:{facility}", "for john")
    for of_john, of_mary in (opened, late):
        assert of_mary.recv() == "for members"
        assert of_john.recv() == "for john", "the first that john hears"
    late[0].send("forged")
    assert late[0].recv() == "forged"
    assert redis.get(members) is None


def test_a_ban_while_redis_is_away(lossy: Lossy, facility: str) -> None:
    john, mary = (lossy.connect(name, facility) for name in ("john", "mary"))
    lossy.valkey.stop(signal.SIGKILL)
    lossy.ban("john")
    with pytest.raises(RedisUnavailable):
        lossy.tell("john", [])
    lossy.valkey.start()
    redis = lossy.valkey.client()
    kept = "ws4redis:memberof:"
    wait_for(lambda: redis.mget(f"{kept}john", f"{kept}mary").count(None) == 0, "both have been looked up")
    wait_for(lambda: redis.publish(f"group:chatusers:{facility}", "for members"), "a member is subscribed")
    redis.publish(f"user:john:{facility}", "for john")
    assert mary.recv() == "for members"
    assert john.recv() == "for john"


def test_a_connection_that_breaks_takes_nobody_out_of_a_group(lossy: Lossy, facility: str) -> None:
    """Nobody has told of mary's groups, so they are looked up; but nothing says that they are others."""
    mary, redis = lossy.connect("mary", facility), lossy.valkey.client()
    lossy.tell("john", [])
    members = RedisPublisher(facility=facility, groups=["chatusers"])
    members.publish_message("one")
    assert mary.recv() == "one"
    redis.client_kill_filter(_type="pubsub")
    wait_for(lambda: redis.get("ws4redis:memberof:mary"), "mary has been looked up")
    wait_for(lambda: members.publish_message("two", expire=0), "the group is subscribed")
    assert mary.recv() == "two", "one does not come again"
    lossy.tell("mary", [])
    wait_for(lambda: lossy.heard(facility) == [f"user:mary:{facility}"], "mary follows")


def test_many_websockets_of_a_user_are_one_lookup(lossy: Lossy, facility: str) -> None:
    cookie = f"sessionid={log_in(lossy.site, 'john')}"
    browsers = [lossy.site.connect(f"/ws/{facility}?subscribe-group", cookie=cookie) for _ in range(20)]
    # nothing has been told of the users, so nothing is told now: what comes is a lookup
    lossy.restart()
    with lossy.valkey.client().pubsub() as listener:
        listener.subscribe("ws4redis:memberof:john")
        wait_for(lambda: lossy.valkey.client().get("ws4redis:memberof:john"), "john has been looked up")
        wait_for(lambda: lossy.heard(facility), "they are back in their group")
        lossy.valkey.client().publish(f"group:chatusers:{facility}", "the end")
        assert [each.recv() for each in browsers] == ["the end"] * 20
        lossy.valkey.client().publish("ws4redis:memberof:john", "the end")
        told: list[bytes] = []
        while not told or told[-1] != b"the end":
            if (message := listener.get_message(ignore_subscribe_messages=True, timeout=5)) is not None:
                told.append(message["data"])
    assert len(told) <= 2


def test_a_database_that_fails_lets_nobody_into_a_group(lossy: Lossy, facility: str) -> None:
    opened = lossy.connect("mary", facility)
    john = f"sessionid={log_in(lossy.site, 'john')}"
    lossy.execute("ALTER TABLE auth_user_groups RENAME TO lost")
    try:
        lossy.restart()
        wait_for(lambda: lossy.heard(facility) == [f"user:mary:{facility}"], "mary is in no group")
        with pytest.raises(WebSocketBadStatusException, match="503"):
            lossy.site.connect(f"/ws/{facility}?subscribe-group", cookie=john)
        lossy.site.connect(f"/ws/{facility}?subscribe-user", cookie=john).close()
        lossy.valkey.client().publish(f"user:mary:{facility}", "for mary")
        assert opened.recv() == "for mary"
    finally:
        lossy.execute("ALTER TABLE lost RENAME TO auth_user_groups")
    wait_for(lambda: f"group:chatusers:{facility}" in lossy.heard(facility), "the database can be asked again")
    lossy.site.connect(f"/ws/{facility}?subscribe-group", cookie=john)
    lossy.valkey.client().publish(f"group:chatusers:{facility}", "for members")
    assert opened.recv() == "for members"
    assert lossy.site.log().count("group lookup failed") == 1, "loud once"


def test_what_is_published_after_the_answer_is_heard_by_who_was_looked_up(lossy: Lossy, facility: str) -> None:
    redis, cookie = lossy.valkey.client(), f"sessionid={log_in(lossy.site, 'john')}"
    for number in range(50):
        redis.flushall()
        redis.set(f"group:chatusers:{facility}", f"kept {number}")
        browser = lossy.site.connect(f"/ws/{facility}?subscribe-group", cookie=cookie)
        redis.publish(f"group:chatusers:{facility}", f"live {number}")
        assert [browser.recv(), browser.recv()] == [f"kept {number}", f"live {number}"]
        browser.close()


def test_a_login_without_redis(lossy: Lossy, facility: str) -> None:
    lossy.valkey.stop(signal.SIGKILL)
    cookie = f"sessionid={log_in(lossy.site, 'john')}"
    lossy.valkey.start()
    browser = lossy.site.connect(f"/ws/{facility}?subscribe-group", cookie=cookie)
    lossy.valkey.client().publish(f"group:chatusers:{facility}", "hi")
    assert browser.recv() == "hi"


def test_who_speaks_before_the_answer_is_in_no_other_group_than_after_it(lossy: Lossy, facility: str) -> None:
    cookie, redis = f"sessionid={log_in(lossy.site, 'john')}", lossy.valkey.client()
    lossy.tell("john", [])
    lossy.connect("mary", facility)  # the loop is there
    connections = counts(lossy.site)["connections"]
    handshake = (
        f"GET /ws/{facility}?publish-user&publish-group HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Cookie: {cookie}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", lossy.site.port), timeout=20) as client:
        lossy.valkey.send_signal(signal.SIGSTOP)
        try:
            client.sendall(handshake.encode())
            wait_for(lambda: counts(lossy.site)["connections"] > connections, "its question is on its way")
            client.sendall(b"\x81\x85\x00\x00\x00\x00early")
            for _ in range(3):  # the loop has read what was there before these requests
                counts(lossy.site)
        finally:
            lossy.valkey.send_signal(signal.SIGCONT)
        wait_for(lambda: redis.get(f"user:john:{facility}") == b"early", "the message is published")
    assert redis.get(f"group:chatusers:{facility}") is None


GARBAGE = ["", "x", "x" * 32, "../../etc/passwd", "*", "a:b:c", "%00%0a", "é" * 20]


@pytest.mark.contract(
    "9.2 identity: an invented session, decided: as no cookie",
    "differs from 0.6: a session key that nobody knows",
)
@pytest.mark.parametrize("key", GARBAGE)
def test_an_invented_session_is_nobodys(site: Site, redis_server: Valkey, facility: str, key: str) -> None:
    site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={key}")
    assert redis_server.client().publish(f"session:{key}:{facility}", "hi") == 0
    assert redis_server.client().pubsub_channels(f"*:{facility}") == [f"broadcast:{facility}".encode()]
