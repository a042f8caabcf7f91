from __future__ import annotations

import inspect
import os
import random
import re
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.http import HttpRequest
from django.test import RequestFactory, override_settings

import tests.django_setup  # noqa: F401
from tests.servers import ROOT, Valkey, free_port, wait_for
from tests.subscriptions import Heard
from ws4redis import settings
from ws4redis.auth.groups import update_groups
from ws4redis.broker import client as redis_client
from ws4redis.broker.connection import Push, SubscriberConnection
from ws4redis.exceptions import RedisUnavailable
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF, RedisMessage
from ws4redis.runtime.threads import ThreadRuntime


@pytest.fixture
def client(redis_server: Valkey, settings_of_redis: None) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


@pytest.fixture
def connect(client: redis.Redis) -> Callable[..., None]:
    """Sets WS4REDIS_CONNECTION for this test; settings_of_redis, behind ``client``, resets it."""

    def set_connection(connection: Any) -> None:
        settings.WS4REDIS_CONNECTION = connection

    return set_connection


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


class Session(dict):  # type: ignore[type-arg]
    session_key: str | None = None


def request_of(
    username: str | None = None, groups: list[str] | None = None, session_key: str | None = None
) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = SimpleNamespace(is_authenticated=username is not None, get_username=lambda: username)
    request.session = Session({} if groups is None else {"ws4redis:memberof": groups})
    request.session.session_key = session_key
    return request


class Listeners:
    """Each subscribed on a connection of its own."""

    def __init__(self, client: redis.Redis, *subscriptions: list[str]) -> None:
        self.pubsubs = [client.pubsub(ignore_subscribe_messages=False) for _ in subscriptions]
        for pubsub, channels in zip(self.pubsubs, subscriptions, strict=True):
            pubsub.subscribe(*channels)
            for _ in channels:
                assert pubsub.get_message(timeout=10)["type"] == "subscribe"

    def hear(self) -> list[bytes]:
        """The next message of each."""
        return [pubsub.get_message(timeout=10)["data"] for pubsub in self.pubsubs]

    def close(self) -> None:
        for pubsub in self.pubsubs:
            pubsub.close()


@pytest.fixture
def listen(client: redis.Redis) -> Iterator[Callable[..., Listeners]]:
    made: list[Listeners] = []

    def make(*subscriptions: list[str]) -> Listeners:
        made.append(Listeners(client, *subscriptions))
        return made[-1]

    yield make
    for listeners in made:
        listeners.close()


# what can be published

MESSAGES = [
    ("hello", b"hello"),
    ("", b""),
    ("Grüße 🎉", "Grüße 🎉".encode()),
    (b"\x00\xff", b"\x00\xff"),
    (bytearray(b"\x00\xff"), b"\x00\xff"),
    (RedisMessage("hello"), b"hello"),
    (RedisMessage(""), b""),
    ("x" * (1 << 20), b"x" * (1 << 20)),
]


@pytest.mark.contract(
    "3 names: one name is the channel and the key of its last message",
    "4.3 RedisStore: decided: text and bytes are messages, too",
    "4.3 RedisStore: pipeline_publish_message() does the same in one round trip",
    "14 manual: 6 text may be published",
    "differs from 0.6: what can be published",
)
@pytest.mark.parametrize(("message", "payload"), MESSAGES, ids=lambda value: repr(value[:10]))
@pytest.mark.parametrize("method", ["publish_message", "pipeline_publish_message"])
def test_messages(
    client: redis.Redis, listen: Callable[..., Listeners], facility: str, method: str, message: Any, payload: bytes
) -> None:
    listeners = listen([f"broadcast:{facility}"])
    assert getattr(RedisPublisher(facility=facility, broadcast=True), method)(message) == 1
    assert listeners.hear() == [payload]
    assert client.get(f"broadcast:{facility}") == payload


@pytest.mark.contract(
    "4.2 RedisMessage: decided: a publisher refuses a value of any other type with an error that names it",
    "4.3 RedisStore: a message of any other type is a ValueError",
    "differs from 0.6: what can be published",
)
@pytest.mark.parametrize("message", [None, 5, 1.5, True, {"a": 1}, ["a"], ("a",), object(), memoryview(b"a")], ids=type)
@pytest.mark.parametrize("method", ["publish_message", "pipeline_publish_message"])
@pytest.mark.parametrize("audience", [{}, {"broadcast": True}], ids=repr)
def test_what_is_no_message(client: redis.Redis, facility: str, audience: Any, method: str, message: Any) -> None:
    with pytest.raises(ValueError, match=f"not {type(message).__name__}"):
        getattr(RedisPublisher(facility=facility, **audience), method)(message)
    assert not client.exists(f"broadcast:{facility}")


@pytest.mark.contract(
    "4.2 RedisMessage: decided: a publisher refuses a value of any other type with an error that names it"
)
@pytest.mark.parametrize("message", ["beat", b"beat"])
def test_the_heartbeat_is_no_message(client: redis.Redis, facility: str, message: Any) -> None:
    publisher = RedisPublisher(facility=facility, broadcast=True)
    with override_settings(WS4REDIS_HEARTBEAT="beat"), pytest.raises(ValueError, match="heartbeat"):
        publisher.publish_message(message)
    assert not client.exists(f"broadcast:{facility}")


