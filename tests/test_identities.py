"""Who a browser is: by session, user and group, with both doors."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websocket import WebSocketTimeoutException

from tests.browsers import get, log_in, plain_socket
from tests.servers import ROOT, Site, Valkey, wait_for
from ws4redis.groups import update_groups
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


def test_several_tabs(site: Site, redis_server: Valkey, facility: str) -> None:
    key = log_in(site, "john")
    tabs = [site.connect(f"/ws/{facility}?subscribe-session", cookie=f"sessionid={key}") for _ in range(5)]
    other_login = site.connect(f"/ws/{facility}?subscribe-session", cookie=f"sessionid={log_in(site, 'john')}")
    redis_server.client().publish(f"session:{key}:{facility}", "hi")
    assert [tab.recv() for tab in tabs] == ["hi"] * 5
    other_login.settimeout(0.2)
    with pytest.raises(WebSocketTimeoutException):
        other_login.recv()


def test_an_expired_session_is_none(door: type[Site], redis_server: Valkey, database: Path, facility: str) -> None:
    with door(redis_server.url, DATABASE=str(database), SESSION_COOKIE_AGE="1") as site:
        key = log_in(site, "john")
        session = f":1:django.contrib.sessions.cache{key}"
        wait_for(lambda: not redis_server.client().exists(session), "the session has expired")
        site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={key}")
        for channel in (f"user:john:{facility}", f"group:chatusers:{facility}", f"session:{key}:{facility}"):
            assert redis_server.client().publish(channel, "hi") == 0
        assert redis_server.client().publish(f"broadcast:{facility}", "hi") == 1


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


def test_open_websockets_follow_a_change_of_groups(
    site: Site, redis_server: Valkey, facility: str, groups_of_john: Callable[[list[str]], int]
) -> None:
    redis, john = redis_server.client(), f"sessionid={log_in(site, 'john')}"
    browser = site.connect(f"/ws/{facility}?subscribe-group&publish-group&echo", cookie=john)
    redis.set(f"group:new:{facility}", "kept")
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
        redis.publish(f"group:chatusers:{facility}", f"hello {number}")
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


GARBAGE = ["", "x", "x" * 32, "../../etc/passwd", "*", "a:b:c", "%00%0a", "é" * 20]


@pytest.mark.parametrize("key", GARBAGE)
def test_an_invented_session_is_nobodys(site: Site, redis_server: Valkey, facility: str, key: str) -> None:
    site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={key}")
    assert redis_server.client().publish(f"session:{key}:{facility}", "hi") == 0
    assert redis_server.client().pubsub_channels(f"*:{facility}") == [f"broadcast:{facility}".encode()]
