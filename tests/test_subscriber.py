from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from redis.backoff import NoBackoff
from redis.retry import Retry

import tests.django_setup  # noqa: F401
from tests.servers import Valkey
from ws4redis.broker import client as redis_client
from ws4redis.core.echo import EchoFilter
from ws4redis.core.publication import Publication
from ws4redis.exceptions import RedisUnavailable
from ws4redis.redis_store import RedisMessage
from ws4redis.subscriber import SELF, RedisStore, RedisSubscriber


class Session(dict):  # type: ignore[type-arg]
    def __init__(self, key: str | None, *groups: str) -> None:
        super().__init__({"ws4redis:memberof": list(groups)} if groups else {})
        self.session_key = key


def user(name: str) -> Any:
    return SimpleNamespace(is_authenticated=True, get_username=lambda: name)


def request_of(visitor: str, path: str = "/ws/news") -> HttpRequest:
    from django.contrib.auth.models import AnonymousUser

    request = RequestFactory().get(path)
    request.user, request.session = {
        "john": (user("john"), Session("johnskey", "chatusers", "writers")),
        "loner": (user("loner"), Session("lonerskey")),
        "by token": (user("token"), None),
        "anonymous": (AnonymousUser(), Session("somekey", "chatusers")),
        "unknown": (AnonymousUser(), Session(None)),
        "nobody": (None, None),
    }[visitor]
    return request


@pytest.fixture
def client(redis_server: Valkey, settings_of_redis: None) -> redis.Redis:
    return redis_client.client()


# a browser's own messages

# what it has published, what arrives, what is not its own
OWN = [
    ("", "abc", "abc"),
    ("a", "abc", "bc"),
    ("aab", "aabc", "c"),
    ("a", "aa", "a"),
    ("aa", "a", ""),
    ("ab", "ba", ""),
    ("a", "", ""),
]


@pytest.mark.contract("11.1 echo: decided: an equal message of somebody else arrives")
@pytest.mark.parametrize(("own", "arrives", "others"), OWN)
def test_each_own_message_is_swallowed_once(own: str, arrives: str, others: str) -> None:
    messages = EchoFilter()
    for letter in own:
        messages.expect(b"broadcast:news", letter.encode())
    got = messages.without_own([Publication(b"broadcast:news", letter.encode()) for letter in arrives])
    assert [each.payload.decode() for each in got] == list(others)
    assert bool(messages) == bool(Counter(own) - Counter(arrives)), "what is still to come is expected"


@pytest.mark.contract("11.1 echo: decided: own messages are counted for each channel")
def test_own_messages_of_one_channel_are_not_those_of_another() -> None:
    messages = EchoFilter()
    messages.expect(b"broadcast:news", b"hi")
    other, own = Publication(b"user:john:news", b"hi"), Publication(b"broadcast:news", b"hi")
    assert messages.without_own([other, own, other]) == [other, other]


def test_own_messages_are_forgotten() -> None:
    messages = EchoFilter()
    for _ in range(3):
        messages.expect(b"a", b"hi")
    assert [messages.forget(b"a", b"hi"), messages.forget(b"a", b"other"), messages.forget(b"b", b"hi")] == [
        True,
        False,
        False,
    ]
    messages.clear()
    assert not messages
    assert not messages.forget(b"a", b"hi")


# channels


def heard(subscriber: RedisSubscriber) -> list[str]:
    return [name.decode() for name in subscriber._subscription.channels]


JOHNS = {
    "broadcast": ["broadcast:news"],
    "group": ["group:chatusers:news", "group:writers:news"],
    "user": ["user:john:news"],
    "session": ["session:johnskey:news"],
}