# how long it is kept

# expire, WS4REDIS_EXPIRE, seconds to live; None: what was kept before stays as it is
EXPIRIES: list[tuple[int | None, int | None, int | None]] = [
    (10, 3600, 10),
    (10, None, 10),
    (10, 0, 10),
    (None, 20, 20),
    (None, None, None),
    (None, 0, None),
    (None, -1, None),
    (0, 3600, None),
    (-1, 3600, None),
]


@pytest.mark.contract(
    "4.3 RedisStore: each channel is published to, and keeps the message",
    "4.3 RedisStore: expire in seconds replaces what was kept, and its time",
    "4.3 RedisStore: expire of 0 or less publishes only, and leaves what was kept",
    "4.3 RedisStore: expire of None means WS4REDIS_EXPIRE",
    "4.3 RedisStore: decided: None as WS4REDIS_EXPIRE publishes only",
    "4.3 RedisStore: pipeline_publish_message() does the same in one round trip",
    "11.2 last message: the last message is kept until its time is over",
    "14 manual: 2 None as WS4REDIS_EXPIRE keeps nothing",
    "14 manual: 2b with 0 nothing is stored, and what was kept stays",
    "differs from 0.6: `WS4REDIS_EXPIRE = None`",
)
@pytest.mark.parametrize(("expire", "default", "seconds"), EXPIRIES)
@pytest.mark.parametrize("method", ["publish_message", "pipeline_publish_message"])
def test_expire(
    client: redis.Redis,
    listen: Callable[..., Listeners],
    facility: str,
    method: str,
    expire: int | None,
    default: int | None,
    seconds: int | None,
) -> None:
    channels = [f"broadcast:{facility}", f"user:john:{facility}"]
    client.set(channels[0], "older", ex=1000)
    listeners = listen(channels[:1], channels[1:])
    with override_settings(WS4REDIS_EXPIRE=default):
        publisher = RedisPublisher(facility=facility, broadcast=True, users=["john"])
        assert getattr(publisher, method)("hi", expire=expire) == 2
    assert listeners.hear() == [b"hi", b"hi"]
    if seconds is None:
        assert client.mget(channels) == [b"older", None]
        assert 990 < client.ttl(channels[0]) <= 1000
    else:
        assert client.mget(channels) == [b"hi", b"hi"]
        assert all(seconds - 2 <= client.ttl(channel) <= seconds for channel in channels)


@pytest.mark.contract("4.3 RedisStore: expire of None means WS4REDIS_EXPIRE")
def test_the_default_is_an_hour(client: redis.Redis, facility: str) -> None:
    RedisPublisher(facility=facility, broadcast=True).publish_message("hi")
    assert 3590 < client.ttl(f"broadcast:{facility}") <= 3600


@pytest.mark.contract("11.2 last message: decided: stored first, then published")
def test_stored_before_published(client: redis.Redis, facility: str) -> None:
    """Who reads the key when the publication arrives finds it there."""
    stored: list[Any] = []
    with client.pubsub() as pubsub:
        pubsub.subscribe(**{f"broadcast:{facility}": lambda _: stored.append(client.get(f"broadcast:{facility}"))})
        pubsub.get_message(timeout=5)
        for number in range(50):
            RedisPublisher(facility=facility, broadcast=True).publish_message(str(number))
            pubsub.get_message(timeout=5)
    assert stored == [str(number).encode() for number in range(50)]


# who is counted


@pytest.mark.contract(
    "4.3 RedisStore: decided: the number of receivers is returned",
    "asks scale: #130, #129: how many receive a message",
    "differs from 0.6: what publishing returns",
)
@pytest.mark.parametrize("expire", [0, 10])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_number_of_listeners(listen: Callable[..., Listeners], facility: str, count: int, expire: int) -> None:
    listen(*[[f"broadcast:{facility}"]] * count)
    assert RedisPublisher(facility=facility, broadcast=True).publish_message("hi", expire=expire) == count


@pytest.mark.contract("4.3 RedisStore: decided: the number of receivers is returned")
def test_the_listeners_of_all_channels_are_counted(listen: Callable[..., Listeners], facility: str) -> None:
    listen([f"broadcast:{facility}"], [f"broadcast:{facility}", f"user:john:{facility}"], [f"user:mary:{facility}"])
    publisher = RedisPublisher(facility=facility, broadcast=True, users=["john", "nobody"])
    assert publisher.publish_message("hi") == publisher.pipeline_publish_message("hi", transaction=False) == 3


@pytest.mark.contract(
    "4.3 RedisStore: without channels nothing happens",
    "5 RedisPublisher: without arguments it fetches only",
)
def test_without_channels_nothing_happens(connect: Callable[..., None]) -> None:
    connect(f"redis://127.0.0.1:{free_port()}")  # nobody is asked
    assert RedisPublisher().publish_message("hi") == 0
    assert RedisPublisher(facility="news").pipeline_publish_message("hi") == 0


# addressing


