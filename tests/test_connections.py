"""Every way to reach Redis that ``WS4REDIS_CONNECTION`` knows, against a real server, with both doors."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import tests.django_setup  # noqa: F401
from tests.servers import UWSGI, Sentinel, Site, Valkey, free_port, wait_for


class Secured(Valkey):
    """Debian's redis-server: TLS, a Unix socket, and no way in without a password."""

    def __init__(self, folder: Path, certificate: str) -> None:
        super().__init__()
        self.socket = folder / "redis.sock"
        self.tls_port = free_port()
        self.configuration = folder / "redis.conf"
        self.configuration.write_text(
            f"port {self.port}\nbind 127.0.0.1\nsave ''\ndir {folder}\nunixsocket {self.socket}\n"
            f"tls-port {self.tls_port}\ntls-cert-file {certificate}.crt\ntls-key-file {certificate}\n"
            f"tls-auth-clients no\nrequirepass secret\n"
            "user jane on >janes resetkeys ~* resetchannels &* +@all -@dangerous\n"
        )

    def command(self) -> list[str]:
        return [str(shutil.which("redis-server")), str(self.configuration)]

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password="secret")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, certificate: str) -> Iterator[Secured]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with Secured(tmp_path_factory.mktemp("secured"), certificate) as server:
        yield server


CONNECTIONS: dict[str, Callable[[Secured], Any]] = {
    "dictionary": lambda at: {"host": "127.0.0.1", "port": at.port, "db": 0, "password": "secret"},
    "dictionary with a user": lambda at: {"port": at.port, "username": "jane", "password": "janes"},
    "dictionary with TLS": lambda at: {"port": at.tls_port, "password": "secret", "ssl": True, "ssl_cert_reqs": None},
    "dictionary with a Unix socket": lambda at: {"unix_socket_path": str(at.socket), "password": "secret"},
    "redis://": lambda at: f"redis://:secret@127.0.0.1:{at.port}/0",
    "redis:// with a user": lambda at: f"redis://jane:janes@127.0.0.1:{at.port}/0",
    "rediss://": lambda at: f"rediss://:secret@127.0.0.1:{at.tls_port}/0?ssl_cert_reqs=none",
    "unix://": lambda at: f"unix://:secret@{at.socket}?db=0",
    "function": lambda at: "tests.site.hooks.redis_from_environment",
}


def site_with(door: type[Site], database: Path, connection: Any, **settings: str) -> Site:
    return door("redis://127.0.0.1:1/0", DATABASE=str(database), WS4REDIS_CONNECTION=json.dumps(connection), **settings)


@pytest.mark.contract(
    "asks deployment: #284, #285: Redis by TLS",
    "asks deployment: #212, #213, #214, #215, #241: Redis by a Unix socket",
)
@pytest.mark.parametrize("connection", CONNECTIONS.values(), ids=CONNECTIONS)
def test_connections(door: type[Site], secured: Secured, database: Path, connection: Callable[[Secured], Any]) -> None:
    client = secured.client()
    client.flushall()
    url = f"redis://:secret@127.0.0.1:{secured.port}/0"
    with site_with(door, database, connection(secured), OWN_REDIS_URL=url) as site:
        said, heard = site.connect("/ws/a?publish-broadcast"), site.connect("/ws/a?subscribe-broadcast")
        messages = [f"{number} " + "ü" * number**2 for number in range(100)]
        for message in messages:
            said.send(message)
        assert [heard.recv() for _ in messages] == messages
        assert site.connect("/ws/a?subscribe-broadcast").recv() == messages[-1]
        client.client_kill_filter(_type="pubsub")
        wait_for(lambda: client.publish("broadcast:a", "again"), "the subscription is back")
        assert heard.recv() == "again"
        assert "Traceback" not in site.log()


def test_tls_under_load(door: type[Site], secured: Secured, database: Path) -> None:
    """The subscription is read and written at the same time."""
    client = secured.client()
    with site_with(door, database, CONNECTIONS["rediss://"](secured)) as site:
        steady = site.connect("/ws/steady?subscribe-broadcast")
        for number in range(300):
            client.publish("broadcast:steady", f"{number} " + "x" * 10_000)
            if number % 10 == 0:
                site.connect(f"/ws/{number}?subscribe-broadcast").close()
        assert [steady.recv().split()[0] for _ in range(300)] == [str(number) for number in range(300)]
        assert "Traceback" not in site.log()


def survives_a_failover(tmp_path: Path, start: Callable[[str], Site]) -> None:
    """The same browsers hear what the new master is told, and publish to it."""
    with Valkey() as master, Valkey(master) as replica, Sentinel(master, tmp_path) as sentinel:
        wait_for(lambda: sentinel.client().sentinel_slaves("main"), "the sentinel knows the replica")
        wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "the replica follows")
        with start(str(sentinel.port)) as site:
            browser = site.connect("/ws/a?subscribe-broadcast&publish-broadcast&echo")
            browser.send("before")
            assert browser.recv() == "before"
            assert master.client().get("broadcast:a") == b"before"
            wait_for(lambda: replica.client().get("broadcast:a") == b"before", "the replica has it, too")
            master.stop(signal.SIGKILL)
            wait_for(lambda: sentinel.master_port() == replica.port, "the sentinel has made the replica the master")
            wait_for(lambda: replica.client().publish("broadcast:a", "after"), "the loop listens to the new master")
            assert browser.recv() == "after"
            browser.send("mine")
            assert browser.recv() == "mine"
            assert replica.client().get("broadcast:a") == b"mine"
            assert site.connect("/ws/a?subscribe-broadcast").recv() == "mine"


@pytest.mark.contract("asks deployment: #245: Sentinel")
def test_sentinel_by_the_setting(door: type[Site], database: Path, tmp_path: Path) -> None:
    def start(port: str) -> Site:
        return site_with(door, database, "tests.site.hooks.redis_by_sentinel", SENTINEL_PORT=port)

    survives_a_failover(tmp_path, start)


@pytest.mark.contract("8.1 server: a Redis client may be given to it", "asks deployment: #245: Sentinel")
def test_sentinel_by_the_servers_argument(database: Path, tmp_path: Path) -> None:
    def start(port: str) -> Site:
        options = {"module": "tests.site.wsgi_given_client"}
        return UWSGI("redis://127.0.0.1:1/0", options, DATABASE=str(database), SENTINEL_PORT=port)

    survives_a_failover(tmp_path, start)


WRONG: dict[str, tuple[Any, str]] = {
    "no client": ("tests.site.hooks.not_redis", "must return a redis.Redis"),
    "nothing there": ("tests.site.hooks.no_such_function", "no_such_function"),
}


@pytest.mark.parametrize(("connection", "said"), WRONG.values(), ids=WRONG)
def test_wrong_functions(connection: Any, said: str) -> None:
    from ws4redis import settings
    from ws4redis.broker import client as redis_client

    settings.WS4REDIS_CONNECTION = connection
    try:
        with pytest.raises((TypeError, ImportError), match=said):
            redis_client.client()
    finally:
        del settings.WS4REDIS_CONNECTION
