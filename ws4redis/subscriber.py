"""What one browser may hear and say."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.http import HttpRequest
from redis import Redis

from ws4redis import channels
from ws4redis.channels import Identity, facility_of, groups_channel, identity_of
from ws4redis.groups import with_newer_groups
from ws4redis.publication import Publication
from ws4redis.redis_store import SELF, RedisMessage, RedisStore

__all__ = ["SELF", "OwnMessages", "RedisStore", "RedisSubscriber"]


class OwnMessages:
    """What a browser has published and not yet got back; each return is swallowed once.

    Compared by content, for Redis carries no sender. Of two equal messages, one's own and somebody else's, one arrives:
    which of the two nobody can tell.
    """

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: dict[tuple[bytes, bytes], int] = {}
        # what is said and what is heard may be threads of their own
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def expect(self, channel: bytes, payload: bytes) -> None:
        key = (channel, payload)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1

    def forget(self, channel: bytes, payload: bytes) -> bool:
        """One return less is expected; False where none was."""
        key = (channel, payload)
        with self._lock:
            count = self._counts.get(key, 0)
            if count > 1:
                self._counts[key] = count - 1
            else:
                self._counts.pop(key, None)
        return count > 0

    def others(self, publications: Iterable[Publication]) -> list[Publication]:
        """The publications without the own ones."""
        return [each for each in publications if not self.forget(each.channel, each.payload)]

    def clear(self) -> None:
        self._counts.clear()


class Standing(NamedTuple):
    """Who asks for what: enough to find the channels, and to find them again when the groups change."""

    identity: Identity
    facility: str
    flags: Sequence[str]

    def channels(self, direction: str) -> list[str]:
        """``direction`` is subscribe or publish."""
        return [
            name
            for audience in channels.AUDIENCES
            if f"{direction}-{audience}" in self.flags
            for name in channels.own_channels(audience, self.facility, self.identity)
        ]

    @property
    def depends_on_groups(self) -> bool:
        return bool(self.identity.username) and not {"subscribe-group", "publish-group"}.isdisjoint(self.flags)


class RedisSubscriber(RedisStore):
    """Decides to which channels one websocket listens and publishes; made for each websocket.

    Set ``WS4REDIS_SUBSCRIBER`` to a subclass to change that. The loop calls ``set_pubsub_channels`` before the upgrade,
    ``publish_message`` for each message of the browser, and ``release`` when it is gone.
    """

    subscription_channels = ["subscribe-session", "subscribe-group", "subscribe-user", "subscribe-broadcast"]  # noqa: RUF012
    publish_channels = ["publish-session", "publish-group", "publish-user", "publish-broadcast"]  # noqa: RUF012

    def __init__(self, connection: Redis) -> None:
        super().__init__(connection)
        self._subscriptions: list[str] = []
        #: set by the loop where the browser shall not get its own messages back
        self._own_messages: OwnMessages | None = None
        self._standing: Standing | None = None

    def set_pubsub_channels(self, request: HttpRequest, channels: Sequence[str]) -> None:
        """Find the channels for the URL's flags, such as ``subscribe-user``; the request is at hand only here."""
        standing = Standing(identity_of(request), facility_of(request.path_info), tuple(channels))
        self._publishers.update(standing.channels("publish"))
        self._subscriptions += standing.channels("subscribe")
        if standing.depends_on_groups:
            self._standing = standing

    @property
    def groups_channel(self) -> bytes | None:
        """Where changes of the user's groups are told; None where they do not matter."""
        return groups_channel(self._standing.identity.username).encode() if self._standing is not None else None

    def regroup(self, update: bytes | None) -> bool:
        """Follow a change of the user's groups; returns whether there was one."""
        before = self._standing
        if before is None:
            return False
        after = before._replace(identity=with_newer_groups(before.identity, update))
        if after == before:
            return False
        self._standing = after
        # new objects, for other threads may be looking at the old ones
        self._publishers = {*_moved(self._publishers, before, after, "publish")}
        self._subscriptions = _moved(self._subscriptions, before, after, "subscribe")
        return True

    def _send(self, payload: RedisMessage, expire: int | None, transaction: bool) -> dict[str, int]:
        """As ``RedisStore``; remembers what will come back to this very browser."""
        own = self._own_messages
        if own is None:
            return super()._send(payload, expire, transaction)
        returning = [name for name in self._publishers if name in self._subscriptions]
        for name in returning:
            own.expect(name.encode(), payload)
        counts: dict[str, int] = {}
        try:
            counts = super()._send(payload, expire, transaction)
        finally:
            for name in returning:
                if not counts.get(name):
                    own.forget(name.encode(), payload)
        return counts

    def release(self) -> None:
        """The browser is gone."""


def _moved(names: Iterable[str], before: Standing, after: Standing, direction: str) -> list[str]:
    """The channels after a change; what a subclass has added stays."""
    old = before.channels(direction)
    return [*after.channels(direction), *(name for name in names if name not in old)]