@pytest.mark.contract(
    "5 RedisPublisher: it takes facility, broadcast, users, groups, sessions and request",
    "5 RedisPublisher: any combination of audiences adds up",
)
def test_all_audiences(client: redis.Redis) -> None:
    publisher = RedisPublisher(
        facility="news",
        broadcast=True,
        users=[SELF, "mary"],
        groups=[SELF, "guests"],
        sessions=[SELF, "key"],
        request=request_of("john", ["chatusers", "writers"], "johnskey"),
    )
    assert publisher._publishers == {
        "broadcast:news",
        "user:john:news",
        "user:mary:news",
        "group:chatusers:news",
        "group:writers:news",
        "group:guests:news",
        "session:johnskey:news",
        "session:key:news",
    }


@pytest.mark.contract("5 RedisPublisher: it takes facility, broadcast, users, groups, sessions and request")
def test_the_arguments_have_their_historic_names() -> None:
    names = {"facility", "broadcast", "users", "groups", "sessions", "request"}
    assert set(inspect.signature(RedisPublisher._get_message_channels).parameters) == names


class TeamPublisher(RedisPublisher):
    """As projects extend it: with a keyword of their own, which may be the only one."""

    def _get_message_channels(self, teams: Any = (), **audience: Any) -> list[str]:
        names = super()._get_message_channels(**audience)
        return names + [f"{self.get_prefix()}team:{team}" for team in teams]


# arguments, the channels
TEAMS = [
    ({"teams": ["red"]}, {"team:red"}),
    ({"teams": ["red", "blue"], "facility": "news", "broadcast": True}, {"team:red", "team:blue", "broadcast:news"}),
    ({"facility": "news", "users": [SELF], "request": request_of("john")}, {"user:john:news"}),
]


@pytest.mark.parametrize(("arguments", "channels"), TEAMS)
def test_a_publisher_has_channels_of_its_own(
    client: redis.Redis, arguments: dict[str, Any], channels: set[str]
) -> None:
    publisher = TeamPublisher(**arguments)
    assert publisher._publishers == channels
    listeners = Listeners(client, sorted(channels))
    assert publisher.publish_message("hi", expire=0) == len(channels)
    assert listeners.hear() == [b"hi"]


