from __future__ import annotations

from typing import Any

import pytest
import redis
from django.test import override_settings
from hiredis import PushNotification, Reader

import tests.django_setup  # noqa: F401
from tests.servers import Valkey
from ws4redis.broker import client as redis_client
from ws4redis.redis_store import SELF, RedisMessage, RedisStore


def push(*parts: bytes) -> Any:
    reader = Reader()
    reader.feed(b">%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
    return reader.gets()


# value, what RedisMessage makes of it without a heartbeat, and with the heartbeat "beat"
MESSAGES = [
    ("hello", b"hello", b"hello"),
    ("", b"", b""),
    ("Grüße 🎉", "Grüße 🎉".encode(), "Grüße 🎉".encode()),
    (b"\x00\xff", b"\x00\xff", b"\x00\xff"),
    (bytearray(b"\x00\xff"), b"\x00\xff", b"\x00\xff"),
    ("beat", b"beat", None),
    (b"beat", b"beat", None),
    (bytearray(b"beat"), b"beat", None),
    ("beats", b"beats", b"beats"),
    ([b"message", b"broadcast:a", b"hello"], b"hello", b"hello"),
    ([b"message", b"broadcast:a", b""], b"", b""),
    ([b"message", b"broadcast:a", b"beat"], b"beat", b"beat"),
    (push(b"message", b"broadcast:a", b"hello"), b"hello", b"hello"),
    ([b"subscribe", b"broadcast:a", 1], None, None),
    ([b"unsubscribe", b"broadcast:a", 0], None, None),
    ([b"pmessage", b"*", b"broadcast:a", b"hello"], None, None),
    (["hello"], None, None),
    ([], None, None),
    ((b"message", b"broadcast:a", b"hello"), None, None),
    ({"a": 1}, None, None),
    (None, None, None),
    (5, None, None),
    (True, None, None),
]


@pytest.mark.contract(
    "4.2 RedisMessage: text becomes UTF-8, the heartbeat None",
    "4.2 RedisMessage: bytes and bytearrays stay what they are, the heartbeat becomes None",
    "4.2 RedisMessage: of a reply of Pub/Sub it is the message, even the heartbeat",
    "4.2 RedisMessage: other replies become None",
    "4.2 RedisMessage: a value of any other type becomes None",
    "4.2 RedisMessage: without a heartbeat nothing is filtered",
    "asks unicode: #105, #122, #47, #96: RedisMessage under Python 3",
)
@pytest.mark.parametrize(("value", "plain", "with_heartbeat"), MESSAGES, ids=repr)
def test_redis_message(value: Any, plain: bytes | None, with_heartbeat: bytes | None) -> None:
    for heartbeat, expected in ((None, plain), ("", plain), ("beat", with_heartbeat)):
        with override_settings(WS4REDIS_HEARTBEAT=heartbeat):
            message = RedisMessage(value)
        assert message == expected
        assert message is None or type(message) is RedisMessage


@pytest.mark.contract("4.2 RedisMessage: of a reply of Pub/Sub it is the message, even the heartbeat")
def test_the_table_has_a_real_push() -> None:
    assert isinstance(push(b"message", b"a", b"b"), PushNotification)


@pytest.mark.contract(
    "4.2 RedisMessage: empty text is an empty message, which is false",
    "4.2 RedisMessage: it is bytes, and equals bytes",
)
def test_a_message_is_bytes() -> None:
    assert isinstance(RedisMessage("a"), bytes)
    assert RedisMessage("a") == b"a"
    assert not RedisMessage("")
    assert RedisMessage(RedisMessage("a")) == b"a"


@pytest.mark.contract(
    "3 names: the prefix comes first with a colon; without one there is none",
    "4.3 RedisStore: get_prefix() is static",
)
@pytest.mark.parametrize(("prefix", "expected"), [(None, ""), ("", ""), ("ws", "ws:")])
def test_get_prefix(prefix: str | None, expected: str) -> None:
    with override_settings(WS4REDIS_PREFIX=prefix):
        assert RedisStore.get_prefix() == expected


@pytest.mark.contract("4.3 RedisStore: channels come in the order broadcast, groups, users, sessions")
def test_historic_names() -> None:
    assert RedisStore._get_message_channels(facility="a", broadcast=True, users=["b"]) == ["broadcast:a", "user:b:a"]
    assert RedisStore._get_message_channels() == []
    assert repr(SELF) == "SELF"


@pytest.fixture
def client(redis_server: Valkey, settings_of_redis: None) -> redis.Redis:
    return redis_client.client()


@pytest.mark.contract("4.3 RedisStore: _publishers is a set of names")
def test_a_subclass_chooses_its_channels_itself(client: redis.Redis) -> None:
    store = RedisStore(client)
    store._publishers.add("my:own:channel")
    with client.pubsub() as listener:
        listener.subscribe("my:own:channel")
        listener.get_message(timeout=5)
        assert store.publish_message("hi", expire=10) == 1
        assert listener.get_message(timeout=5)["data"] == b"hi"
    assert client.get("my:own:channel") == b"hi"


@pytest.mark.contract("4.3 RedisStore: _expire is the class's default")
def test_the_expiry_follows_the_settings(client: redis.Redis) -> None:
    for expire in (7, 0, None):
        with override_settings(WS4REDIS_EXPIRE=expire):
            assert RedisStore(client)._expire == expire


@pytest.mark.contract("4.3 RedisStore: _expire is the class's default")
def test_a_subclass_chooses_its_expiry(client: redis.Redis) -> None:
    class Short(RedisStore):
        _expire = 60

    store = Short(client)
    store._publishers.add("short:lived")
    store.publish_message("hi")
    assert 50 < client.ttl("short:lived") <= 60


@pytest.mark.contract("4.3 RedisStore: it is made of a Redis client")
def test_a_store_of_a_plain_client(redis_server: Valkey) -> None:
    """Not of our own pool, as a server that is given a client makes them."""
    with redis_server.client() as client:
        store = RedisStore(client)
        store._publishers.update({"plain:a", "plain:b"})
        assert store.publish_message("hi") == 0
        assert client.mget("plain:a", "plain:b") == [b"hi", b"hi"]
