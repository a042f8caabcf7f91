"""The endpoint that the URL's flags describe: the client gets some channels, and publishes to some."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ws4redis.auth.lookups import Lookups
from ws4redis.core.echo import EchoFilter
from ws4redis.core.metrics import counters
from ws4redis.exceptions import REDIS_AWAY
from ws4redis.loop.endpoint import Connection, Endpoint
from ws4redis.redis_store import RedisMessage
from ws4redis.subscriber import RedisSubscriber

if TYPE_CHECKING:
    from ws4redis.websocket import WebSocket

logger = logging.getLogger("django.request")

#: A client's message is stored up to this multiple of the bytes that the client has sent until now; its handshake
#: counts with less than the shortest has. Text is seldom compressed to less than a tenth.
_KEPT_FOR_EACH_BYTE = 10
_HANDSHAKE_BYTES = 100


class ChannelEndpoint(Endpoint):
    """Delivers the subscriber's channels to the client, and publishes its messages to the ``publish-*`` channels.

    Args:
        echo: True sends the client its own messages, too.
    """

    __slots__ = ("_connection", "_echo_filter", "_lookups", "_subscriber", "send_first")

    def __init__(self, subscriber: RedisSubscriber, echo: bool, lookups: Lookups) -> None:
        self._subscriber = subscriber
        self._lookups = lookups
        self._connection: Connection | None = None
        subscriber._spares_others = True
        sender = subscriber.sender_of_persisted()
        self.send_first: Callable[[WebSocket], None] | None = getattr(subscriber, sender) if sender else None
        self._echo_filter: EchoFilter | None = None
        if not echo and subscriber.may_receive_own_messages():
            self._echo_filter = subscriber._echo_filter = EchoFilter()

    def on_open(self, connection: Connection) -> None:
        self._connection = connection
        if self._echo_filter is not None:
            connection.filter_echo(self._echo_filter)
        subscriber = self._subscriber
        if subscriber.groups_channel is not None:
            keys = subscriber.groups_keys
            connection.subscribe_control(
                subscriber.groups_channel, subscriber.groups_changed, keys, self._restore_groups
            )
        subscriber.follow_with(connection)

    def on_message(self, message: Any) -> None:
        payload = RedisMessage(message)
        if payload is None:
            return
        assert self._connection is not None
        may_be_kept = len(payload) <= _KEPT_FOR_EACH_BYTE * (_HANDSHAKE_BYTES + self._connection.bytes_received)
        if not may_be_kept:
            counters["not kept: compressed too well"] += 1
        self._subscriber._may_be_kept = may_be_kept
        self._subscriber.publish_message(payload)

    def on_close(self, code: int, reason: str) -> None:
        self._connection = None
        self._subscriber.follow_with(None)
        try:
            self._subscriber.release()
        except REDIS_AWAY as error:
            # redis-py may have connected and subscribed again before it failed, if Redis is back
            RedisSubscriber.release(self._subscriber)
            logger.info("release() of a subscriber could not reach Redis: %s", error)

    def _restore_groups(self, stamp: bytes | None, update: bytes | None) -> bool:
        known = self._subscriber.restore_groups(stamp, update)
        if not known:
            self._lookups.ask(self._subscriber._identity)
        return known