@pytest.mark.parametrize("arguments", [{"facilty": "news"}, {"facility": "news", "teams": ["red"]}])
def test_an_argument_that_nobody_knows(client: redis.Redis, arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        RedisPublisher(**arguments)


@pytest.mark.contract("4.3 RedisStore: _publishers is a set of names", "5 RedisPublisher: instances share no channels")
def test_publishers_do_not_share_state(client: redis.Redis) -> None:
    first = RedisPublisher(facility="news", broadcast=True)
    second = RedisPublisher(facility="news", users=["john"])
    assert (first._publishers, second._publishers) == ({"broadcast:news"}, {"user:john:news"})


@pytest.mark.contract("3 names: decided: an audience without a facility is an error")
def test_an_audience_without_a_facility(client: redis.Redis) -> None:
    with pytest.raises(ValueError, match="facility"):
        RedisPublisher(broadcast=True)


@pytest.mark.contract(
    "4.3 RedisStore: it is made of a Redis client",
    "5 RedisPublisher: all of a process share one pool",
)
def test_publishers_share_the_way_to_redis(client: redis.Redis) -> None:
    first, second = RedisPublisher(), RedisPublisher(facility="news", broadcast=True)
    assert first._connection is second._connection


@pytest.mark.contract("4.3 RedisStore: True for SELF and a string for one entry are deprecated, and warn")
@pytest.mark.parametrize("users", [True, "john"])
def test_the_deprecation_points_at_the_caller(client: redis.Redis, users: Any) -> None:
    with pytest.warns(DeprecationWarning, match="users") as warnings:
        RedisPublisher(facility="news", users=users, request=request_of("john"))
    assert [each.filename for each in warnings] == [__file__]


# reading

# what is kept, username, groups, session key, audience, what is found
FETCHES = [
    ("sugb", "john", ["chatusers"], "key", "any", "s"),
    ("ugb", "john", ["chatusers"], "key", "any", "u"),
    ("gb", "john", ["chatusers"], "key", "any", "g"),
    ("b", "john", ["chatusers"], "key", "any", "b"),
    ("", "john", ["chatusers"], "key", "any", None),
    ("sugb", "john", ["chatusers"], "key", "session", "s"),
    ("sugb", "john", ["chatusers"], "key", "user", "u"),
    ("sugb", "john", ["chatusers"], "key", "group", "g"),
    ("sugb", "john", ["chatusers"], "key", "broadcast", "b"),
    ("sgb", "john", ["chatusers"], "key", "user", None),
    ("sug", "john", ["chatusers"], "key", "broadcast", None),
    ("sugb", "john", ["others", "chatusers"], "key", "group", "g"),
    ("sugb", "john", [], "key", "group", None),
    ("sugb", "john", None, "key", "group", None),
    ("sugb", "mary", ["others"], "other", "any", "b"),
    ("sugb", None, ["chatusers"], None, "any", "b"),
    ("sugb", None, ["chatusers"], "key", "any", "s"),
    ("sugb", None, ["chatusers"], None, "user", None),
    ("sugb", None, ["chatusers"], None, "group", None),
    ("sugb", None, None, None, "session", None),
    ("sugb", "john", ["chatusers"], "key", "everybody", None),
    ("sugb", "john", ["chatusers"], "key", "", None),
]


@pytest.mark.contract(
    "5 RedisPublisher: without arguments it fetches only",
    "5 RedisPublisher: fetch_message() takes that of the session, the user, the groups or the broadcast, in this order",
    "5 RedisPublisher: an audience restricts what fetch_message() looks at",
    "5 RedisPublisher: a visitor who has not logged in has no user and no groups",
    "5 RedisPublisher: missing groups or a missing session are tolerated",
    "5 RedisPublisher: an unknown audience has nothing",
)
@pytest.mark.parametrize(("kept", "username", "groups", "session_key", "audience", "found"), FETCHES)
def test_fetch_message(
    client: redis.Redis,
    facility: str,
    kept: str,
    username: str | None,
    groups: list[str] | None,
    session_key: str | None,
    audience: str,
    found: str | None,
) -> None:
    names = {"s": "session:key", "u": "user:john", "g": "group:chatusers", "b": "broadcast"}
    for letter in kept:
        client.set(f"{names[letter]}:{facility}", letter)
    message = RedisPublisher().fetch_message(request_of(username, groups, session_key), facility, audience)
    assert message == (found and found.encode())


@pytest.mark.contract(
    "5 RedisPublisher: without a request there is the broadcast only",
    "5 RedisPublisher: decided: for a request without user and session there is the broadcast only",
)
def test_fetch_message_without_a_visitor(client: redis.Redis, facility: str) -> None:
    client.set(f"broadcast:{facility}", "hi")
    for request in (None, RequestFactory().get("/")):
        assert RedisPublisher().fetch_message(request, facility) == b"hi"
        assert RedisPublisher().fetch_message(request, facility, "broadcast") == b"hi"
        for audience in ("session", "user", "group", "everybody"):
            assert RedisPublisher().fetch_message(request, facility, audience) is None


# what the request has beside its path, what is found where user, group and broadcast have their letter
INCOMPLETE: list[tuple[dict[str, Any], str]] = [
    ({"user": request_of("john").user}, "u"),
    ({"user": request_of("john").user, "session": None}, "u"),
    ({"user": None, "session": None}, "b"),
    ({"user": request_of().user}, "b"),
    ({"session": request_of(groups=["chatusers"]).session}, "b"),
]


@pytest.mark.contract(
    "5 RedisPublisher: missing groups or a missing session are tolerated",
    "5 RedisPublisher: decided: for a request without user and session there is the broadcast only",
)
@pytest.mark.parametrize(("attributes", "found"), INCOMPLETE)
def test_fetch_message_tolerates_what_is_missing(
    client: redis.Redis, facility: str, attributes: dict[str, Any], found: str
) -> None:
    client.mset({f"user:john:{facility}": "u", f"group:chatusers:{facility}": "g", f"broadcast:{facility}": "b"})
    request = RequestFactory().get("/")
    for name, value in attributes.items():
        setattr(request, name, value)
    assert RedisPublisher().fetch_message(request, facility) == found.encode()
    assert RedisPublisher().fetch_message(request, facility, "user") == (b"u" if found == "u" else None)
    assert RedisPublisher().fetch_message(request, facility, "group") is None


@pytest.mark.contract("5 RedisPublisher: fetch_message() skips what is empty")
def test_fetch_message_skips_what_is_empty(client: redis.Redis, facility: str) -> None:
    client.mset({f"session:key:{facility}": "", f"broadcast:{facility}": "hi"})
    assert RedisPublisher().fetch_message(request_of(session_key="key"), facility) == b"hi"


@pytest.mark.contract("5 RedisPublisher: what is fetched is plain bytes")
def test_what_is_fetched_is_plain_bytes(client: redis.Redis, facility: str) -> None:
    RedisPublisher(facility=facility, broadcast=True).publish_message(b"\x00\xff")
    message = RedisPublisher().fetch_message(None, facility, audience="broadcast")
    assert (type(message), message) == (bytes, b"\x00\xff")


# the way to Redis


class CountingConnection(redis.Connection):
    trips = 0

    def send_packed_command(self, *args: Any, **kwargs: Any) -> Any:
        type(self).trips += 1
        return super().send_packed_command(*args, **kwargs)


@pytest.mark.contract(
    "4.3 RedisStore: pipeline_publish_message() does the same in one round trip",
    "asks scale: #278, #299: many round trips for many users",
)
@pytest.mark.parametrize("method", ["publish_message", "pipeline_publish_message"])
@pytest.mark.parametrize("expire", [0, 10])
def test_one_round_trip(
    redis_server: Valkey, connect: Callable[..., None], facility: str, expire: int, method: str
) -> None:
    connect({"host": "127.0.0.1", "port": redis_server.port, "connection_class": CountingConnection})
    publisher = RedisPublisher(facility=facility, broadcast=True, users=[f"user{number}" for number in range(20)])
    publisher.publish_message("this one connects")
    before = CountingConnection.trips
    getattr(publisher, method)("hi", expire=expire)
    assert CountingConnection.trips - before == 1


def test_fetching_is_one_round_trip(redis_server: Valkey, connect: Callable[..., None], facility: str) -> None:
    connect({"host": "127.0.0.1", "port": redis_server.port, "connection_class": CountingConnection})
    publisher, request = RedisPublisher(), request_of("john", ["a", "b", "c"], "key")
    publisher.fetch_message(request, facility)
    before = CountingConnection.trips
    publisher.fetch_message(request, facility)
    assert CountingConnection.trips - before == 1


@pytest.mark.contract("4.3 RedisStore: pipeline_publish_message(transaction=True) is one step; decided: so is False")
@pytest.mark.parametrize("transaction", [True, False])
def test_transaction(client: redis.Redis, facility: str, transaction: bool) -> None:
    """One step either way: a subscription cannot come between the last message and its publication."""
    publisher = RedisPublisher(facility=facility, broadcast=True, users=["john"])
    publisher.publish_message("Redis knows the script")
    client.config_resetstat()
    publisher.pipeline_publish_message("hi", transaction=transaction)
    statistics = client.info("commandstats")
    names = ("evalsha", "setex", "publish", "eval", "multi")
    assert [statistics.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names] == [1, 2, 2, 0, 0]


def by_name(server: Valkey) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port}


