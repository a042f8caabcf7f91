"""Publishes with ``RedisPublisher``, in a thread, one message after the other."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from soak.ledger import Channel, Ledger
from soak.schedule import Burst
from soak.visitors import channel_name
from ws4redis.exceptions import RedisUnavailable
from ws4redis.publisher import RedisPublisher

#: what had to wait longer, for Redis did not answer, is not published any more
_LATE_SECONDS = 1.0


class Publisher:
    def __init__(self, ledger: Ledger, sockets: int) -> None:
        self._ledger = ledger
        self._sockets = sockets
        self._thread = ThreadPoolExecutor(1)

    async def publish(self, burst: Burst) -> None:
        await self._begin(burst)

    def greet(self, visitor: int) -> None:
        """At once: it shows whether who is connected is subscribed."""
        self._begin(Burst("user", visitor, 1, 0))

    def _begin(self, burst: Burst) -> asyncio.Future[None]:
        return asyncio.get_running_loop().run_in_executor(self._thread, self._publish, burst, time.monotonic())

    def _publish(self, burst: Burst, asked: float) -> None:
        counts = self._ledger.counts
        channel = self._ledger.channel(channel_name(burst.audience, burst.number, self._sockets))
        if time.monotonic() > asked + _LATE_SECONDS:
            counts["messages held back, for Redis did not answer"] += burst.messages
            return
        publisher = _publisher_of(channel)
        for _ in range(burst.messages):
            number = channel.begin(time.monotonic())
            try:
                publisher.publish_message(f"{channel.name} {number} {'.' * burst.padding}")
            except RedisUnavailable:
                channel.failed(number)
                counts["messages that raised RedisUnavailable"] += 1
                return
            channel.taken(number, time.monotonic())
            counts["messages"] += 1


def _publisher_of(channel: Channel) -> RedisPublisher:
    audience, *names, facility = channel.name.split(":")
    addressed: dict[str, Any] = {"broadcast": True} if audience == "broadcast" else {f"{audience}s": names}
    return RedisPublisher(facility=facility, **addressed)
