"""Publishes with ``RedisPublisher``, in a thread, one message after the other."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from soak.ledger import Channel, Ledger, Membership
from soak.schedule import Burst
from soak.site.visitors import User
from soak.visitors import channel_name
from ws4redis.auth.groups import update_groups
from ws4redis.exceptions import RedisUnavailable
from ws4redis.publisher import RedisPublisher

#: who comes back faster has not been away
_AT_ONCE_SECONDS = 0.25

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

    async def ban(self, membership: Membership, burst: Burst, come_back: bool) -> int | None:
        """Publish to the group, let the user leave it (and come back at once), and publish again.

        Returns the number of the last change; None where Redis has not taken it.
        """
        work = (self._ban, membership, burst, come_back, time.monotonic())
        return await asyncio.get_running_loop().run_in_executor(self._thread, *work)

    async def admit(self, membership: Membership) -> int | None:
        """Let the user in again. Returns the number of the change; None where Redis has not taken it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._admit, membership)

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

    def _ban(self, membership: Membership, burst: Burst, come_back: bool, asked: float) -> int | None:
        self._publish(burst, asked)
        begin = time.monotonic()
        membership.leaving()
        change = self._tell(membership, [])
        if change is None:
            return None
        membership.left(change)
        if come_back:
            membership.joining()
            change = self._tell(membership, [membership.group_name])
            if change is None or time.monotonic() > begin + _AT_ONCE_SECONDS:
                membership.begins_stay()
        self._publish(burst, asked)
        return change

    def _admit(self, membership: Membership) -> int | None:
        if not membership.member:
            membership.joining()
            membership.begins_stay()
        return self._tell(membership, [membership.group_name])

    def _tell(self, membership: Membership, groups: list[str]) -> int | None:
        number = membership.changes.begin(time.monotonic())
        try:
            update_groups(User(membership.user), groups)
        except RedisUnavailable:
            membership.changes.failed(number)
            return None
        membership.changes.taken(number, time.monotonic())
        return number


def _publisher_of(channel: Channel) -> RedisPublisher:
    audience, *names, facility = channel.name.split(":")
    addressed: dict[str, Any] = {"broadcast": True} if audience == "broadcast" else {f"{audience}s": names}
    return RedisPublisher(facility=facility, **addressed)
