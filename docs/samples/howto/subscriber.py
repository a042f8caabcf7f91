"""Sample of the page "A subscriber of your own"."""

from ws4redis.subscriber import RedisSubscriber


class SigningSubscriber(RedisSubscriber):
    """Puts the sender's name before each message, which no browser can forge."""

    def set_pubsub_channels(self, request, channels):
        super().set_pubsub_channels(request, channels)
        self.name = request.user.get_username() or "somebody"

    def publish_message(self, message, expire=None):
        return super().publish_message(f"{self.name}: {message.decode(errors='replace')}", expire)

    def release(self):
        super().publish_message(f"{self.name} has left", expire=0)
