"""The channels to which one client is subscribed, and those to which it publishes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpRequest
from redis import Redis
from redis.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError

from ws4redis import settings as our_settings
from ws4redis.auth.groups import current_identity, is_of_the_epoch, with_kept_groups, with_newer_groups
from ws4redis.auth.identity import identity_once
from ws4redis.broker import client as redis_client
from ws4redis.core.channel_set import ChannelSet, Subscribing, check_number
from ws4redis.core.channels import ChannelRequest, facility_of, groups_channel, groups_keys
from ws4redis.core.deprecated import historic_names, imported
from ws4redis.core.echo import EchoFilter, Sent
from ws4redis.core.identity import Identity
from ws4redis.redis_store import SELF, RedisMessage, RedisStore

__all__ = ["SELF", "RedisStore", "RedisSubscriber"]

logger = logging.getLogger("ws4redis")

_warned: set[type] = set()

__getattr__ = historic_names(__name__, imported(settings="django.conf.settings"))


class RedisSubscriber(RedisStore):
    """Decides to which channels one websocket subscribes and publishes; made for each websocket.

    Set ``WS4REDIS_SUBSCRIBER`` to a subclass to change that. The loop calls ``set_pubsub_channels`` before the upgrade,
    ``publish_message`` for each message of the client, and ``release`` at the end. What Redis publishes, the loop reads
    itself, once for all clients, unless a subclass overrides ``parse_response`` or ``get_file_descriptor``: then each
    object has a Redis connection.
    """

    subscription_channels = ["subscribe-session", "subscribe-group", "subscribe-user", "subscribe-broadcast"]  # noqa: RUF012
    publish_channels = ["publish-session", "publish-group", "publish-user", "publish-broadcast"]  # noqa: RUF012

    # here, for a subclass may have an __init__() that was copied from django-websocket-redis
    _subscription: Any = None
    #: set by the endpoint where the client does not get its own messages back
    _echo_filter: EchoFilter | None = None
    _channel_request: ChannelRequest | None = None
    _groups_were_known = False
    _most_channels = our_settings.Options().max_channels

    def __init__(self, connection: Redis) -> None:
        super().__init__(connection)
        self._subscription = self._new_subscription()

    def set_pubsub_channels(self, request: HttpRequest, channels: Sequence[str]) -> None:
        """Find the channels for the URL's flags, such as ``subscribe-user``; the request is at hand only here."""
        asked = ChannelRequest(identity_once(request), facility_of(request.path_info), tuple(channels))
        if asked.depends_on_groups and self._pubsub is not None:
            # the loop does not read this subscriber's groups
            asked = asked._replace(identity=current_identity(request, self._connection))
        self._publishers.update(asked.channels("publish"))
        if names := asked.channels("subscribe"):
            self._subscribe(names)
        if asked.depends_on_groups and self._pubsub is None:
            self._channel_request = asked

    def send_persisted_messages(self, websocket: Any) -> None:
        """Send the last message of each channel (GET), in the order of subscription.

        The loop does this by itself, in one step with the subscription; it calls this method only where a subclass
        overrides it.
        """
        with redis_client.redis_errors():
            for name in list(self._subscription.channels):
                if message := self._connection.get(name):
                    websocket.send(message)

    #: the spelling before 0.5.1
    send_persited_messages = send_persisted_messages

    def get_file_descriptor(self) -> int | None:
        """The descriptor of this object's own Redis connection; None where it subscribes to nothing."""
        connection = self._own_subscription().connection
        return redis_client.socket_of(connection).fileno() if connection is not None else None

    def parse_response(self) -> Any:
        """Wait for the next reply of that connection: a list such as ``[b"message", channel, payload]``."""
        return self._own_subscription().parse_response()

    def has_more(self) -> bool:
        """Whether ``parse_response`` would return at once, whichever subscription it reads."""
        connections = [each.connection for each in vars(self).values() if isinstance(each, PubSub)]
        try:
            return any(each.can_read(timeout=0) for each in connections if each is not None)
        except RedisConnectionError:
            return True  # parse_response() reconnects, if the Redis client is set to, or raises

    def release(self) -> None:
        """The websocket is closed, or its request was rejected."""
        if (pubsub := self._pubsub) is not None:
            pubsub.reset()
            if pubsub.connection_pool is not self._connection.connection_pool:
                pubsub.connection_pool.disconnect()

    # for the server and the loop

    def limit_channels(self, most: int) -> None:
        """Set the number of channels that are allowed (``WS4REDIS_MAX_CHANNELS``)."""
        self._most_channels = most
        if self._subscription is not None and self._pubsub is None:
            self._subscription.most = most

    def hand_over(self, request: HttpRequest, flags: Sequence[str]) -> None:
        """Let the loop subscribe to what ``set_pubsub_channels`` has chosen.

        That of django-websocket-redis subscribed on a ``PubSub`` of its own, and so do its copies.

        Raises:
            UpgradeRefused: 403, there are more channels than ``WS4REDIS_MAX_CHANNELS``.
        """
        if self._subscription is None:
            self._subscription = self._new_subscription()
        if (pubsub := self._pubsub) is None:
            return
        check_number(len(pubsub.channels) + len(pubsub.patterns), self._most_channels)
        if self.reads_itself():
            return
        _warn_of_own_pubsub(type(self))
        if not self._needs(pubsub):
            self._subscription = ChannelSet(self._most_channels)
            left = pubsub.pending_unsubscribe_channels
            self._subscription.subscribe(*(name for name in pubsub.channels if name not in left))
            pubsub.reset()
            self._follow_groups(request, flags)

    @property
    def has_own_source(self) -> bool:
        """True where this object reads from Redis itself, False where the loop does that for it."""
        return self.reads_itself() or self._pubsub is not None

    @classmethod
    def reads_itself(cls) -> bool:
        return (
            cls.get_file_descriptor is not RedisSubscriber.get_file_descriptor
            or cls.parse_response is not RedisSubscriber.parse_response
        )

    @classmethod
    def sender_of_persisted(cls) -> str | None:
        """The method by which a subclass sends last messages itself, under either name."""
        names = ("send_persisted_messages", "send_persited_messages")
        return next((name for name in names if getattr(cls, name) is not RedisSubscriber.send_persisted_messages), None)

    def follow_with(self, connection: Subscribing | None) -> None:
        """Let the connection subscribe to the channels, and follow each change of them; None ends that."""
        if self._pubsub is None:
            self._subscription.connection = connection
            if connection is not None and self._subscription.names:
                connection.subscribe(*self._subscription.names)

    def receives_own_messages(self) -> bool:
        """True where what the client publishes comes back to it."""
        subscribed = self._subscription.channels
        return any(name.encode() in subscribed for name in self._publishers)

    def may_receive_own_messages(self) -> bool:
        """The same, now or later."""
        if type(self) is not RedisSubscriber:
            return True
        asked = self._channel_request
        return self.receives_own_messages() or (
            asked is not None and any(flag in self.publish_channels for flag in asked.flags)
        )

    @property
    def groups_channel(self) -> bytes | None:
        """The channel of changes of the user's groups; None where they do not matter."""
        asked = self._channel_request
        return groups_channel(asked.identity.username).encode() if asked is not None else None

    @property
    def groups_keys(self) -> tuple[bytes, ...]:
        """The keys that tell in which groups the user is now."""
        if self._channel_request is None:
            return ()
        stamp, update = groups_keys(self._channel_request.identity.username)
        return stamp.encode(), update.encode()

    @property
    def _identity(self) -> Identity:
        """The client's identity; empty where it does not matter after the upgrade."""
        return self._channel_request.identity if self._channel_request is not None else Identity()

    def restore_groups(self, stamp: bytes | None, update: bytes | None) -> bool:
        """Take the groups that Redis has stored; returns False where only the database knows them.

        Then the user is in none until an update comes. A user whose updates were all received until now stays in the
        same groups, unless Redis has lost its data since.
        """
        identity = with_kept_groups(self._identity, stamp, update)
        if identity is None and not (self._groups_were_known and is_of_the_epoch(self._identity, stamp)):
            self._change_identity(self._identity._replace(groups=(), groups_at=""))
        elif identity is not None:
            self._groups_were_known = True
            self._change_identity(identity)
        return identity is not None

    def groups_changed(self, update: bytes | None) -> bool:
        """Follow a change of the user's groups; True where it is known in which groups the user is."""
        self._change_identity(with_newer_groups(self._identity, update))
        self._groups_were_known = bool(self._identity.groups_at)
        return self._groups_were_known

    # inside

    @property
    def _pubsub(self) -> PubSub | None:
        """Reads from Redis for this client alone; None where the loop does."""
        return self._subscription if isinstance(self._subscription, PubSub) else None

    def _change_identity(self, identity: Identity) -> None:
        before = self._channel_request
        if before is None or self._pubsub is not None:
            return
        after = self._channel_request = before._replace(identity=identity)
        if identity.groups == before.identity.groups:
            return
        names = [name.decode() for name in self._subscription.names]
        # a new set, for other threads may be looking at the old one
        self._publishers = {*_moved(self._publishers, before, after, "publish")}
        self._subscription.replace(name.encode() for name in _moved(names, before, after, "subscribe"))

    def _new_subscription(self) -> ChannelSet | PubSub:
        return redis_client.own_pubsub(self._connection) if self.reads_itself() else ChannelSet(self._most_channels)

    def _needs(self, pubsub: PubSub) -> bool:
        """Whether the loop cannot replace it: it has patterns, or another attribute refers to it."""
        return bool(pubsub.patterns) or sum(each is pubsub for each in vars(self).values()) > 1

    def _follow_groups(self, request: HttpRequest, flags: Sequence[str]) -> None:
        """Follow changes of groups, if the channels are those that ``RedisSubscriber`` would have found."""
        asked = ChannelRequest(identity_once(request), facility_of(request.path_info), tuple(flags))
        subscribed = {name.encode() for name in asked.channels("subscribe")}
        published = set(asked.channels("publish"))
        if asked.depends_on_groups and subscribed <= {*self._subscription.channels} and published <= self._publishers:
            self._channel_request = asked

    def _subscribe(self, names: list[str]) -> None:
        if self._subscription is None:
            self._subscription = self._new_subscription()
        if self._pubsub is None:
            self._subscription.subscribe(*names)
            return
        check_number(len(names), self._most_channels)
        with redis_client.redis_errors():
            self._subscription.subscribe(*names)

    def _own_subscription(self) -> PubSub:
        """For code that reads by itself, without any loop."""
        if self._pubsub is None:
            names = self._subscription.names if self._subscription is not None else ()
            self._subscription = redis_client.own_pubsub(self._connection)
            if names:
                with redis_client.redis_errors():
                    self._subscription.subscribe(*names)
        return self._subscription

    def _send(self, payload: RedisMessage, expire: int | None) -> dict[str, int]:
        """As ``RedisStore``; remembers what will come back to this client."""
        echo_filter = self._echo_filter
        if echo_filter is None:
            return super()._send(payload, expire)
        subscribed = self._subscription.channels
        returning = [name for name in map(str.encode, self._publishers) if name in subscribed]
        if not returning:
            return super()._send(payload, expire)
        sent = Sent()
        for name in returning:
            echo_filter.expect(name, payload, sent)
        try:
            counts = super()._send(payload, expire)
        except BaseException:
            echo_filter.published(sent, sure=False)
            raise
        for name in returning:
            if not counts.get(name.decode()):
                echo_filter.forget(name, payload, sent)
        echo_filter.published(sent)
        return counts