# the setting for a server, whether a number of the database is among it
CONNECTIONS: dict[str, Callable[[Valkey], Any]] = {
    "URL": lambda server: server.url,
    "URL without a database": lambda server: f"redis://127.0.0.1:{server.port}",
    "URL with options": lambda server: f"{server.url}?socket_timeout=3&max_connections=3&health_check_interval=30",
    "URL with a pool's timeout": lambda server: f"{server.url}?timeout=3",
    "host and port": by_name,
    "all defaults": lambda server: {**by_name(server), "db": 0, "password": None},
    "decode_responses": lambda server: {**by_name(server), "decode_responses": True},
    "decode_responses in a URL": lambda server: f"{server.url}?decode_responses=True",
    "no TLS": lambda server: {**by_name(server), "ssl": False},
    "RESP2": lambda server: {**by_name(server), "protocol": 2},
    "RESP3": lambda server: {**by_name(server), "protocol": 3},
    "time-outs": lambda server: {**by_name(server), "socket_timeout": 3, "socket_connect_timeout": 3},
    "keep-alive": lambda server: {**by_name(server), "socket_keepalive": True, "health_check_interval": 30},
    "a small pool": lambda server: {**by_name(server), "max_connections": 1},
    "a client's name": lambda server: {**by_name(server), "client_name": "web"},
}


def works(facility: str) -> None:
    """Publisher and subscription both reach the Redis of the settings."""
    publisher = RedisPublisher(facility=facility, broadcast=True)
    with Heard(redis_client.client()) as heard:
        heard.send("SUBSCRIBE", f"broadcast:{facility}")
        wait_for(lambda: heard.replies, "the confirmation")
        assert isinstance(heard.replies[0], Push)
        assert publisher.publish_message("hü") == 1
        wait_for(lambda: len(heard.replies) == 2, "the publication")
        assert heard.replies[1] == [b"message", f"broadcast:{facility}".encode(), "hü".encode()]
    assert publisher.fetch_message(None, facility) == "hü".encode()


@pytest.mark.parametrize("make", CONNECTIONS.values(), ids=CONNECTIONS)
def test_connections(
    redis_server: Valkey, connect: Callable[..., None], facility: str, make: Callable[[Valkey], Any]
) -> None:
    connection = make(redis_server)
    before = dict(connection) if isinstance(connection, dict) else connection
    connect(connection)
    works(facility)
    assert connection == before, "the setting itself is left alone"


GONE: dict[str, Callable[[Valkey], Any]] = {
    "charset": lambda server: {**by_name(server), "charset": "utf-8"},
    "errors": lambda server: {**by_name(server), "errors": "strict"},
    "single_connection_client": lambda server: {**by_name(server), "single_connection_client": True},
    "charset in a URL": lambda server: f"{server.url}?charset=utf-8",
}


@pytest.mark.contract("differs from 0.6: `charset`, `errors` and `single_connection_client` in `WS4REDIS_CONNECTION`")
@pytest.mark.parametrize("name", GONE)
def test_arguments_that_redis_py_once_had(
    redis_server: Valkey, connect: Callable[..., None], facility: str, name: str
) -> None:
    connect(GONE[name](redis_server))
    with pytest.warns(DeprecationWarning, match=f"WS4REDIS_CONNECTION: {name.split()[0]} is left out: "):
        works(facility)


@pytest.mark.parametrize(
    "make", [lambda server: f"redis://127.0.0.1:{server.port}/3", lambda server: {**by_name(server), "db": 3}]
)
def test_another_database(
    redis_server: Valkey,
    client: redis.Redis,
    connect: Callable[..., None],
    facility: str,
    make: Callable[[Valkey], Any],
) -> None:
    connect(make(redis_server))
    works(facility)
    assert client.get(f"broadcast:{facility}") is None
    client.select(3)
    assert client.get(f"broadcast:{facility}") == "hü".encode()


