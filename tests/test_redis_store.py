from __future__ import annotations

from typing import Any

import pytest
import redis
from django.test import override_settings
from hiredis import PushNotification, Reader

import tests.django_setup  # noqa: F401
from tests.servers import Valkey
from ws4redis import redis_client
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


@pytest.mark.parametrize(("value", "plain", "with_heartbeat"), MESSAGES, ids=repr)
def test_redis_message(value: Any, plain: bytes | None, with_heartbeat: bytes | None) -> None:
    for heartbeat, expected in ((None, plain), ("", plain), ("beat", with_heartbeat)):
        with override_settings(WS4REDIS_HEARTBEAT=heartbeat):
            message = RedisMessage(value)
        assert message == expected
        assert message is None or type(message) is RedisMessage


def test_the_table_has_a_real_push() -> None:
    assert isinstance(push(b"message", b"a", b"b"), PushNotification)


def test_a_message_is_bytes() -> None:
    assert isinstance(RedisMessage("a"), bytes)
    assert RedisMessage("a") == b"a"
    assert not RedisMessage("")
    assert RedisMessage(RedisMessage("a")) == b"a"


@pytest.mark.parametrize(("prefix", "expected"), [(None, ""), ("", ""), ("ws", "ws:")])
def test_get_prefix(prefix: str | None, expected: str) -> None:
    with override_settings(WS4REDIS_PREFIX=prefix):
        assert RedisStore.get_prefix() == expected


def test_historic_names() -> None:
    assert RedisStore._get_message_channels(facility="a", broadcast=True, users=["b"]) == ["broadcast:a", "user:b:a"]
    assert RedisStore._get_message_channels() == []
    assert repr(SELF) == "SELF"


@pytest.fixture
def client(redis_server: Valkey, settings_of_redis: None) -> redis.Redis:
    return redis_client.client()


def test_a_subclass_chooses_its_channels_itself(client: redis.Redis) -> None:
    store = RedisStore(client)
    store._publishers.add("my:own:channel")
    with client.pubsub() as listener:
        listener.subscribe("my:own:channel")
        listener.get_message(timeout=5)
        assert store.publish_message("hi", expire=10) == 1
        assert listener.get_message(timeout=5)["data"] == b"hi"
    assert client.get("my:own:channel") == b"hi"


def test_the_expiry_follows_the_settings(client: redis.Redis) -> None:
    for expire in (7, 0, None):
        with override_settings(WS4REDIS_EXPIRE=expire):
            assert RedisStore(client)._expire == expire


def test_a_subclass_chooses_its_expiry(client: redis.Redis) -> None:
    class Short(RedisStore):
        _expire = 60

    store = Short(client)
    store._publishers.add("short:lived")
    store.publish_message("hi")
    assert 50 < client.ttl("short:lived") <= 60


def test_a_store_of_a_plain_client(redis_server: Valkey) -> None:
    """Not of our own pool, as a server that is given a client makes them."""
    with redis_server.client() as client:
        store = RedisStore(client)
        store._publishers.update({"plain:a", "plain:b"})
        assert store.publish_message("hi") == 0
        assert client.mget("plain:a", "plain:b") == [b"hi", b"hi"]
