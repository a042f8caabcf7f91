"""Subscribers; ``settings`` names the first, ``wsgi_apps`` the others."""

from ws4redis.redis_store import RedisMessage
from ws4redis.subscriber import RedisSubscriber


class ChatSubscriber(RedisSubscriber):
    """Reacts to what is said."""

    def publish_message(self, message, expire=None):
        if message.startswith(b"/shout "):
            message = RedisMessage(message[7:].upper())
        elif message.startswith(b"/count "):
            self._connection.incr(self.get_prefix() + message[7:].decode())
            return
        super().publish_message(message, expire)


class TeamSubscriber(RedisSubscriber):
    """Has channels and flags of its own, and remembers who it is."""

    subscription_channels = [*RedisSubscriber.subscription_channels, "subscribe-team"]  # noqa: RUF012
    publish_channels = [*RedisSubscriber.publish_channels, "publish-team"]  # noqa: RUF012

    def set_pubsub_channels(self, request, channels):
        super().set_pubsub_channels(request, channels)
        self.user_id = request.user.id if request.user else None
        self._subscription.subscribe(self.get_prefix() + "announcements")
        self._publishers.add(self.get_prefix() + "archive")
        if "subscribe-team" in channels:
            self._subscription.subscribe(self.get_prefix() + "team")
        if "publish-team" in channels:
            self._publishers.add(self.get_prefix() + "team")

    def publish_message(self, message, expire=None):
        super().publish_message(RedisMessage(f"{self.user_id}: {message.decode()}"), expire)


class LeavingSubscriber(RedisSubscriber):
    """Tells the others when somebody leaves, and keeps a list."""

    name = None

    def set_pubsub_channels(self, request, channels):
        super().set_pubsub_channels(request, channels)
        self.name = request.user.get_username()
        self.room = request.path_info

    def release(self):
        if self.name:
            self.publish_message(RedisMessage(f"{self.name} has left"), expire=0)
            self._connection.rpush(self.get_prefix() + self.room, self.name)
        super().release()


class OnceSubscriber(RedisSubscriber):
    """What was kept is delivered to the first who comes; then a greeting."""

    def send_persisted_messages(self, websocket):
        super().send_persisted_messages(websocket)
        for channel in self._subscription.channels:
            self._connection.delete(channel)
        websocket.send("welcome")


class OldOnceSubscriber(RedisSubscriber):
    """The same for users only, under the name that the method had until 0.5.0."""

    def send_persited_messages(self, websocket):
        for channel in self._subscription.channels:
            message = self._connection.get(channel)
            if message:
                websocket.send(message)
                if b":user:" in channel:
                    self._connection.delete(channel)


class FilteringSubscriber(RedisSubscriber):
    """Drops and decorates what comes from Redis."""

    def parse_response(self):
        response = super().parse_response()
        if response[0] == b"message":
            if response[2].startswith(b"secret"):
                return None
            response[2] = response[2] + b" (checked)"
        return response


class PatternSubscriber(RedisSubscriber):
    """Listens to all rooms below a facility, on a connection of its own."""

    def set_pubsub_channels(self, request, channels):
        super().set_pubsub_channels(request, channels)
        self._rooms = self._connection.pubsub()
        self._rooms.psubscribe(self.get_prefix() + "broadcast:pattern/room/*")

    def get_file_descriptor(self):
        return self._rooms.connection._sock.fileno()

    def parse_response(self):
        response = self._rooms.parse_response()
        if response[0] == b"pmessage":
            return [b"message", response[2], response[3]]
        return response

    def release(self):
        self._rooms.close()
        super().release()