class SocketValkey(Valkey):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def command(self) -> list[str]:
        return [*super().command(), "--unixsocket", str(self.path)]


@pytest.mark.contract("asks deployment: #212, #213, #214, #215, #241: Redis by a Unix socket")
def test_unix_sockets(tmp_path: Path, connect: Callable[..., None], facility: str) -> None:
    path = tmp_path / "redis.sock"
    with SocketValkey(path) as server:
        for connection in (
            {"unix_socket_path": str(path)},
            {"unix_socket_path": str(path), "host": "localhost", "port": 1, "db": 0, "password": None},
            f"unix://{path}?db=0",
        ):
            connect(connection)
            works(facility)
        with server.client() as client:
            assert client.exists(f"broadcast:{facility}")


def test_passwords(redis_server: Valkey, client: redis.Redis, connect: Callable[..., None], facility: str) -> None:
    client.acl_setuser("web", enabled=True, passwords=["+s3cret/"], keys=["*"], channels=["*"], categories=["+@all"])
    try:
        connect({**by_name(redis_server), "username": "web", "password": "s3cret/"})
        works(facility)
        connect(f"redis://web:s3cret%2F@127.0.0.1:{redis_server.port}/0")
        works(facility)
        connect({**by_name(redis_server), "username": "web", "password": "wrong"})
        with pytest.raises(RedisUnavailable):
            RedisPublisher(facility=facility, broadcast=True).publish_message("hi")
        with pytest.raises(RedisUnavailable):
            SubscriberConnection(ThreadRuntime(), redis_client.client())
    finally:
        client.acl_deluser("web")


@pytest.mark.contract("5 RedisPublisher: all of a process share one pool", "differs from 0.6: settings")
def test_the_client_follows_the_settings(connect: Callable[..., None], redis_server: Valkey) -> None:
    first = redis_client.client()
    assert redis_client.client() is first, "one client for all"
    connect(by_name(redis_server))
    second = redis_client.client()
    assert second is not first
    with override_settings(WS4REDIS_TIMEOUT=1, WS4REDIS_MAX_CONNECTIONS=1):
        assert redis_client.client() is second, "how it was made stays"
        connect(redis_server.url)
        third = redis_client.client()
    assert third is redis_client.client() is not second
    pool = third.connection_pool
    assert (pool.max_connections, pool.connection_kwargs["socket_timeout"]) == (1, 1)


@pytest.mark.contract("5 RedisPublisher: all of a process share one pool")
def test_threads_share_the_client(connect: Callable[..., None]) -> None:
    """Whoever comes first makes it: two clients would be two pools, and twice the connections."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for database in range(20):
            connect(f"redis://127.0.0.1/{database}")
            assert len({id(each) for each in at_once(50, lambda _: redis_client.client())}) == 1
    finally:
        sys.setswitchinterval(interval)


# Redis is away


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Accepts connections, by its kernel, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        yield listener.getsockname()[1]


def fails_within(seconds: float, function: Callable[[], Any]) -> None:
    """In a thread, for it may also hang for good."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread, begin = threading.Thread(target=call, daemon=True), time.monotonic()
    thread.start()
    thread.join(seconds)
    print(f"{time.monotonic() - begin:.2f} s")
    assert outcome, f"it did not fail within {seconds} s"
    assert isinstance(outcome[0], RedisUnavailable)
    assert isinstance(outcome[0], redis.exceptions.ConnectionError), "which callers may already catch"


ACTS: dict[str, Callable[[], Any]] = {
    "publish": lambda: RedisPublisher(facility="a", broadcast=True).publish_message("hi"),
    "publish only": lambda: RedisPublisher(facility="a", broadcast=True).publish_message("hi", expire=0),
    "pipeline": lambda: RedisPublisher(facility="a", broadcast=True).pipeline_publish_message("hi", transaction=False),
    "fetch": lambda: RedisPublisher().fetch_message(None, "a"),
}


@pytest.mark.contract("differs from 0.6: Redis is away")
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_nobody_listens(connect: Callable[..., None], act: Callable[[], Any]) -> None:
    connect(f"redis://127.0.0.1:{free_port()}")
    fails_within(1, act)


def test_nobody_listens_to_the_subscription(connect: Callable[..., None]) -> None:
    connect(f"redis://127.0.0.1:{free_port()}")
    fails_within(1, lambda: SubscriberConnection(ThreadRuntime(), redis_client.client()))


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_redis_hangs(silent_port: int, connect: Callable[..., None], act: Callable[[], Any]) -> None:
    connect(f"redis://127.0.0.1:{silent_port}")
    with override_settings(WS4REDIS_TIMEOUT=0.2):
        fails_within(0.8, act)


def test_redis_hangs_before_the_subscription(silent_port: int, connect: Callable[..., None]) -> None:
    connect(f"redis://127.0.0.1:{silent_port}")
    with override_settings(WS4REDIS_TIMEOUT=0.2):
        fails_within(0.8, lambda: SubscriberConnection(ThreadRuntime(), redis_client.client()))