# audiences of the flags, visitor, the channels in their order
CHANNELS = [
    ([], "john", []),
    (["broadcast"], "john", JOHNS["broadcast"]),
    (["group"], "john", JOHNS["group"]),
    (["user"], "john", JOHNS["user"]),
    (["session"], "john", JOHNS["session"]),
    (["session", "user", "group", "broadcast"], "john", [name for names in JOHNS.values() for name in names]),
    (["group", "user", "session"], "loner", ["user:loner:news", "session:lonerskey:news"]),
    (["group", "user", "session"], "by token", ["user:token:news"]),
    (["group", "user", "session", "broadcast"], "anonymous", ["broadcast:news", "session:somekey:news"]),
    (["group", "user", "session"], "unknown", []),
    (["group", "user", "session", "broadcast"], "nobody", ["broadcast:news"]),
    (["everybody"], "john", []),
]


@pytest.mark.contract(
    "3 names: decided: a websocket of nobody has no channel of a user, a group or a session",
    "3 names: decided: a session without a key has no channel",
    "6 RedisSubscriber: set_pubsub_channels() makes channels of flags and facility",
    "7 URLs: the order of parameters does not matter",
)
@pytest.mark.parametrize(("audiences", "visitor", "expected"), CHANNELS)
def test_flags_become_channels(client: redis.Redis, audiences: list[str], visitor: str, expected: list[str]) -> None:
    listener, speaker = RedisSubscriber(client), RedisSubscriber(client)
    listener.set_pubsub_channels(request_of(visitor), [f"subscribe-{each}" for each in audiences])
    speaker.set_pubsub_channels(request_of(visitor), [f"publish-{each}" for each in audiences])
    assert (heard(listener), listener._publishers) == (expected, set())
    assert (heard(speaker), speaker._publishers) == ([], set(expected))


@pytest.mark.contract("6 RedisSubscriber: set_pubsub_channels() makes channels of flags and facility")
def test_both_directions(client: redis.Redis) -> None:
    subscriber = RedisSubscriber(client)
    subscriber.set_pubsub_channels(request_of("john"), ["publish-user", "subscribe-broadcast", "echo"])
    assert (heard(subscriber), subscriber._publishers) == (["broadcast:news"], {"user:john:news"})


@pytest.mark.contract("9.3 process request: decided: where it sets neither user nor session, nobody is there")
def test_a_request_without_user_and_session(client: redis.Redis) -> None:
    subscriber = RedisSubscriber(client)
    subscriber.set_pubsub_channels(
        RequestFactory().get("/ws/news"), [*subscriber.subscription_channels, *subscriber.publish_channels]
    )
    assert (heard(subscriber), subscriber._publishers) == (["broadcast:news"], {"broadcast:news"})


@pytest.mark.contract(
    "3 names: a websocket's facility is percent-decoded",
    "6 RedisSubscriber: set_pubsub_channels() makes channels of flags and facility",
)
def test_the_facility_is_the_decoded_path(client: redis.Redis) -> None:
    subscriber = RedisSubscriber(client)
    subscriber.set_pubsub_channels(request_of("john", "/ws/gr%C3%BC%C3%9Fe/a:b/"), ["subscribe-user"])
    assert heard(subscriber) == ["user:john:grüße/a:b/"]


@pytest.mark.contract(
    "6 RedisSubscriber: it has four flags to subscribe and four to publish; subclasses may add to both",
    "7 URLs: there are eight flags and echo",
)
def test_the_flags_that_urls_know() -> None:
    audiences = ["session", "group", "user", "broadcast"]
    assert RedisSubscriber.subscription_channels == [f"subscribe-{each}" for each in audiences]
    assert RedisSubscriber.publish_channels == [f"publish-{each}" for each in audiences]


@pytest.mark.contract("4.1 SELF: one object, compared by identity")
def test_historic_names() -> None:
    from ws4redis import redis_store

    assert (SELF, RedisStore) == (redis_store.SELF, redis_store.RedisStore)


# publishing


def speaker_of(client: redis.Redis, *flags: str) -> tuple[RedisSubscriber, EchoFilter]:
    """Of a browser that shall not get its own messages back."""
    subscriber = RedisSubscriber(client)
    subscriber.set_pubsub_channels(request_of("john"), flags)
    subscriber._echo_filter = EchoFilter()
    return subscriber, subscriber._echo_filter


