"""What one browser may hear and say."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpRequest
from redis import Redis
from redis.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError

from ws4redis import redis_client
from ws4redis import settings as our_settings
from ws4redis.channels import Standing, facility_of, groups_channel, groups_keys, identity_once
from ws4redis.core.identity import Identity
from ws4redis.groups import current_identity, is_of_the_epoch, with_kept_groups, with_newer_groups
from ws4redis.hearing import Follower, OwnMessages, Said, Subscriptions, check_number
from ws4redis.historic import historic_names, imported
from ws4redis.redis_store import SELF, RedisMessage, RedisStore

__all__ = ["SELF", "RedisStore", "RedisSubscriber"]

logger = logging.getLogger("ws4redis")

_warned: set[type] = set()

__getattr__ = historic_names(__name__, imported(settings="django.conf.settings"))


class RedisSubscriber(RedisStore):
    """Decides to which channels one websocket listens and publishes; made for each websocket.

    Set ``WS4REDIS_SUBSCRIBER`` to a subclass to change that. The loop calls ``set_pubsub_channels`` before the upgrade,
    ``publish_message`` for each message of the browser, and ``release`` when it is gone. What Redis publishes, the loop
    reads itself, once for all browsers, unless a subclass overrides ``parse_response`` or ``get_file_descriptor``: its
    objects have a Redis connection each.
    """

    subscription_channels = ["subscribe-session", "subscribe-group", "subscribe-user", "subscribe-broadcast"]  # noqa: RUF012
    publish_channels = ["publish-session", "publish-group", "publish-user", "publish-broadcast"]  # noqa: RUF012

    # here, for a subclass may have an __init__() that was copied from django-websocket-redis
    _subscription: Subscriptions | PubSub = None
    #: set by the loop where the browser shall not get its own messages back
    _own_messages: OwnMessages | None = None
    _standing: Standing | None = None
    _groups_were_known = False

    def __init__(self, connection: Redis) -> None:
        super().__init__(connection)
        self._subscription = self._new_subscription()

    def set_pubsub_channels(self, request: HttpRequest, channels: Sequence[str]) -> None:
        """Find the channels for the URL's flags, such as ``subscribe-user``; the request is at hand only here."""
        standing = Standing(identity_once(request), facility_of(request.path_info), tuple(channels))
        if standing.depends_on_groups and isinstance(self._subscription, PubSub):
            # the loop will not ask on its behalf
            standing = standing._replace(identity=current_identity(request, self._connection))
        self._publishers.update(standing.channels("publish"))
        if heard := standing.channels("subscribe"):
            self._subscribe(heard)
        if standing.depends_on_groups and isinstance(self._subscription, Subscriptions):
            self._standing = standing

    def send_persisted_messages(self, websocket: Any) -> None:
        """Send the last message of each channel (GET), in the order of subscription.

        The loop does this by itself, in one step with the subscription; it calls this method only where a subclass
        overrides it.
        """
        with redis_client.redis_errors():
            for name in list(self._subscription.channels):
                if message := self._connection.get(name):
                    websocket.send(message)

    #: as it was spelt before 0.5.1
    send_persited_messages = send_persisted_messages

    def get_file_descriptor(self) -> int | None:
        """The descriptor of a Redis connection of this object's own; None where it subscribes to nothing."""
        connection = self._own_subscription().connection
        return connection._sock.fileno() if connection is not None else None

    def parse_response(self) -> Any:
        """Wait for the next reply of that connection: a list such as ``[b"message", channel, payload]``."""
        return self._own_subscription().parse_response()

    def has_more(self) -> bool:
        """Whether ``parse_response`` would return at once, whichever subscription it reads."""
        connections = [each.connection for each in vars(self).values() if isinstance(each, PubSub)]
        try:
            return any(each.can_read(timeout=0) for each in connections if each is not None)
        except RedisConnectionError:
            return True  # parse_response() connects again, where the client is told to, or raises

    def release(self) -> None:
        """The browser is gone; also called where it never came."""
        if isinstance(self._subscription, PubSub):
            self._subscription.reset()
            if self._subscription.connection_pool is not self._connection.connection_pool:
                self._subscription.connection_pool.disconnect()

    # for the loop

    def hand_over(self, request: HttpRequest, flags: Sequence[str]) -> None:
        """Let the loop listen to what ``set_pubsub_channels`` has subscribed to.

        That of django-websocket-redis subscribed on a ``PubSub`` of its own, and so do its copies.

        Raises:
            UpgradeRefused: 403, there are more channels than ``WS4REDIS_MAX_CHANNELS``.
        """
        if self._subscription is None:
            self._subscription = self._new_subscription()
        if not isinstance(self._subscription, PubSub):
            return
        pubsub = self._subscription
        check_number(len(pubsub.channels) + len(pubsub.patterns))
        if self.reads_itself():
            return
        _warn_of_own_pubsub(type(self))
        if not self._needs(pubsub):
            self._subscription = Subscriptions()
            self._subscription.subscribe(
                *(name for name in pubsub.channels if name not in pubsub.pending_unsubscribe_channels)
            )
            pubsub.reset()
            self._follow_groups(request, flags)

    @property
    def source(self) -> RedisSubscriber | None:
        """This object where it reads from Redis itself; None where the loop does that for it."""
        return self if self.reads_itself() or isinstance(self._subscription, PubSub) else None

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

    def set_listener(self, listener: Follower | None) -> None:
        if isinstance(self._subscription, Subscriptions):
            self._subscription.listener = listener

    def hears_itself(self) -> bool:
        """Whether what the browser publishes comes back to it."""
        heard = self._subscription.channels
        return any(name.encode() in heard for name in self._publishers)

    def may_hear_itself(self) -> bool:
        """The same, now or later."""
        if type(self) is not RedisSubscriber:
            return True
        publishes = self._standing is not None and any(flag in self.publish_channels for flag in self._standing.flags)
        return publishes or self.hears_itself()

    @property
    def channels_heard(self) -> tuple[bytes, ...]:
        """What the loop listens to for this browser."""
        return self._subscription.names if isinstance(self._subscription, Subscriptions) else ()

    @property
    def groups_channel(self) -> bytes | None:
        """Where changes of the user's groups are told; None where they do not matter."""
        return groups_channel(self._standing.identity.username).encode() if self._standing is not None else None

    @property
    def groups_keys(self) -> tuple[bytes, ...]:
        """The keys that tell in which groups the user is now."""
        if self._standing is None:
            return ()
        stamp, update = groups_keys(self._standing.identity.username)
        return stamp.encode(), update.encode()

    @property
    def _identity(self) -> Identity:
        """Whom the websocket stands for; nobody where that does not matter after the upgrade."""
        return self._standing.identity if self._standing is not None else Identity()

    def settle_groups(self, stamp: bytes | None, update: bytes | None) -> bool:
        """Be in the groups that Redis has kept; False where only the database knows them.

        Then the user is in none until an update tells. Whoever has heard all updates until now, and may have missed
        one but for no loss of Redis' data, stays where they are.
        """
        identity = with_kept_groups(self._identity, stamp, update)
        if identity is None and not (self._groups_were_known and is_of_the_epoch(self._identity, stamp)):
            self._change_identity(self._identity._replace(groups=(), groups_at=""))
        elif identity is not None:
            self._groups_were_known = True
            self._change_identity(identity)
        return identity is not None

    def regroup(self, update: bytes | None) -> bool:
        """Follow a change of the user's groups; whether it is known in which they are."""
        self._change_identity(with_newer_groups(self._identity, update))
        self._groups_were_known = bool(self._identity.groups_at)
        return self._groups_were_known

    # inside

    def _change_identity(self, identity: Identity) -> None:
        before = self._standing
        if before is None or not isinstance(self._subscription, Subscriptions):
            return
        after = before._replace(identity=identity)
        if identity.groups == before.identity.groups:
            self._standing = after
            return
        heard = [name.decode() for name in self._subscription.names]
        names = [name.encode() for name in _moved(heard, before, after, "subscribe")]
        # a new set, for other threads may be looking at the old one
        self._publishers = {*_moved(self._publishers, before, after, "publish")}
        self._standing = after
        self._subscription.replace(names)

    def _new_subscription(self) -> Subscriptions | PubSub:
        return redis_client.own_pubsub(self._connection) if self.reads_itself() else Subscriptions()

    def _needs(self, pubsub: PubSub) -> bool:
        """Whether the loop cannot take its place: it has patterns, or is at hand under another name."""
        return bool(pubsub.patterns) or sum(each is pubsub for each in vars(self).values()) > 1

    def _follow_groups(self, request: HttpRequest, flags: Sequence[str]) -> None:
        """Where the channels of the groups are those that ``RedisSubscriber`` would have found."""
        standing = Standing(identity_once(request), facility_of(request.path_info), tuple(flags))
        subscribed = {name.encode() for name in standing.channels("subscribe")}
        published = set(standing.channels("publish"))
        if standing.depends_on_groups and subscribed <= {*self.channels_heard} and published <= self._publishers:
            self._standing = standing

    def _subscribe(self, names: list[str]) -> None:
        if self._subscription is None:
            self._subscription = self._new_subscription()
        if isinstance(self._subscription, Subscriptions):
            self._subscription.subscribe(*names)
            return
        check_number(len(names))
        with redis_client.redis_errors():
            self._subscription.subscribe(*names)

    def _own_subscription(self) -> PubSub:
        """Whoever drives this object himself needs no loop."""
        if not isinstance(self._subscription, PubSub):
            names = self._subscription.names if self._subscription is not None else ()
            self._subscription = redis_client.own_pubsub(self._connection)
            if names:
                with redis_client.redis_errors():
                    self._subscription.subscribe(*names)
        return self._subscription

    def _send(self, payload: RedisMessage, expire: int | None) -> dict[str, int]:
        """As ``RedisStore``; remembers what will come back to this very browser."""
        own = self._own_messages
        if own is None:
            return super()._send(payload, expire)
        heard = self._subscription.channels
        returning = [name for name in map(str.encode, self._publishers) if name in heard]
        if not returning:
            return super()._send(payload, expire)
        said = Said()
        for name in returning:
            own.expect(name, payload, said)
        try:
            counts = super()._send(payload, expire)
        except BaseException:
            own.published(said, sure=False)
            raise
        for name in returning:
            if not counts.get(name.decode()):
                own.forget(name, payload, said)
        own.published(said)
        return counts


#: kept aside: a site may assign another to this very class, too
_SET_PUBSUB_CHANNELS = RedisSubscriber.set_pubsub_channels


def decides_nothing(subscriber: Any) -> bool:
    """Whether neither this class nor a hook of the settings is code of the site that says who may do what."""
    return (
        our_settings.WS4REDIS_PROCESS_REQUEST is None
        and our_settings.WS4REDIS_ALLOWED_CHANNELS is None
        and subscriber is RedisSubscriber
        and RedisSubscriber.set_pubsub_channels is _SET_PUBSUB_CHANNELS
    )


def _moved(names: Iterable[str], before: Standing, after: Standing, direction: str) -> list[str]:
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