def test_redis_hangs_and_many_wait_for_a_connection(silent_port: int, connect: Callable[..., None]) -> None:
    connect(f"redis://127.0.0.1:{silent_port}")
    with override_settings(WS4REDIS_TIMEOUT=0.3, WS4REDIS_MAX_CONNECTIONS=2):
        redis_client.client()
        begin = time.monotonic()
        failures = at_once(20, lambda _: ACTS["publish"]())
    assert {type(each) for each in failures} == {RedisUnavailable}
    assert time.monotonic() - begin < 2, "each waits for a connection, and then for an answer, at most that long"


# what a user must be allowed, what is published
NEEDED = [("publish", 0), ("publish", 10), ("evalsha", 10)]


@pytest.mark.parametrize(("command", "expire"), NEEDED)
def test_who_may_not_is_told_so(
    client: redis.Redis, connect: Callable[..., None], facility: str, command: str, expire: int
) -> None:
    client.acl_setuser(
        "mute", enabled=True, nopass=True, keys=["*"], channels=["*"], categories=["+@all"], commands=[f"-{command}"]
    )
    try:
        connect(f"redis://mute:x@127.0.0.1:{client.connection_pool.connection_kwargs['port']}")
        with pytest.raises(RedisUnavailable, match=r"permission|can't run this command"):
            RedisPublisher(facility=facility, broadcast=True).publish_message("hi", expire=expire)
    finally:
        client.acl_deluser("mute")


def allowed_by_the_docs() -> list[str]:
    section = (ROOT / "docs/howto/redis.md").read_text().partition("## What it needs to be allowed")[2]
    return re.findall(r"`([A-Z]+)`", section.partition(" for all keys")[0])


def test_the_docs_say_what_must_be_allowed(client: redis.Redis, connect: Callable[..., None], facility: str) -> None:
    commands = [f"+{each.lower()}" for each in allowed_by_the_docs()]
    kinds = ["broadcast:*", "group:*", "user:*", "session:*", "ws4redis:*"]
    client.acl_setuser(
        "web", enabled=True, nopass=True, keys=kinds, channels=kinds, categories=["+@connection"], commands=commands
    )
    try:
        connect(f"redis://web:x@127.0.0.1:{client.connection_pool.connection_kwargs['port']}")
        works(facility)
        guarded = RedisPublisher(facility=facility, broadcast=True)
        guarded._spares_others, guarded._may_be_kept = True, False
        assert guarded.publish_message("not kept") == 0
        assert guarded.fetch_message(request_of("john", ["chatusers"], "key"), facility) is None
        user = SimpleNamespace(get_username=lambda: "john")
        assert update_groups(user, ["chatusers"]) == 0
    finally:
        client.acl_deluser("web")


def test_what_may_not_be_kept_is_published(
    client: redis.Redis, connect: Callable[..., None], listen: Callable[..., Listeners], facility: str
) -> None:
    """By a user without SETEX."""
    client.acl_setuser(
        "fleeting", enabled=True, nopass=True, keys=["*"], channels=["*"], categories=["+@all"], commands=["-setex"]
    )
    client.set(f"broadcast:{facility}", "older", ex=100)
    listeners = listen([f"broadcast:{facility}"])
    try:
        connect(f"redis://fleeting:x@127.0.0.1:{client.connection_pool.connection_kwargs['port']}")
        assert RedisPublisher(facility=facility, broadcast=True).publish_message("hi") == 1
    finally:
        client.acl_deluser("fleeting")
    assert listeners.hear() == [b"hi"]
    assert client.get(f"broadcast:{facility}") is None, "the older one is no longer the last"


# many at once, and after a restart


