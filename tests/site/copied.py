"""Subscribers with bodies of django-websocket-redis 0.6, as projects have copied them: its calls, no ``super()``."""

import socket
import time

from django.conf import settings

from ws4redis.redis_store import SELF, RedisStore
from ws4redis.subscriber import RedisSubscriber


class CopiedChannels:
    def set_pubsub_channels(self, request, channels):
        self._publishers = set()
        for name in self.names(request, channels, "publish"):
            self._publishers.add(name)
        self._subscription = self._connection.pubsub()
        for name in self.names(request, channels, "subscribe"):
            self._subscription.subscribe(name)

    def names(self, request, channels, direction):
        return self._get_message_channels(
            request=request,
            facility=request.path_info.replace(settings.WEBSOCKET_URL, "", 1),
            users=[SELF] if f"{direction}-user" in channels else [],
            groups=[SELF] if f"{direction}-group" in channels else [],
            sessions=[SELF] if f"{direction}-session" in channels else [],
            broadcast=f"{direction}-broadcast" in channels,
        )


class CopiedRelease:
    def release(self):
        if self._subscription and self._subscription.subscribed:
            self._subscription.unsubscribe()
            self._subscription.reset()


class CopiedReading:
    def parse_response(self):
        return self._subscription.parse_response()

    def get_file_descriptor(self):
        return self._subscription.connection and self._subscription.connection._sock.fileno()


class CopiedPersisted:
    def send_persisted_messages(self, websocket):
        for name in self._subscription.channels:
            message = self._connection.get(name)
            if message:
                websocket.send(message)


class CopiedSubscriber(CopiedChannels, CopiedRelease, RedisSubscriber):
    pass


class ChannelsSubscriber(CopiedChannels, RedisSubscriber):
    """The rest is ours."""


class ReleaseSubscriber(CopiedRelease, RedisSubscriber):
    """The rest is ours."""


class PersistedSubscriber(CopiedPersisted, CopiedSubscriber):
    pass


class RoomsSubscriber(CopiedSubscriber):
    """Changes its channels later."""

    def publish_message(self, message, expire=None):
        command, _, room = message.decode().partition(" ")
        if command == "/join":
            self._subscription.subscribe(f"broadcast:{room}")
        elif command == "/leave":
            self._subscription.unsubscribe(f"broadcast:{room}")
        elif command == "/leave-all":
            self._subscription.unsubscribe()
        else:
            super().publish_message(message, expire)


class KeepingSubscriber(CopiedSubscriber):
    """Has the subscription at hand under another name, too, by which it changes its channels later."""

    def set_pubsub_channels(self, request, channels):
        super().set_pubsub_channels(request, channels)
        self.pubsub = self._subscription

    def publish_message(self, message, expire=None):
        if message.startswith(b"/join "):
            self.pubsub.subscribe(b"broadcast:" + message[6:])
        else:
            super().publish_message(message, expire)


class BusySubscriber(KeepingSubscriber):
    """Looks for more for a while, and takes its time to release: redis-py connects again where both meet."""

    def has_more(self):
        return any(super(BusySubscriber, self).has_more() for _ in _for_half_a_second())

    def release(self):
        connection = self._subscription.connection
        deregister = connection.deregister_connect_callback
        connection.deregister_connect_callback = lambda callback: (time.sleep(0.2), deregister(callback))
        super().release()


class CutSubscriber(KeepingSubscriber):
    """Its connection breaks as it is released, and it stays in memory, as what has failed may."""

    failed = []  # noqa: RUF012

    def release(self):
        self.failed.append(self)
        self._subscription.connection._sock.shutdown(socket.SHUT_RDWR)
        super().release()


def _for_half_a_second():
    for _ in range(50):
        yield
        time.sleep(0.01)


class PatternSubscriber(CopiedSubscriber):
    def set_pubsub_channels(self, request, channels):
        super().set_pubsub_channels(request, channels)
        self._subscription.psubscribe("nobody:*")


class Store(CopiedChannels, RedisStore):
    """What it lacks is ours."""


class WholeStore(CopiedChannels, CopiedRelease, CopiedReading, CopiedPersisted, RedisStore):
    subscription_channels = [*RedisSubscriber.subscription_channels]  # noqa: RUF012
    publish_channels = [*RedisSubscriber.publish_channels]  # noqa: RUF012

    def __init__(self, connection):
        self._subscription = None
        RedisStore.__init__(self, connection)