#: our own, for a site may assign another to the class
_SET_PUBSUB_CHANNELS = RedisSubscriber.set_pubsub_channels


def decides_nothing(subscriber: Any) -> bool:
    """Whether neither this class nor a hook of the settings is code of the site that checks permissions."""
    return (
        our_settings.WS4REDIS_PROCESS_REQUEST is None
        and our_settings.WS4REDIS_ALLOWED_CHANNELS is None
        and subscriber is RedisSubscriber
        and RedisSubscriber.set_pubsub_channels is _SET_PUBSUB_CHANNELS
    )


def _moved(names: Iterable[str], before: ChannelRequest, after: ChannelRequest, direction: str) -> list[str]:
    """The channels after a change; what a subclass has added stays."""
    old = before.channels(direction)
    return [*after.channels(direction), *(name for name in names if name not in old)]


def completed(store: type[RedisStore]) -> type[RedisSubscriber]:
    """A subscriber's class from one that extends ``RedisStore``, with our methods for those that it lacks."""
    return type(store.__name__, (store, RedisSubscriber), {"__module__": store.__module__})


def _warn_of_own_pubsub(kind: type) -> None:
    """Once for each class."""
    if kind not in _warned:
        _warned.add(kind)
        logger.warning(
            "%s.%s.set_pubsub_channels() opens a Redis connection for each websocket: call "
            "super().set_pubsub_channels(request, channels) instead of self._connection.pubsub(), then "
            "self._subscription.subscribe() for further channels",
            kind.__module__,
            kind.__qualname__,
        )
