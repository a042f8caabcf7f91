"""What happens on a websocket."""

from __future__ import annotations

import logging
from collections.abc import Callable

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ws4redis.hearing import Follower, OwnMessages
from ws4redis.lookups import Lookups
from ws4redis.loop.tally import tally
from ws4redis.redis_store import RedisMessage
from ws4redis.subscriber import RedisSubscriber
from ws4redis.websocket import WebSocket

logger = logging.getLogger("django.request")

#: A browser's message is kept up to so many times the bytes that it has sent for it, and for all before it; its
#: handshake counts with less than the shortest has. Text is seldom compressed to less than a tenth.
_KEPT_FOR_EACH_BYTE = 10
_HANDSHAKE_BYTES = 100


class ChannelView:
    """Sends the subscribed channels to the browser, and publishes what it says to its ``publish-*`` channels.

    Args:
        echo: the browser's own messages come back to it, too.
        lookups: who asks the database for groups.
    """

    __slots__ = (
        "_lookups",
        "_subscriber",
        "bytes_received",
        "groups_channel",
        "own_messages",
        "seats",
        "send_kept",
        "source",
    )

    def __init__(self, subscriber: RedisSubscriber, echo: bool, lookups: Lookups) -> None:
        self._subscriber = subscriber
        self._lookups = lookups
        subscriber._spares_others = True
        self.bytes_received = 0
        self.seats: tuple[str, ...] = ()
        self.groups_channel = subscriber.groups_channel
        self.source = subscriber.source
        sender = subscriber.sender_of_persisted() or ("send_persisted_messages" if self.source else None)
        self.send_kept: Callable[[WebSocket], None] | None = getattr(subscriber, sender) if sender else None
        self.own_messages: OwnMessages | None = None
        if not echo and subscriber.may_hear_itself():
            self.own_messages = subscriber._own_messages = OwnMessages()

    @property
    def channels(self) -> tuple[bytes, ...]:
        return self._subscriber.channels_heard

    @property
    def groups_keys(self) -> tuple[bytes, ...]:
        return self._subscriber.groups_keys

    def settle_groups(self, stamp: bytes | None, update: bytes | None) -> bool:
        settled = self._subscriber.settle_groups(stamp, update)
        if not settled:
            self._lookups.ask(self._subscriber._identity)
        return settled

    def regroup(self, update: bytes | None) -> bool:
        return self._subscriber.regroup(update)

    def set_listener(self, listener: Follower | None) -> None:
        self._subscriber.set_listener(listener)

    def on_message(self, message: str | bytes) -> None:
        payload = RedisMessage(message)
        if payload is None:
            return
        may_be_kept = len(payload) <= _KEPT_FOR_EACH_BYTE * (_HANDSHAKE_BYTES + self.bytes_received)
        if not may_be_kept:
            tally["not kept: compressed too well"] += 1
        self._subscriber._may_be_kept = may_be_kept
        self._subscriber.publish_message(payload)

    def on_close(self) -> None:
        try:
            self._subscriber.release()
        except (RedisConnectionError, RedisTimeoutError) as error:
            # what it would give back, the loss of Redis has ended
            logger.info("a subscriber's release() could not reach Redis: %s", error)
