"""Every session engine on every database, with both doors: who a browser is, and a database that is slow."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.browsers import counts
from tests.postgresql import PostgreSQL
from tests.servers import DOORS, ROOT, UWSGI, Site, Valkey, wait_for
from ws4redis.core.channels import escaped

ALL = "subscribe-session&subscribe-user&subscribe-group&subscribe-broadcast"

ENGINES = {
    "cache": "django.contrib.sessions.backends.cache",
    "cached_db": "django.contrib.sessions.backends.cached_db",
    "db": "django.contrib.sessions.backends.db",
    "file": "django.contrib.sessions.backends.file",
    "redis_sessions": "redis_sessions.session",
    "signed_cookies": "django.contrib.sessions.backends.signed_cookies",
}

#: the user is read from the database whatever the engine is
TABLE = [
    *itertools.product(DOORS, ENGINES, ["sqlite", "postgresql"]),
    ("uwsgi", "db", "postgresql that waits in C"),
    *((door, "db", "postgresql with connections that are kept") for door in DOORS),
]

#: those of a uWSGI worker in which sessions are looked up, and the visitors who come while the database is slow
THREADS, VISITORS = 3, 8


class OnSQLite:
    kept = False
    at_start = 0

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        # who waits longer is told that the database is locked
        self.environment = {"DATABASE": str(path), "DATABASE_OPTIONS": json.dumps({"OPTIONS": {"timeout": 120}})}

    @contextmanager
    def stalled(self) -> Iterator[None]:
        with closing(sqlite3.connect(self._path, timeout=60, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield

    def connections(self, site: Site) -> int:
        """How often the site has opened the file."""
        opened = Path(f"/proc/{counts(site)['pid']}/fd").iterdir()
        return [os.path.realpath(each) for each in opened].count(str(self._path)) - self.at_start

    waiting = connections


class OnPostgreSQL:
    at_start = 0

    def __init__(self, server: PostgreSQL, details: str) -> None:
        self._server = server
        self.kept = details == "with connections that are kept"
        options = {**server.settings, "CONN_MAX_AGE": None if self.kept else 0}
        self.environment = {"DATABASE_OPTIONS": json.dumps(options)}
        if details == "that waits in C":
            # where gevent has patched, psycopg lets gevent wait
            self.environment["PSYCOPG_WAIT_FUNC"] = "wait_c"

    @contextmanager
    def stalled(self) -> Iterator[None]:
        with self._server.connect() as connection:
            connection.execute("LOCK TABLE django_session, auth_user IN ACCESS EXCLUSIVE MODE")
            yield

    def _count(self, condition: str) -> int:
        others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return int(self._server.ask(f"SELECT count(*) {others} AND {condition}"))

    def connections(self, site: Site) -> int:
        return self._count("true") - self.at_start

    def waiting(self, site: Site) -> int:
        return self._count("wait_event_type = 'Lock'")


def make_database(environment: dict[str, str]) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.site.settings", **environment}
    subprocess.run([sys.executable, "-m", "tests.site.make_database"], cwd=ROOT, env=environment, check=True)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        make_database(OnPostgreSQL(server, "").environment)
        yield server


@pytest.fixture(scope="module", params=TABLE, ids="-".join)
def row(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def store(row: tuple[str, str, str], request: pytest.FixtureRequest) -> Any:
    name, _, details = row[2].partition(" ")
    if name == "sqlite":
        return OnSQLite(request.getfixturevalue("database"))
    return OnPostgreSQL(request.getfixturevalue("postgresql"), details)


@pytest.fixture(scope="module")
def site(row: tuple[str, str, str], store: Any, redis_server: Valkey, tmp_path_factory: Any) -> Iterator[Site]:
    door, engine, _ = row
    settings = {
        "SESSION_ENGINE": ENGINES[engine],
        "SESSION_FILE_PATH": str(tmp_path_factory.mktemp("sessions")),
        "WS4REDIS_THREADS": str(THREADS),
        **store.environment,
    }
    with DOORS[door](redis_server.url, **settings) as server:
        # before Django 5, runserver keeps the one with which it has looked for migrations
        store.at_start = store.connections(server)
        yield server


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


def log_in(site: Site, name: str, key: str = "") -> str:
    """The session key that the browser's cookie has then."""
    request = urllib.request.Request(site.url(f"/login/{name}"), headers={"Cookie": f"sessionid={key}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return SimpleCookie(response.headers["Set-Cookie"])["sessionid"].value


def channels(facility: str, name: str, key: str) -> list[str]:
    return [f"user:{name}:{facility}", f"group:chatusers:{facility}", f"session:{escaped(key)}:{facility}"]


def heard(redis_server: Valkey, facility: str) -> set[str]:
    return {each.decode() for each in redis_server.client().pubsub_channels(f"*:{facility}")}


@pytest.fixture
def arrives(redis_server: Valkey) -> Callable[..., None]:
    """Publishes; all of the browsers receive it."""

    def publish(channel: str, *browsers: websocket.WebSocket) -> None:
        message = f"{channel} {uuid.uuid4().hex}"
        assert redis_server.client().publish(channel, message) == 1
        assert [each.recv() for each in browsers] == [message] * len(browsers)

    return publish


@pytest.mark.contract(
    "asks identity: #267: the loop takes somebody for anonymous",
    "asks identity: #109: sessions and users of another kind",
    "differs from 0.6: sessions in the database",
)
def test_a_login_is_heard_by_all_audiences(site: Site, redis_server: Valkey, facility: str, arrives: Any) -> None:
    key = log_in(site, "john")
    browser = site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={key}")
    expected = [*channels(facility, "john", key), f"broadcast:{facility}"]
    assert heard(redis_server, facility) == set(expected)
    for channel in expected:
        arrives(channel, browser)


def test_many_logins_and_upgrades_at_once(site: Site, redis_server: Valkey) -> None:
    """What views and lookups share, they share in peace."""

    def visit(number: int) -> set[str]:
        key = log_in(site, "john")
        facility = f"{number}.{uuid.uuid4().hex}"
        site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={key}")
        return heard(redis_server, facility) ^ {*channels(facility, "john", key), f"broadcast:{facility}"}

    with ThreadPoolExecutor(VISITORS) as threads:
        assert list(threads.map(visit, range(3 * VISITORS))) == [set()] * 3 * VISITORS


def test_a_cookie_that_was_changed_is_nobodys(site: Site, redis_server: Valkey, facility: str) -> None:
    key = log_in(site, "john")
    changed = "ab"[key[0] == "a"] + key[1:]
    for invented in (changed, key[:-1], key + "x", "x" * 32, "a:b:c", "../../etc/passwd", "é" * 20, "x", ""):
        browser = site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={invented}")
        assert heard(redis_server, facility) == {f"broadcast:{facility}"}, invented
        browser.close()


def test_another_login_with_the_same_browser(
    site: Site, redis_server: Valkey, facility: str, arrives: Any, row: tuple[str, str, str]
) -> None:
    of_john = log_in(site, "john")
    of_mary = log_in(site, "mary", of_john)
    browser = site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={of_mary}")
    expected = channels(facility, "mary", of_mary)
    for channel in expected:
        arrives(channel, browser)
    if row[1] != "signed_cookies":  # which nobody can take back
        site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={of_john}")
        assert heard(redis_server, facility) == {*expected, f"broadcast:{facility}"}
    again = log_in(site, "john")
    arrives(f"user:john:{facility}", site.connect(f"/ws/{facility}?{ALL}", cookie=f"sessionid={again}"))


@pytest.mark.contract("asks identity: #103: hooks that ask the database", "differs from 0.6: sessions in the database")
def test_a_slow_database_keeps_only_those_waiting_who_need_it(
    site: Site, store: Any, facility: str, arrives: Any
) -> None:
    key = log_in(site, "john")
    url, john = f"/ws/{facility}?{ALL}", f"sessionid={key}"
    opened = site.connect(url, cookie=john)
    # those of views end with their greenlets, some time
    allowed = store.connections(site) + THREADS if store.kept else 0
    stuck = min(THREADS, VISITORS) if isinstance(site, UWSGI) else VISITORS
    with ThreadPoolExecutor(VISITORS) as threads:
        with store.stalled():
            visitors = [threads.submit(site.connect, url, cookie=john) for _ in range(VISITORS)]
            wait_for(lambda: store.waiting(site) >= stuck, f"{stuck} lookups wait for the database")
            for channel in channels(facility, "john", key):
                arrives(channel, opened)
            newcomer = site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast")
            arrives(f"broadcast:{facility}", opened, newcomer)
            newcomer.send("hello")
            assert opened.recv() == "hello"
            assert not any(each.done() for each in visitors)
            assert store.waiting(site) == stuck, "each thread has one connection at most"
        admitted = [each.result() for each in visitors]
    for each in admitted:
        assert each.recv() == "hello", "it was kept"
    arrives(f"user:john:{facility}", opened, *admitted)
    wait_for(lambda: store.connections(site) <= allowed, "connections with the database are given back")