def at_once(count: int, function: Callable[[int], Any]) -> list[Any]:
    """Call in that many threads; what each returns or raises."""
    results: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            results[number] = function(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def named_connections(client: redis.Redis, name: str) -> int:
    return sum(each["name"] == name for each in client.client_list())


@pytest.mark.contract("5 RedisPublisher: it works in threads, forked workers and a shell")
@pytest.mark.parametrize("first_use", [True, False], ids=["at first", "later"])
def test_many_publish_at_once(
    redis_server: Valkey,
    client: redis.Redis,
    connect: Callable[..., None],
    listen: Callable[..., Listeners],
    facility: str,
    first_use: bool,
) -> None:
    connect({**by_name(redis_server), "client_name": facility})
    listeners = listen([f"broadcast:{facility}"])

    def publish(number: int) -> None:
        for turn in range(20):
            RedisPublisher(facility=facility, broadcast=True).publish_message(f"{number}/{turn}")

    with override_settings(WS4REDIS_MAX_CONNECTIONS=8):
        if not first_use:
            redis_client.client()
        assert at_once(50, publish) == [None] * 50
        count = named_connections(client, facility)
    got = Counter(listeners.hear()[0].decode() for _ in range(1000))
    assert got == Counter(f"{number}/{turn}" for number in range(50) for turn in range(20)), "each once"
    assert 0 < count <= 8, "no more than WS4REDIS_MAX_CONNECTIONS"


# connections of the pool, and how many of them browsers get
SHARES = [(1, 1), (2, 1), (3, 2), (4, 3), (16, 12)]


@pytest.mark.parametrize(("connections", "browsers"), SHARES)
def test_browsers_leave_some_connections_to_views(
    redis_server: Valkey, connect: Callable[..., None], connections: int, browsers: int
) -> None:
    connect({**by_name(redis_server), "client_name": uuid.uuid4().hex})
    with override_settings(WS4REDIS_MAX_CONNECTIONS=connections, WS4REDIS_TIMEOUT=0.2):
        pool = redis_client.client().connection_pool
        for _ in range(2):  # all are given back
            with redis_client.serving_client():
                taken = [pool.get_connection() for _ in range(browsers)]
                with pytest.raises(redis.ConnectionError, match=r"busy \(WS4REDIS_MAX_CONNECTIONS\)"):
                    pool.get_connection()
            taken += [pool.get_connection() for _ in range(connections - browsers)]
            with pytest.raises(redis.ConnectionError, match="busy"):
                pool.get_connection()
            for each in taken:
                pool.release(each)
                pool.release(each)  # once too often changes nothing
        assert len({id(pool.get_connection()) for _ in range(connections)}) == connections, "views may have all"


def test_a_connection_that_cannot_be_made_leaves_its_room(connect: Callable[..., None]) -> None:
    connect(f"redis://127.0.0.1:{free_port()}")
    with override_settings(WS4REDIS_MAX_CONNECTIONS=2, WS4REDIS_TIMEOUT=0.2), redis_client.serving_client():
        for _ in range(5):
            with pytest.raises(RedisUnavailable, match="refused"):
                ACTS["publish"]()


def test_nobody_overtakes_who_waits_for_a_connection() -> None:
    semaphore, order = redis_client._FairSemaphore(1), []

    def enter(number: int) -> None:
        assert semaphore.acquire(30)
        order.append(number)

    assert semaphore.acquire(0)
    threads = []
    for number in range(1, 6):
        threads.append(threading.Thread(target=enter, args=(number,)))
        threads[-1].start()
        wait_for(lambda: semaphore._waiting and (number == 1 or len(semaphore._waiting) == number), "it waits")  # noqa: B023
    for served in range(1, 6):
        semaphore.release()
        assert not semaphore.acquire(0), "it is not the turn of who comes now"
        wait_for(lambda: order == [*range(1, served + 1)], "it is the turn of who came first")  # noqa: B023
    for thread in threads:
        thread.join()
    semaphore.release()
    assert semaphore.acquire(0) and not semaphore.acquire(0)


def test_who_gives_up_waiting_takes_none() -> None:
    """Just when it becomes free, too."""
    semaphore, inside, most = redis_client._FairSemaphore(3), [], []

    def come_and_go(number: int) -> None:
        chance = random.Random(number)
        for _ in range(200):
            if semaphore.acquire(chance.choice([0, 0.0001, 0.001])):
                inside.append(number)
                most.append(len(inside))
                time.sleep(chance.choice([0, 0.0001, 0.001]))
                inside.remove(number)
                semaphore.release()

    assert at_once(30, come_and_go) == [None] * 30
    assert max(most) == 3
    assert [semaphore.acquire(0) for _ in range(4)] == [True] * 3 + [False]


@pytest.mark.contract("5 RedisPublisher: it may be used again")
def test_publishing_works_at_once_after_a_restart(connect: Callable[..., None], facility: str) -> None:
    """Connections that wait in the pool have ended meanwhile; nobody shall notice."""
    with Valkey() as server:
        connect(server.url)
        publisher = RedisPublisher(facility=facility, broadcast=True)
        assert at_once(10, lambda _: publisher.publish_message("hi")) == [0] * 10
        for expire in (10, 0):
            server.stop()
            server.start()
            assert publisher.publish_message("hi", expire=expire) == 0
        assert publisher.fetch_message(None, facility) is None
        server.stop()
        server.start()
        assert publisher.fetch_message(None, facility) is None
        assert at_once(10, lambda _: publisher.publish_message("hi")) == [0] * 10


def test_publishing_works_while_connections_are_killed(
    client: redis.Redis, connect: Callable[..., None], redis_server: Valkey, facility: str
) -> None:
    """Idle ones, by Redis' own ``timeout`` or by a firewall that says so."""
    connect({**by_name(redis_server), "client_name": facility})
    publisher = RedisPublisher(facility=facility, broadcast=True)
    for _ in range(5):
        assert publisher.publish_message("hi") == 0
        for each in client.client_list():
            if each["name"] == facility:
                client.client_kill_filter(_id=each["id"])


@pytest.mark.contract("5 RedisPublisher: it works in threads, forked workers and a shell")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_shares_no_connection(client: redis.Redis, facility: str) -> None:
    publisher = RedisPublisher(facility=facility, broadcast=True)
    publisher.publish_message("parent")
    child = os.fork()
    if not child:
        try:
            for number in range(50):
                publisher.publish_message(str(number))
            os._exit(0)
        finally:
            os._exit(1)
    assert [publisher.publish_message("hi") for _ in range(50)] == [0] * 50
    assert os.waitpid(child, 0)[1] == 0
