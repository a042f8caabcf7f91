"""Subscribers and servers that override what they are told they may, driven by hand and behind both doors."""

from __future__ import annotations

import json
import re
import select
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
import websocket
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from websocket import ABNF, WebSocketBadStatusException

import tests.django_setup  # noqa: F401
from tests.browsers import counts, log_in
from tests.loop.test_subscriptions import Situation
from tests.servers import UWSGI, RunServer, Site, Valkey, wait_for
from tests.site import copied
from ws4redis.auth.groups import update_groups
from ws4redis.broker import client as redis_client
from ws4redis.core.echo import EchoFilter
from ws4redis.exceptions import UpgradeRefused
from ws4redis.subscriber import RedisSubscriber
from ws4redis.wsgi_server import WebsocketWSGIServer

BROWSERS = 50
ECHO = "subscribe-broadcast&publish-broadcast&echo"


class Reading(RedisSubscriber):
    """Has a Redis connection of its own, in the loop, too."""

    def parse_response(self) -> Any:
        return super().parse_response()


def login_cookie(site: Site, name: str) -> str:
    return f"sessionid={log_in(site, name)}"


# -- by hand, without any loop --


def johns_request(facility: str) -> HttpRequest:
    request = RequestFactory().get(f"/ws/{facility}")
    request.user = SimpleNamespace(is_authenticated=True, get_username=lambda: "john")
    request.session = type("Session", (dict,), {"session_key": "johnskey"})({"ws4redis:memberof": ["writers"]})
    return request


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def store(redis_server: Valkey, settings_of_redis: None) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


CLIENTS: dict[str, Callable[[str], redis.Redis]] = {
    "ours": lambda url: redis_client.client(),
    "plain": redis.Redis.from_url,
    "of RESP3": lambda url: redis.Redis.from_url(url, protocol=3),
}


@pytest.fixture(params=CLIENTS)
def make(request: pytest.FixtureRequest, redis_server: Valkey, store: redis.Redis) -> Iterator[Callable[..., Any]]:
    """A subscriber; what it is asked for is done by hand."""
    client = CLIENTS[request.param](redis_server.url)
    made: list[RedisSubscriber] = []

    def make(kind: type[RedisSubscriber], facility: str, *flags: str, most: int = 1000) -> RedisSubscriber:
        made.append(kind(client))
        made[-1].limit_channels(most)
        made[-1].set_pubsub_channels(johns_request(facility), flags)
        return made[-1]

    yield make
    for each in made:
        each.release()
    if request.param != "ours":
        client.close()


def listening(store: redis.Redis) -> int:
    """The connections that subscribe to anything."""
    return sum(int(each["sub"]) + int(each["psub"]) > 0 for each in store.client_list())


def is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 20)[0])


# flags, the names that are subscribed, in their order
BY_HAND = [
    (["subscribe-broadcast"], ["broadcast"]),
    (["subscribe-session", "subscribe-user"], ["user:john", "session:johnskey"]),
    (RedisSubscriber.subscription_channels, ["broadcast", "group:writers", "user:john", "session:johnskey"]),
]
KINDS = [RedisSubscriber, Reading]


@pytest.mark.contract(
    "6 RedisSubscriber: get_file_descriptor() is that of Redis; None where nothing is subscribed",
    "6 RedisSubscriber: parse_response() is one reply of Redis",
)
@pytest.mark.parametrize(("flags", "audiences"), BY_HAND)
@pytest.mark.parametrize("kind", KINDS)
def test_replies_are_read_by_hand(
    make: Callable[..., Any], store: redis.Redis, facility: str, kind: Any, flags: list[str], audiences: list[str]
) -> None:
    subscriber = make(kind, facility, *flags)
    names = [f"{each}:{facility}".encode() for each in audiences]
    descriptor = subscriber.get_file_descriptor()
    assert is_readable(descriptor)
    confirmations = [subscriber.parse_response() for _ in names]
    assert confirmations == [[b"subscribe", name, number] for number, name in enumerate(names, 1)]
    assert not subscriber.has_more()
    for name in names:
        assert store.publish(name, "hü") == 1
        assert is_readable(descriptor)
        assert subscriber.parse_response() == [b"message", name, "hü".encode()]
    assert subscriber.get_file_descriptor() == descriptor


