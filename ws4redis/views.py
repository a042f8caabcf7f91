"""What happens on a websocket."""

from __future__ import annotations

from ws4redis.redis_store import RedisMessage
from ws4redis.subscriber import OwnMessages, RedisSubscriber


class ChannelView:
    """Sends the subscribed channels to the browser, and publishes what it says to its ``publish-*`` channels.

    Args:
        echo: the browser's own messages come back to it, too.
    """

    __slots__ = ("_echo", "_subscriber", "channels", "groups_channel", "own_messages")

    def __init__(self, subscriber: RedisSubscriber, echo: bool) -> None:
        self._subscriber = subscriber
        self._echo = echo
        self.groups_channel = subscriber.groups_channel
        self.own_messages: OwnMessages | None = None
        self._take_channels()

    def regroup(self, update: bytes | None) -> None:
        if self._subscriber.regroup(update):
            self._take_channels()

    def on_message(self, message: str | bytes) -> None:
        payload = RedisMessage(message)
        if payload is not None:
            self._subscriber.publish_message(payload)

    def on_close(self) -> None:
        self._subscriber.release()

    def _take_channels(self) -> None:
        subscriber = self._subscriber
        self.channels = tuple(name.encode() for name in dict.fromkeys(subscriber._subscriptions))
        returning = not subscriber._publishers.isdisjoint(subscriber._subscriptions)
        if returning and not self._echo and self.own_messages is None:
            self.own_messages = subscriber._own_messages = OwnMessages()