BOTH = ("subscribe-broadcast", "subscribe-user", "publish-broadcast", "publish-user")


@pytest.mark.contract("11.1 echo: without echo own messages do not come back, on none of the channels")
@pytest.mark.parametrize("message", ["hü", "hü".encode(), RedisMessage("hü"), bytearray("hü".encode())])
def test_what_will_come_back_is_remembered(client: redis.Redis, message: Any) -> None:
    subscriber, own = speaker_of(client, *BOTH)
    with client.pubsub() as listener:
        listener.subscribe("broadcast:news", "user:john:news")
        for _ in range(2):
            listener.get_message(timeout=5)
        assert subscriber.publish_message(message, expire=0) == 2
    channels = (b"broadcast:news", b"user:john:news")
    assert own.without_own([Publication(channel, "hü".encode()) for channel in channels]) == []
    assert not own


def test_what_nobody_hears_will_not_come_back(client: redis.Redis) -> None:
    subscriber, own = speaker_of(client, *BOTH)
    with client.pubsub() as listener:
        listener.subscribe("user:john:news")
        listener.get_message(timeout=5)
        assert subscriber.publish_message("hi", expire=0) == 1
    assert not own.forget(b"broadcast:news", b"hi"), "nobody is subscribed, nothing comes back"
    assert own.forget(b"user:john:news", b"hi")


def test_what_is_not_subscribed_will_not_come_back(client: redis.Redis) -> None:
    subscriber, own = speaker_of(client, "subscribe-broadcast", "publish-user")
    with client.pubsub() as listener:
        listener.subscribe("user:john:news")
        listener.get_message(timeout=5)
        assert subscriber.publish_message("hi", expire=0) == 1
    assert not own


def test_what_redis_did_not_take_will_not_come_back() -> None:
    subscriber, own = speaker_of(redis.Redis(port=1, retry=Retry(NoBackoff(), 0)), *BOTH)
    with pytest.raises(RedisUnavailable):
        subscriber.publish_message("hi")
    assert not own


def test_with_echo_nothing_is_remembered(client: redis.Redis) -> None:
    subscriber, _ = speaker_of(client, *BOTH)
    subscriber._echo_filter = None
    assert subscriber.publish_message("hi", expire=0) == 0


@pytest.mark.contract("7 URLs: without publish-* a browser's messages are dropped silently")
def test_a_listener_without_a_voice_publishes_nothing(client: redis.Redis) -> None:
    subscriber, own = speaker_of(client, "subscribe-broadcast")
    assert subscriber.publish_message("hi") == 0
    assert not own


@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize("message", [None, 5, {"a": 1}, ["a"]], ids=repr)
def test_what_is_no_message(client: redis.Redis, message: Any, echo: bool) -> None:
    subscriber, own = speaker_of(client, *BOTH)
    if echo:
        subscriber._echo_filter = None
    with pytest.raises(ValueError, match="a message is str or bytes"):
        subscriber.publish_message(message)
    assert not own


def test_the_heartbeat_is_no_message(client: redis.Redis) -> None:
    subscriber, own = speaker_of(client, *BOTH)
    with override_settings(WS4REDIS_HEARTBEAT="--heartbeat--"), pytest.raises(ValueError, match="heartbeat"):
        subscriber.publish_message("--heartbeat--")
    assert not own


def test_pipeline_publish_message_remembers_too(client: redis.Redis) -> None:
    subscriber, own = speaker_of(client, *BOTH)
    with client.pubsub() as listener:
        listener.subscribe("broadcast:news")
        listener.get_message(timeout=5)
        assert subscriber.pipeline_publish_message("hi", expire=0) == 1
    assert own.forget(b"broadcast:news", b"hi"), "it comes back to the browser that published it"


def test_release(client: redis.Redis) -> None:
    RedisSubscriber(client).release()
