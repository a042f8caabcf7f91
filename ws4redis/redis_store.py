"""Publishing: a message goes to some channels and is stored as the last message of each, until it expires."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from redis import Redis

from ws4redis import settings
from ws4redis.auth.groups import current_identity
from ws4redis.auth.identity import identity_of
from ws4redis.broker import client as redis_client
from ws4redis.broker.last_message import keep_and_publish
from ws4redis.core import channels
from ws4redis.core.channels import SELF
from ws4redis.core.deprecated import Historic, historic_names, imported

__all__ = ["SELF", "RedisMessage", "RedisStore"]

__getattr__ = historic_names(
    __name__,
    {
        name: Historic("RedisStore._get_message_channels(), which resolves SELF")
        for name in ("_wrap_users", "_wrap_groups", "_wrap_sessions")
    }
    | imported(six="six", warnings="warnings", is_authenticated="ws4redis._compat.is_authenticated"),
)


class RedisMessage(bytes):
    """A message as Redis carries it.

    ``RedisMessage(value)`` is None for the heartbeat and for what is no message: of a raw Pub/Sub reply (a list) only a
    ``message`` is one.
    """

    def __new__(cls, value: Any) -> RedisMessage | None:  # type: ignore[misc]
        if isinstance(value, list):
            if not value or value[0] != b"message":
                return None
            return super().__new__(cls, value[2])
        if isinstance(value, str):
            value = value.encode()
        elif not isinstance(value, bytes | bytearray):
            return None
        heartbeat = settings.WS4REDIS_HEARTBEAT
        if heartbeat and value == heartbeat.encode():
            return None
        return super().__new__(cls, value)


class _LateSetting:
    """An attribute that is a setting's value until it is assigned."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        return getattr(settings, self._name)


class RedisStore:
    """Publishes to a set of channels.

    Args:
        connection: a ``redis.Redis`` that returns bytes.
    """

    #: seconds for which last messages are stored; a subclass or an object may have its own
    _expire: int | None = _LateSetting("WS4REDIS_EXPIRE")  # type: ignore[assignment]

    #: whether keys that are no last messages are left alone; True for clients, whose facility is anything
    _spares_others = False
    #: whether the next message may be stored; set for each message of a client
    _may_be_kept = True

    def __init__(self, connection: Redis) -> None:
        self._connection = connection
        self._publishers: set[str] = set()

    def publish_message(self, message: str | bytes | RedisMessage, expire: int | None = None) -> int:
        """Publish to all channels in one round trip; a message is stored and published in one step.

        Where Redis cannot store it (OOM, MISCONF), it is published all the same: newcomers get no last message.

        Args:
            expire: seconds for which newcomers get this message; 0 leaves an earlier last message as it is; None
                means ``WS4REDIS_EXPIRE``.

        Returns:
            how many loop processes have a subscriber, summed over the channels; 0 means that nobody is subscribed.

        Raises:
            ValueError: the message is neither text nor bytes, or is the heartbeat.
            RedisUnavailable: Redis did not take it within ``WS4REDIS_TIMEOUT``, or rejected it; the text says why.
        """
        return self._publish(message, expire)

    def pipeline_publish_message(
        self, message: str | bytes | RedisMessage, expire: int | None = None, transaction: bool = True
    ) -> int:
        """The same as ``publish_message``.

        Args:
            transaction: has no meaning any more, for it is one step either way.
        """
        return self._publish(message, expire)

    def _publish(self, message: Any, expire: int | None) -> int:
        payload = _payload(message)
        if expire is None:
            expire = self._expire
        if not isinstance(expire, int | None):
            raise ValueError(f"expire (or WS4REDIS_EXPIRE) is a number of seconds, not {expire!r}")
        return sum(self._send(payload, expire).values()) if self._publishers else 0

    def _send(self, payload: RedisMessage, expire: int | None) -> dict[str, int]:
        """Returns PUBLISH's count for each channel."""
        names = list(self._publishers)
        with redis_client.redis_errors():
            if not expire or expire < 0:
                counts = self._publish_only(names, payload)
            else:
                seconds = expire if self._may_be_kept else 0
                counts = keep_and_publish(self._connection, names, payload, seconds, self._spares_others)
        return dict(zip(names, counts, strict=True))

    def _publish_only(self, names: Iterable[str], payload: RedisMessage) -> list[int]:
        with self._connection.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.execute_command("PUBLISH", name, payload)
            return pipeline.execute()  # type: ignore[no-any-return]

    @staticmethod
    def get_prefix() -> str:
        return channels.prefix()

    @staticmethod
    def _get_message_channels(
        request: HttpRequest | None = None,
        facility: str | None = None,
        broadcast: bool = False,
        groups: Iterable[Any] = (),
        users: Iterable[Any] = (),
        sessions: Iterable[Any] = (),
    ) -> list[str]:
        identify = current_identity if groups else identity_of
        return channels.addressed_channels(facility, broadcast, groups, users, sessions, request, identify=identify)


def _payload(message: Any) -> RedisMessage:
    if isinstance(message, RedisMessage):
        return message
    if not isinstance(message, str | bytes | bytearray):
        raise ValueError(f"a message is str or bytes, not {type(message).__name__}: encode it first, e.g. json.dumps()")
    payload = RedisMessage(message)
    if payload is None:
        raise ValueError("this message is the heartbeat (WS4REDIS_HEARTBEAT), which is no message to clients")
    return payload