@pytest.mark.contract("6 RedisSubscriber: decided: what redis-py has read already is not left waiting")
@pytest.mark.parametrize("kind", KINDS)
def test_what_redis_py_has_read_already_is_told(
    make: Callable[..., Any], store: redis.Redis, facility: str, kind: Any
) -> None:
    subscriber = make(kind, facility, "subscribe-broadcast")
    assert is_readable(subscriber.get_file_descriptor())
    assert subscriber.parse_response()[0] == b"subscribe"
    with store.pipeline(transaction=False) as pipeline:
        for number in range(500):
            pipeline.publish(f"broadcast:{facility}", number)
        pipeline.execute()
    received = []
    while len(received) < 500:
        assert is_readable(subscriber.get_file_descriptor())
        received.append(subscriber.parse_response()[2])
        while subscriber.has_more():
            received.append(subscriber.parse_response()[2])
    assert received == [str(number).encode() for number in range(500)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_is_killed_has_more_to_tell(
    make: Callable[..., Any], store: redis.Redis, facility: str, kind: Any
) -> None:
    subscriber = make(kind, facility, "subscribe-broadcast")
    assert is_readable(subscriber.get_file_descriptor())
    subscriber.parse_response()
    assert not subscriber.has_more()
    store.client_kill_filter(_type="pubsub")
    assert is_readable(subscriber.get_file_descriptor())
    assert subscriber.has_more()
    with pytest.raises(redis.exceptions.ConnectionError):
        subscriber.parse_response()


@pytest.mark.contract(
    "6 RedisSubscriber: it is made with a Redis client, and has subscribed nothing",
    "6 RedisSubscriber: get_file_descriptor() is that of Redis; None where nothing is subscribed",
)
@pytest.mark.parametrize("flags", [[], ["publish-broadcast"]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_subscription_there_is_no_descriptor(
    make: Callable[..., Any], store: redis.Redis, facility: str, kind: Any, flags: list[str]
) -> None:
    before = listening(store)
    subscriber = make(kind, facility, *flags)
    assert subscriber.get_file_descriptor() is None
    assert not subscriber.has_more()
    assert listening(store) == before
    with pytest.raises(RuntimeError, match="subscribe"):
        subscriber.parse_response()


@pytest.mark.contract(
    "6 RedisSubscriber: send_persisted_messages() sends what was kept and is not empty, in the order of subscription",
)
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not connected"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_kept_is_sent_by_hand(
    make: Callable[..., Any], store: redis.Redis, facility: str, kind: Any, connected: bool
) -> None:
    for audience in ("session:johnskey", "user:john", "broadcast"):
        store.set(f"{audience}:{facility}", audience, ex=60)
    store.set(f"group:writers:{facility}", "", ex=60)
    store.set(f"user:mary:{facility}", "not his", ex=60)
    subscriber = make(kind, facility, *RedisSubscriber.subscription_channels)
    if connected:
        assert subscriber.get_file_descriptor()
    sent: list[bytes] = []
    subscriber.send_persisted_messages(SimpleNamespace(send=sent.append))
    subscriber.send_persited_messages(SimpleNamespace(send=sent.append))
    assert sent == [b"broadcast", b"user:john", b"session:johnskey"] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_published_by_hand_comes_back(
    make: Callable[..., Any], store: redis.Redis, facility: str, kind: Any
) -> None:
    """Only the loop tells a subscriber to swallow its browser's own messages."""
    subscriber = make(kind, facility, "subscribe-broadcast", "publish-broadcast", "publish-user")
    assert subscriber.get_file_descriptor()
    assert subscriber.parse_response()[0] == b"subscribe"
    assert subscriber.publish_message("hi") == 1
    assert subscriber.parse_response() == [b"message", f"broadcast:{facility}".encode(), b"hi"]
    assert store.mget(f"broadcast:{facility}", f"user:john:{facility}") == [b"hi", b"hi"]


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_channels_are_refused(make: Callable[..., Any], facility: str, kind: Any) -> None:
    with pytest.raises(UpgradeRefused, match="4 channels; 3 are allowed"):
        make(kind, facility, *RedisSubscriber.subscription_channels, most=3)


def test_channels_of_ones_own_stay_when_groups_change(make: Callable[..., Any], facility: str) -> None:
    subscriber = make(RedisSubscriber, facility, "subscribe-group", "subscribe-user", "publish-group")
    subscriber._subscription.subscribe("extra")
    subscriber._publishers.add("extra")
    subscriber.groups_changed(json.dumps({"groups": ["editors"], "at": "ab:1"}).encode())
    names = [f"group:editors:{facility}", f"user:john:{facility}", "extra"]
    assert [name.decode() for name in subscriber._subscription.names] == names
    assert subscriber._publishers == {f"group:editors:{facility}", "extra"}


def test_groups_do_not_change_on_a_connection_of_ones_own(make: Callable[..., Any], facility: str) -> None:
    subscriber = make(Reading, facility, "subscribe-group", "publish-group")
    assert subscriber.groups_channel is None, "nobody tells it"
    subscriber.groups_changed(json.dumps({"groups": ["editors"], "at": "ab:1"}).encode())
    assert subscriber._publishers == {f"group:writers:{facility}"}


@pytest.mark.contract("6 RedisSubscriber: patterns work on a connection of its own, and are an error elsewhere")
def test_other_channels_by_hand(make: Callable[..., Any], store: redis.Redis, facility: str) -> None:
    subscriber = make(Reading, facility, "subscribe-user")
    subscriber._subscription.subscribe(f"other:{facility}")
    subscriber._subscription.psubscribe(f"pattern:{facility}:*")
    assert [subscriber.parse_response()[0] for _ in range(3)] == [b"subscribe", b"subscribe", b"psubscribe"]
    store.publish(f"other:{facility}", "one")
    store.publish(f"pattern:{facility}:x", "two")
    assert [subscriber.parse_response()[-1] for _ in range(2)] == [b"one", b"two"]
    subscriber._subscription.unsubscribe(f"other:{facility}")
    assert subscriber.parse_response()[:2] == [b"unsubscribe", f"other:{facility}".encode()]
    assert store.publish(f"other:{facility}", "three") == 0


@pytest.mark.contract("6 RedisSubscriber: release() gives the connection back")
@pytest.mark.parametrize("flags", [[], ["subscribe-broadcast"]], ids=str)
@pytest.mark.parametrize("kind", [*KINDS, copied.CopiedSubscriber, copied.ChannelsSubscriber, copied.ReleaseSubscriber])
def test_release_gives_the_connection_back(
    make: Callable[..., Any], store: redis.Redis, facility: str, kind: Any, flags: list[str]
) -> None:
    before = {each["id"] for each in store.client_list(_type="pubsub")}
    subscriber = make(kind, facility, *flags)
    subscriber.get_file_descriptor()
    wait_for(lambda: len(store.client_list(_type="pubsub")) == len(before) + len(flags), "its connection")
    for _ in range(2):
        subscriber.release()
        assert subscriber.get_file_descriptor() is None
    wait_for(lambda: {each["id"] for each in store.client_list(_type="pubsub")} == before, "it is given back")


def test_release_leaves_other_connections_of_the_client_alone(redis_server: Valkey, store: redis.Redis) -> None:
    channel = uuid.uuid4().hex
    with redis.Redis.from_url(redis_server.url) as client, client.pubsub() as other:
        other.subscribe(channel)
        subscriber = copied.ChannelsSubscriber(client)
        subscriber.set_pubsub_channels(johns_request(channel), ["subscribe-broadcast"])
        subscriber.release()
        assert store.publish(channel, "hi") == 1


@pytest.mark.parametrize("kind", [copied.CopiedSubscriber, copied.KeepingSubscriber, copied.PatternSubscriber])
def test_too_many_channels_of_a_copy_are_refused(make: Callable[..., Any], facility: str, kind: Any) -> None:
    subscriber = make(kind, facility, *RedisSubscriber.subscription_channels, most=3)
    with pytest.raises(UpgradeRefused, match=r"[45] channels"):
        subscriber.hand_over(johns_request(facility), [])


@pytest.mark.parametrize("kind", [RedisSubscriber, copied.ReleaseSubscriber])
def test_what_the_loop_reads_is_released_as_of_old(facility: str, kind: Any) -> None:
    subscriber = kind(redis_client.client())
    subscriber.set_pubsub_channels(johns_request(facility), ["subscribe-broadcast"])
    assert subscriber._subscription.subscribed
    copied.CopiedRelease.release(subscriber)
    assert (subscriber._subscription.subscribed, subscriber._subscription.names) == (False, ())


@pytest.mark.contract("6 RedisSubscriber: patterns work on a connection of its own, and are an error elsewhere")
def test_the_loops_subscription_has_no_patterns(store: redis.Redis) -> None:
    subscriber = RedisSubscriber(redis_client.client())
    with pytest.raises(NotImplementedError, match=r"(?s)patterns.*overrides parse_response\(\)"):
        subscriber._subscription.psubscribe("broadcast:*")


# -- what cannot work is refused at the start --


class Doorless(WebsocketWSGIServer):
    runtime = SimpleNamespace(run_in_thread=lambda function, *args: function(*args))


class Selecting(Doorless):
    def select(self, rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None) -> Any:
        return select.select(rlist, wlist, xlist, timeout)


class SelectingAsOfOld(Doorless):
    select = staticmethod(select.select)


@pytest.mark.contract(
    "8.1 server: decided: select() is refused at start, for there is one loop for all",
    "differs from 0.6: overriding `select` of a server",
)
@pytest.mark.parametrize("kind", [Selecting, SelectingAsOfOld])
def test_select_is_refused(kind: type[Doorless]) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"{kind.__name__}\.select\(\) .*Remove it"):
        kind()


# the setting, what is said
NO_SUBSCRIBERS: list[tuple[Any, str]] = [
    ("ws4redis.redis_store.RedisStore", "ws4redis.redis_store.RedisStore must be a subclass of"),
    ("tests.site.hooks.not_redis", "tests.site.hooks.not_redis must be a subclass of"),
    (object, "must be a subclass of"),
    (lambda connection: RedisSubscriber(connection), "must be a subclass of"),
]


@pytest.mark.contract(
    "8.1 server: decided: a WS4REDIS_SUBSCRIBER that is none is refused at start",
    "14 manual: 24 a subscriber extends RedisSubscriber",
)
@pytest.mark.parametrize(("subscriber", "said"), NO_SUBSCRIBERS, ids=["store", "function", "class", "callable"])
def test_what_is_no_subscriber_is_refused(subscriber: Any, said: str) -> None:
    with (
        override_settings(WS4REDIS_SUBSCRIBER=subscriber),
        pytest.raises(ImproperlyConfigured, match=f"WS4REDIS_SUBSCRIBER: .*{said}"),
    ):
        Doorless()


@pytest.mark.contract("8.1 server: decided: a WS4REDIS_SUBSCRIBER that is none is refused at start")
def test_a_site_without_a_subscriber_does_not_start(door: type[Site], redis_server: Valkey) -> None:
    server = door(redis_server.url, WS4REDIS_SUBSCRIBER=json.dumps("tests.site.hooks.not_redis"))
    try:
        with suppress(AssertionError):  # uWSGI listens for a moment, and then ends
            server.start()
        wait_for(lambda: server.process is None or server.process.poll(), "its end, with a status that tells")
        assert "ImproperlyConfigured: WS4REDIS_SUBSCRIBER: tests.site.hooks.not_redis must be" in server.log()
    finally:
        server.stop()


@pytest.mark.contract("8.1 server: WS4REDIS_SUBSCRIBER may be a path; decided: or a class")
@pytest.mark.parametrize("subscriber", [Reading, f"{__name__}.Reading"])
def test_a_class_or_its_path(subscriber: Any) -> None:
    with override_settings(WS4REDIS_SUBSCRIBER=subscriber):
        assert Doorless().Subscriber.__name__ == "Reading"


# -- behind both doors --


class OwnRunServer(RunServer):
    def environment(self) -> dict[str, str]:
        return {**super().environment(), "WSGI_APPLICATION": "tests.site.subscribers.application"}


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """Killed and started again by some tests."""
    with Valkey() as server:
        yield server


@pytest.fixture(scope="module")
def site(door: type[Site], valkey: Valkey, database: Path) -> Iterator[Site]:
    settings = {"DATABASE": str(database), "WS4REDIS_TIMEOUT": "2"}
    server = (
        UWSGI(valkey.url, {"module": "tests.site.subscribers"}, **settings)
        if door is UWSGI
        else OwnRunServer(valkey.url, **settings)
    )
    with server:
        yield server


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    if valkey.process is None:
        valkey.start()
    with valkey.client() as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of whatever a test does with the site, nothing is left once its browsers have gone."""
    yield
    if "site" not in request.fixturenames:
        return
    site, valkey = request.getfixturevalue("site"), request.getfixturevalue("valkey")
    site.close_browsers()
    wait_for(lambda: counts(site)["connections"] == counts(site)["channels"] == 0, "all have left")
    if valkey.process is not None:
        wait_for(lambda: own_connections(valkey.client()) == 0, "all connections are given back")
        wait_for(lambda: len(valkey.client().pubsub_channels()) == canaries(valkey.client()), "nobody listens")


def canaries(client: redis.Redis) -> int:
    """The processes that listen, each on one connection."""
    return len(client.pubsub_channels("ws4redis:canary:*"))


def own_connections(client: redis.Redis) -> int:
    """The connections that listen for one websocket."""
    return len(client.client_list(_type="pubsub")) - canaries(client)


def publish(client: redis.Redis, channel: str, message: str, listeners: int = 1) -> None:
    wait_for(lambda: client.publish(channel, message) == listeners, f"{listeners} listeners of {channel}")


def next_is(client: redis.Redis, browser: websocket.WebSocket, channel: str) -> None:
    """Nothing waits: what is published now is what arrives next."""
    marker = uuid.uuid4().hex
    client.publish(channel, marker)
    assert browser.recv() == marker


def answer(connect: Callable[[], websocket.WebSocket]) -> int:
    try:
        return connect().getstatus()
    except WebSocketBadStatusException as refused:
        return refused.status_code


# channels that change while the websocket is open


def rooms_with_listeners(client: redis.Redis, names: list[str]) -> list[str]:
    return [name for name, (_, count) in zip(names, client.pubsub_numsub(*names), strict=True) if count]


KINDS_OF_ROOMS = ["rooms", "reading-rooms"]

# flags, what is said, the rooms that are heard then; "own" is that of the URL
MOVES = [
    ("subscribe-broadcast", ["/join a"], ["own", "a"]),
    ("subscribe-broadcast", ["/join a", "/join a"], ["own", "a"]),
    ("subscribe-broadcast", ["/join a", "/leave own"], ["a"]),
    ("subscribe-broadcast", ["/join a", "/leave a", "/join b"], ["own", "b"]),
    ("subscribe-broadcast", ["/leave b", "/join a", "/join b", "/leave a"], ["own", "b"]),
    ("subscribe-broadcast", ["/join a", "/leave-all"], []),
    ("subscribe-broadcast", ["/leave-all", "/join own", "/join b"], ["own", "b"]),
]


@pytest.mark.contract(
    "6 RedisSubscriber: decided: channels may be changed later, too",
    "asks channels: #69, #29: other channels on an open websocket",
)
@pytest.mark.parametrize(("flags", "moves", "heard"), MOVES)
@pytest.mark.parametrize("part", [*KINDS_OF_ROOMS, "copied-rooms"])
def test_rooms(
    site: Site, client: redis.Redis, facility: str, part: str, flags: str, moves: list[str], heard: list[str]
) -> None:
    names = {"own": f"{part}/{facility}", "a": f"{facility}-a", "b": f"{facility}-b"}
    channels = {room: f"broadcast:{name}" for room, name in names.items()}
    browser = site.connect(f"/ws/{names['own']}?{flags}")
    for move in moves:
        command, _, room = move.partition(" ")
        browser.send(f"{command} {names.get(room, '')}")
    expected = [channels[room] for room in heard]
    wait_for(lambda: rooms_with_listeners(client, [*channels.values()]) == expected, f"listeners of {heard}")
    for _ in range(2):
        for room, channel in channels.items():
            client.publish(channel, room)
    assert Counter(browser.recv() for _ in heard * 2) == Counter(heard * 2), "channels are in no order"
    browser.ping("nothing else")
    assert browser.recv_data(control_frame=True) == (ABNF.OPCODE_PONG, b"nothing else")


# flags, what is said, the room that is heard then
BEGINNINGS = [
    ("", ["/join a"], "a"),
    ("", ["/leave-all", "/join a", "/join own", "/leave a"], "own"),
    ("publish-broadcast", ["/join own"], "own"),
]


@pytest.mark.contract("6 RedisSubscriber: decided: channels may be changed later, too")
@pytest.mark.parametrize(("flags", "moves", "heard"), BEGINNINGS)
@pytest.mark.parametrize("part", [*KINDS_OF_ROOMS, "copied-rooms"])
def test_rooms_of_one_who_heard_nothing_at_first(
    site: Site, client: redis.Redis, facility: str, part: str, flags: str, moves: list[str], heard: str
) -> None:
    names = {"own": f"{part}/{facility}", "a": f"{facility}-a"}
    browser = site.connect(f"/ws/{names['own']}?{flags}")
    for move in moves:
        command, _, room = move.partition(" ")
        browser.send(f"{command} {names.get(room, '')}")
    publish(client, f"broadcast:{names[heard]}", "hi")
    assert browser.recv() == "hi"


# part, flags, is what was kept sent
ENTRANCES = [
    ("rooms", "subscribe-broadcast", True),
    ("rooms", "", True),
    ("reading-rooms", "subscribe-broadcast", False),
]


@pytest.mark.contract("6 RedisSubscriber: decided: channels may be changed later, too")
@pytest.mark.parametrize(("part", "flags", "kept"), ENTRANCES)
def test_who_enters_a_room_gets_what_was_kept(
    site: Site, client: redis.Redis, facility: str, part: str, flags: str, kept: bool
) -> None:
    room = f"broadcast:{facility}-a"
    client.set(room, "kept", ex=60)
    browser = site.connect(f"/ws/{part}/{facility}?{flags}")
    for _ in range(2):
        browser.send(f"/join {facility}-a")
        assert not kept or browser.recv() == "kept"
        wait_for(lambda: rooms_with_listeners(client, [room]), "it has entered")
        next_is(client, browser, room)
        browser.send(f"/leave {facility}-a")
        wait_for(lambda: not rooms_with_listeners(client, [room]), "it has left")


@pytest.mark.contract("6 RedisSubscriber: decided: channels may be changed later, too")
def test_who_has_left_a_room_no_longer_hears_it(site: Site, client: redis.Redis, facility: str) -> None:
    """Others of this process still do."""
    room, own = f"broadcast:{facility}-a", f"broadcast:rooms/{facility}"
    goes, stays = (site.connect(f"/ws/rooms/{facility}?subscribe-broadcast") for _ in range(2))
    stays.send(f"/join {facility}-a")
    for number in range(10):
        goes.send(f"/join {facility}-a")
        say(client, goes)
        publish(client, room, f"inside {number}")
        assert [each.recv() for each in (stays, goes)] == [f"inside {number}"] * 2
        goes.send(f"/leave {facility}-a")
        say(client, goes)
        publish(client, room, f"outside {number}")
        publish(client, own, f"outside {number}")
        assert [stays.recv(), stays.recv(), goes.recv()] == [f"outside {number}"] * 3
    next_is(client, goes, own)


def say(client: redis.Redis, browser: websocket.WebSocket) -> None:
    """Wait until all that it has said is done: that happens in order."""
    mark = uuid.uuid4().hex
    browser.send(f"/mark {mark}")
    wait_for(lambda: client.get(mark), "the mark")


@pytest.mark.contract(
    "6 RedisSubscriber: decided: channels may be changed later, too",
    "asks channels: #69, #29: other channels on an open websocket",
)
@pytest.mark.parametrize("part", KINDS_OF_ROOMS)
def test_rooms_under_churn(site: Site, client: redis.Redis, facility: str, part: str) -> None:
    """Messages are numbered and kept: each stay begins with the last one, and nothing comes late."""
    rooms = [f"{facility}-{name}" for name in "abc"]
    browsers = [site.connect(f"/ws/{part}/{facility}?subscribe-broadcast") for _ in range(20)]
    published = dict.fromkeys(rooms, 0)

    def publish_everywhere() -> None:
        for room in rooms:
            published[room] += 1
            with client.pipeline() as pipeline:
                message = f"{room} {published[room]}"
                pipeline.set(f"broadcast:{room}", message, ex=60).publish(f"broadcast:{room}", message).execute()

    for turn in range(20):
        for number, browser in enumerate(browsers):
            room = rooms[(number + turn) % len(rooms)]
            browser.send(f"/leave {rooms[(number + turn - 1) % len(rooms)]}")
            browser.send(f"/join {room}")
            if number % 5 == 0:
                publish_everywhere()
        # a site that is slower than this must not find all rooms silent when it comes to them
        say(client, browsers[turn])
        publish_everywhere()
    for browser in browsers:
        browser.send("/leave-all")
        browser.send(f"/join {facility}-end")
        say(client, browser)
    wait_for(lambda: rooms_with_listeners(client, [f"broadcast:{room}" for room in rooms]) == [], "all have left")
    publish_everywhere()
    publish(client, f"broadcast:{facility}-end", "the end", listeners=1 if part == "rooms" else len(browsers))
    for browser in browsers:
        last = dict.fromkeys(rooms, 0)
        while (message := browser.recv()) != "the end":
            room, _, number = str(message).partition(" ")
            assert last[room] <= int(number) < published[room], "in order, and none after it has left"
            last[room] = int(number)
        assert any(last.values()), "it has heard something"


def go(browser: Situation, channels: bytes) -> None:
    """As a subscriber does it: no answer is waited for."""
    browser.page.names.replace(channels.split())


# messages of the channel while it is entered, while it is left again, what was kept in the end, all that may arrive
RETURNS = [
    ([b"1"], [b"2"], b"2", (b"2", b"12")),
    ([b"1", b"2"], [b"3"], b"3", (b"3", b"123")),
    ([b"1"], [], b"1", (b"1",)),
    ([], [b"1"], b"1", (b"1",)),
]


@pytest.mark.parametrize(("entering", "away", "kept", "sent"), RETURNS)
def test_who_comes_back_quickly_hears_in_order(
    entering: list[bytes], away: list[bytes], kept: bytes, sent: tuple[bytes, ...]
) -> None:
    """Redis has not yet answered the first time."""
    browser = Situation(channels=b"b")
    browser.restore()
    browser.answer(None)
    browser.sent()
    go(browser, b"a b")
    for message in entering:
        browser.publish((b"a", message))
    go(browser, b"b")
    for message in away:
        browser.publish((b"a", message))
    go(browser, b"a b")
    for last in (b"older", kept):
        browser.answer(last)
    assert browser.sent() in sent


# -- many that read for themselves --


@pytest.mark.contract(
    "6 RedisSubscriber: decided: what redis-py has read already is not left waiting",
    "6 RedisSubscriber: release() gives the connection back",
    "6 RedisSubscriber: decided: overriding parse_response() or get_file_descriptor() gives a connection of its own",
    "asks delivery: #2, redis-py #419: the rest of a burst comes with the next message",
    "asks scale: #79: reloading a page uses up all connections to Redis",
)
def test_many_that_read_for_themselves(site: Site, client: redis.Redis, facility: str) -> None:
    channel = f"broadcast:reading/{facility}"

    def listeners() -> int:
        return int(client.pubsub_numsub(channel)[0][1])

    browsers = [site.connect(f"/ws/reading/{facility}?subscribe-broadcast") for _ in range(BROWSERS)]
    wait_for(lambda: listeners() == BROWSERS, "a connection for each")
    assert own_connections(client) == BROWSERS
    messages = [str(number) for number in range(500)]
    with client.pipeline(transaction=False) as pipeline:
        for message in messages:
            pipeline.publish(channel, message)
        assert set(pipeline.execute()) == {BROWSERS}
    for browser in browsers:
        assert [browser.recv() for _ in messages] == messages
    for browser in browsers[::2]:
        browser.close()
    wait_for(lambda: listeners() == BROWSERS // 2, "half of them are given back")
    for browser in browsers[1::2]:
        next_is(client, browser, channel) if browser is browsers[1] else browser.recv()
    site.close_browsers()
    wait_for(lambda: own_connections(client) == 0, "all of them are given back")


@pytest.mark.contract(
    "6 RedisSubscriber: decided: what redis-py has read already is not left waiting",
    "asks delivery: #2, redis-py #419: the rest of a burst comes with the next message",
)
def test_what_was_read_before_the_upgrade_arrives(site: Site, facility: str) -> None:
    browser = site.connect(f"/ws/waiting/{facility}?subscribe-broadcast")
    assert browser.recv() == "a greeting"


# part, does its connection come back by itself
KILLED = [("reading", False), ("persistent", redis.VERSION >= (6,))]  # redis-py 5 comes back after time-outs only


@pytest.mark.contract("6 RedisSubscriber: decided: where Redis breaks off a connection of its own, 1013")
@pytest.mark.parametrize(("part", "persistent"), KILLED)
def test_connections_are_killed(site: Site, client: redis.Redis, facility: str, part: str, persistent: bool) -> None:
    channel = f"broadcast:{part}/{facility}"
    browsers = [site.connect(f"/ws/{part}/{facility}?subscribe-broadcast") for _ in range(10)]
    wait_for(lambda: client.pubsub_numsub(channel)[0][1] == 10, "a connection for each")
    client.client_kill_filter(_type="pubsub")
    if persistent:
        # asked without publishing: each message is a thread for each browser, which keeps the others from coming back
        wait_for(lambda: client.pubsub_numsub(channel)[0][1] == 10, "all are back")
        publish(client, channel, "still here", listeners=10)
        assert {browser.recv() for browser in browsers} == {"still here"}
        browsers[0].ping()
        # after what who was back first may have heard more than once
        wait_for(lambda: browsers[0].recv_data(control_frame=True)[0] == ABNF.OPCODE_PONG, "the pong")
    else:
        assert {close_code(browser) for browser in browsers} == {1013}


def close_code(browser: websocket.WebSocket) -> int:
    opcode, data = browser.recv_data()
    assert opcode == ABNF.OPCODE_CLOSE, data
    return int.from_bytes(data[:2], "big")


@pytest.mark.contract("6 RedisSubscriber: decided: where Redis breaks off a connection of its own, 1013")
@pytest.mark.parametrize("part", ["reading", "copied-keeping"])
def test_redis_is_killed(site: Site, valkey: Valkey, client: redis.Redis, facility: str, part: str) -> None:
    path = f"/ws/{part}/{facility}?{ECHO}"
    browsers = [site.connect(path) for _ in range(BROWSERS)]
    before = len(site.log())
    valkey.stop(signal.SIGKILL)
    assert [close_code(browser) for browser in browsers] == [1013] * BROWSERS
    wait_for(lambda: counts(site)["connections"] == 0, "all have left")
    assert answer(lambda: site.connect(path)) == 503
    log = site.log()[before:]
    assert log.count("cannot read from Redis, its websocket is closed") <= BROWSERS
    assert not re.search("Traceback|(request|ws4redis) (ERROR|CRITICAL)", log), log
    valkey.start()
    wait_for(lambda: answer(lambda: site.connect(path)) == 101, "it can connect again")
    browser = site.browsers[-1]
    browser.send("hi")
    assert browser.recv() == "hi"


def test_a_subscriber_is_released_when_it_has_stopped_reading(site: Site, client: redis.Redis, facility: str) -> None:
    """Else redis-py connects and subscribes again, on a connection that nobody closes."""
    browser = site.connect(f"/ws/copied-busy/{facility}?subscribe-broadcast")
    publish(client, f"broadcast:copied-busy/{facility}", "hi")
    assert browser.recv() == "hi"


def test_a_connection_that_breaks_in_a_release_is_closed(site: Site, client: redis.Redis, facility: str) -> None:
    """redis-py connects and subscribes again, and then reports the failure."""
    before = len(site.log())
    site.connect(f"/ws/copied-cut/{facility}?subscribe-broadcast").close()
    wait_for(lambda: "release() of a subscriber could not reach Redis" in site.log()[before:], "the release has failed")


# -- own messages --

# flags, does it get its own
OWN = [("", False), ("&echo", True)]


@pytest.mark.contract("6 RedisSubscriber: own messages do not come back on a connection of its own, either")
@pytest.mark.parametrize(("echo", "comes_back"), OWN)
@pytest.mark.parametrize(
    "part", ["reading", "persistent", "rooms", "reading-rooms", "copied", "copied-keeping", "store", "whole-store"]
)
def test_own_messages(site: Site, client: redis.Redis, facility: str, part: str, echo: str, comes_back: bool) -> None:
    path, channel = f"/ws/{part}/{facility}?subscribe-broadcast", f"broadcast:{part}/{facility}"
    speaker, other = site.connect(f"{path}&publish-broadcast{echo}"), site.connect(path)
    publish(client, channel, "both are there", listeners=1 if part in ("rooms", "copied", "store") else 2)
    assert [each.recv() for each in (speaker, other)] == ["both are there"] * 2
    messages = ["same", "same", *(str(number) for number in range(50))]
    for message in messages:
        speaker.send(message)
    assert [other.recv() for _ in messages] == messages
    if comes_back:
        assert [speaker.recv() for _ in messages] == messages
    for message in ("same", "0"):
        client.publish(channel, message)
        assert [each.recv() for each in (speaker, other)] == [message] * 2, "somebody else's"
    next_is(client, speaker, channel)


# what it hears in turn, whether its own message comes while it is away
ABSENCES = [(b"b", True), (b"b", False), (b"b c", False), (b"", False)]


@pytest.mark.parametrize(("elsewhere", "arrives"), ABSENCES)
def test_who_comes_back_hears_somebody_elses_equal_message(elsewhere: bytes, arrives: bool) -> None:
    """What it had said before it left a channel can no longer come back on it."""
    own = EchoFilter()
    browser = Situation(echo_filter=own)
    browser.restore()
    browser.answer(None, None)
    own.expect(b"a", b"m")
    browser.change(elsewhere)
    if arrives:
        browser.publish((b"a", b"m"))
    browser.answer_all()
    browser.change(b"a b")
    browser.answer_all()
    browser.sent()
    browser.publish((b"a", b"m"))
    assert browser.sent() == b"m"


# -- bodies that were copied from django-websocket-redis --

ALL_FLAGS = "&".join(RedisSubscriber.subscription_channels)

# part, its own Redis connections
COPIES = [
    ("copied", 0),
    ("copied-channels", 0),
    ("copied-release", 0),
    ("copied-persisted", 0),
    ("copied-given", 0),
    ("copied-keeping", 1),
    ("copied-patterns", 1),
    ("store", 0),
    ("whole-store", 1),
]


@pytest.mark.contract("differs from 0.6: subscribers with copied bodies, or that extend `RedisStore`")
@pytest.mark.parametrize(("part", "connections"), COPIES)
def test_copies_hear_all(site: Site, client: redis.Redis, facility: str, part: str, connections: int) -> None:
    here, key = f"{part}/{facility}", log_in(site, "john")
    channels = [f"{each}:{here}" for each in ("broadcast", "group:chatusers", "user:john", f"session:{key}")]
    for channel in channels:
        client.set(channel, f"kept {channel}", ex=60)
    browser = site.connect(f"/ws/{here}?{ALL_FLAGS}", cookie=f"sessionid={key}")
    assert [browser.recv() for _ in channels] == [f"kept {channel}" for channel in channels]
    for channel in channels:
        publish(client, channel, f"to {channel}")
        assert browser.recv() == f"to {channel}"
    assert own_connections(client) == connections


def test_a_copy_subscribes_by_its_own_name(site: Site, client: redis.Redis, facility: str) -> None:
    browser = site.connect(f"/ws/copied-keeping/{facility}?subscribe-broadcast")
    browser.send(f"/join {facility}-a")
    publish(client, f"broadcast:{facility}-a", "hi")
    assert browser.recv() == "hi"


@pytest.mark.parametrize("part", ["copied", "copied-given", "store"])
def test_copies_follow_groups(site: Site, valkey: Valkey, client: redis.Redis, facility: str, part: str) -> None:
    groups = {name: f"group:{name}:{part}/{facility}" for name in ("chatusers", "writers")}
    john = SimpleNamespace(get_username=lambda: "john")
    browser = site.connect(f"/ws/{part}/{facility}?{ALL_FLAGS}", cookie=login_cookie(site, "john"))
    with override_settings(WS4REDIS_CONNECTION=valkey.url):
        for names in (["writers"], []):
            update_groups(john, names)
            expected = [groups[name] for name in names]
            wait_for(lambda expected=expected: rooms_with_listeners(client, [*groups.values()]) == expected, names)
            for channel in expected:
                client.publish(channel, names[0])
                assert browser.recv() == names[0]
    next_is(client, browser, f"user:john:{part}/{facility}")


def test_a_copy_that_leaves_groups_out_is_not_given_them(make: Callable[..., Any], facility: str) -> None:
    """Whoever has chosen other channels than ours is not subscribed to ours when the groups change."""

    class Choosy(copied.CopiedSubscriber):
        def names(self, request: HttpRequest, channels: Any, direction: str) -> list[str]:
            return [f"mine:{facility}"]

    subscriber = make(Choosy, facility, "subscribe-group")
    subscriber.hand_over(johns_request(facility), ["subscribe-group"])
    assert (subscriber.groups_channel, subscriber._subscription.names) == (None, (f"mine:{facility}".encode(),))


# part, the class, what is said once
TOLD = [
    ("copied", "CopiedSubscriber", "CopiedSubscriber.set_pubsub_channels() opens a Redis connection for each"),
    (
        "copied-keeping",
        "KeepingSubscriber",
        "KeepingSubscriber.set_pubsub_channels() opens a Redis connection for each",
    ),
    ("store", "Store", "tests.site.copied.Store'> extends RedisStore; let it extend RedisSubscriber"),
]


@pytest.mark.contract("differs from 0.6: subscribers with copied bodies, or that extend `RedisStore`")
@pytest.mark.parametrize(("part", "kind", "said"), TOLD)
def test_copies_are_told_of_once(
    site: Site, client: redis.Redis, facility: str, part: str, kind: str, said: str
) -> None:
    for _ in range(3):
        site.connect(f"/ws/{part}/{facility}?subscribe-broadcast")
    assert site.log().count(said) == 1


@pytest.mark.parametrize("part", ["copied-release", "rooms"])
def test_what_needs_no_copy_is_not_told_of(site: Site, client: redis.Redis, facility: str, part: str) -> None:
    before = len(site.log())
    site.connect(f"/ws/{part}/{facility}?subscribe-broadcast")
    assert "opens a Redis connection" not in site.log()[before:]


# -- release --


def releases(site: Site, path: str) -> int:
    return site.log().count(f"released {path}\n")


def wait_for_release(site: Site, path: str) -> None:
    wait_for(lambda: releases(site, path), "release()")
    counts(site)
    wait_for(lambda: counts(site)["connections"] == 0, "it has left")
    assert site.log().count(f"made {path}\n") == releases(site, path) == 1


# part, what goes wrong, HTTP status
REFUSED = [
    ("counted", "denied", 403),
    ("counted-reading", "denied", 403),
    ("counted", "fails", 500),
    ("counted-reading", "fails", 500),
    ("full", "", 503),
    ("full-reading", "", 503),
    ("forgetful", "", 500),
    ("inventive", "", 500),
]


@pytest.mark.contract(
    "6 RedisSubscriber: release() on every path; decided: once", "8.2 order: errors before the upgrade are HTTP's"
)
@pytest.mark.parametrize("badly", ["well", "leaves-badly"])
@pytest.mark.parametrize(("part", "how", "status"), REFUSED)
def test_who_is_refused_is_released_once(
    site: Site, client: redis.Redis, facility: str, part: str, how: str, status: int, badly: str
) -> None:
    path = f"/ws/{part}/{facility}/{badly}/{how}"
    assert answer(lambda: site.connect(f"{path}?subscribe-broadcast")) == status
    wait_for_release(site, path)


ENDS: dict[str, Callable[[websocket.WebSocket], Any]] = {
    "closed": lambda browser: browser.close(),
    "cut off": lambda browser: browser.shutdown(),
    "a bad frame": lambda browser: browser.sock.sendall(b"\x83\x80\0\0\0\0"),
    "its subscriber fails": lambda browser: browser.send("fail"),
}


@pytest.mark.contract(
    "6 RedisSubscriber: release() on every path; decided: once",
    "8.2 order: release() at the end",
    "asks scale: #73, #93, #94: memory and files of websockets that are gone",
)
@pytest.mark.parametrize("badly", ["well", "leaves-badly"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("part", ["counted", "counted-reading"])
def test_who_leaves_is_released_once(
    site: Site, client: redis.Redis, facility: str, part: str, end: Callable[[Any], Any], badly: str
) -> None:
    path = f"/ws/{part}/{facility}/{badly}/"
    browser = site.connect(f"{path}?{ECHO}")
    end(browser)
    browser.shutdown()
    wait_for_release(site, path)


@pytest.mark.contract("6 RedisSubscriber: release() on every path; decided: once")
def test_who_is_there_while_redis_is_away_is_released_once(
    site: Site, valkey: Valkey, client: redis.Redis, facility: str
) -> None:
    paths = {part: f"/ws/{part}/{facility}/well/" for part in ("counted", "counted-reading")}
    browsers = {part: site.connect(f"{path}?{ECHO}") for part, path in paths.items()}
    speakers = [site.connect(f"{path}speaker?publish-broadcast") for path in paths.values()]
    valkey.stop(signal.SIGKILL)
    try:
        # the second waits for Redis; after it nobody is admitted any more
        for part in ("counted-reading", "counted"):
            assert answer(lambda part=part: site.connect(f"{paths[part]}late?subscribe-broadcast")) == 503
        for speaker in speakers:
            speaker.send("lost")
            assert close_code(speaker) == 1013
        assert close_code(browsers["counted-reading"]) == 1013
        browsers["counted"].send("lost")
        assert close_code(browsers["counted"]) == 1013
        for path in paths.values():
            for which in ("", "late", "speaker"):
                wait_for_release(site, f"{path}{which}")
    finally:
        valkey.start()
    wait_for(lambda: answer(lambda: site.connect(f"{paths['counted']}again?{ECHO}")) == 101, "Redis is back")


# -- servers of one's own --


@pytest.mark.contract("8.1 server: upgrade_websocket() may do something before and after")
def test_an_upgrade_with_something_before_and_after(site: Site, client: redis.Redis, facility: str) -> None:
    path = f"/ws/careful/{facility}"
    browser = site.connect(f"{path}?{ECHO}")
    browser.send("hi")
    assert browser.recv() == "hi"
    assert all(site.log().count(f"{word} {path}\n") == 1 for word in ("before", "after"))


# part, what was returned, status
NO_WEBSOCKETS = [("forgetful", "None", 500), ("inventive", "<object object at", 500)]


@pytest.mark.contract("8.1 server: 500, decided: upgrade_websocket() returns something of its own")
@pytest.mark.parametrize(("part", "returned", "status"), NO_WEBSOCKETS)
def test_an_upgrade_that_returns_no_websocket(
    site: Site, client: redis.Redis, facility: str, part: str, returned: str, status: int
) -> None:
    before = len(site.log())
    assert answer(lambda: site.connect(f"/ws/{part}/{facility}?subscribe-broadcast")) == status
    line = f"TypeError: upgrade_websocket() must return what its super() returned, not {returned}"
    wait_for(lambda: line in site.log()[before:], line)


@pytest.mark.contract("8.1 server: 500, decided: upgrade_websocket() returns something of its own")
def test_an_upgrade_that_wraps_the_websocket(site: Site, client: redis.Redis, facility: str) -> None:
    """The connection is taken already: the browser is cut off, or told, and nothing of it is left."""
    path = f"/ws/wrapping/{facility}"

    def try_to_connect() -> None:
        with pytest.raises((websocket.WebSocketException, ConnectionError)):
            site.connect(f"{path}?subscribe-broadcast")

    try_to_connect()
    wait_for_release(site, path)
    assert "TypeError: upgrade_websocket() must return what its super() returned, not [<ws4redis." in site.log()
    before = counts(site)["descriptors"]
    for _ in range(5):
        try_to_connect()
    wait_for(lambda: counts(site)["descriptors"] <= before, f"{before} descriptors, as before")
