"""Before: with Django Channels."""

from asgiref.sync import async_to_sync
from channels.generic.websocket import WebsocketConsumer
from channels.layers import get_channel_layer


class NewsConsumer(WebsocketConsumer):
    def connect(self):
        user = self.scope["user"]
        if not user.is_authenticated:
            self.close()
            return
        self.group = f"user-{user.pk}"
        async_to_sync(self.channel_layer.group_add)(self.group, self.channel_name)
        self.accept()

    def disconnect(self, code):
        if hasattr(self, "group"):
            async_to_sync(self.channel_layer.group_discard)(self.group, self.channel_name)

    def news_message(self, event):
        self.send(event["text"])


def tell(user, text):
    message = {"type": "news.message", "text": text}
    async_to_sync(get_channel_layer().group_send)(f"user-{user.pk}", message)
