"""A consumer as the tutorial of Channels has it, without what would cost more: no session, no user, no URL patterns."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

from fanout import wire


class Consumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        query = parse_qs(self.scope["query_string"].decode())
        self.heard = query["hear"][0].split(",") if "hear" in query else []
        self.said = query["say"][0] if "say" in query else ""
        for group in self.heard:
            await self.channel_layer.group_add(group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for group in self.heard:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == wire.HEARTBEAT:
            await self.send(text_data=text_data)
        elif self.said:
            await self.channel_layer.group_send(self.said, {"type": "stress.message", "text": text_data})

    async def stress_message(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": Consumer.as_asgi()})
