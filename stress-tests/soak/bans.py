"""Takes visitors out of their groups, and lets them in again."""

from __future__ import annotations

import asyncio
import time

from soak.ledger import Ledger, Membership
from soak.promises import Failed
from soak.publisher import Publisher
from soak.schedule import Ban, Burst
from soak.visitors import Crowd

#: until what Redis did not take is tried again
_AGAIN_SECONDS = 0.2
#: after what all loops have heard, they have also subscribed
_SUBSCRIBED_SECONDS = 2.0
_PATIENCE_SECONDS = 90.0


class Bans:
    def __init__(self, ledger: Ledger, publisher: Publisher, crowd: Crowd) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._crowd = crowd

    async def inflict(self, ban: Ban) -> None:
        visitor = self._crowd.visitors[ban.visitor]
        membership, burst = visitor.membership, Burst("group", visitor.group, ban.messages, 0)
        async with visitor.banning:
            self._ledger.counts["bans" if ban.away else "bans that are lifted at once"] += 1
            while (change := await self._publisher.ban(membership, burst, come_back=not ban.away)) is None:
                await asyncio.sleep(_AGAIN_SECONDS)
            await asyncio.sleep(ban.away)
            await self._let_in(membership, None if ban.away else change)
            # who hears it, is let in
            await self._publisher.publish(burst)

    async def _let_in(self, membership: Membership, change: int | None) -> None:
        """Told until all loops have heard it: Redis may have lost it on the way."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            if change is None:
                change = await self._publisher.admit(membership)
            if change is not None and await self._is_heard(membership, change):
                membership.joined()
                return
            change = None
            await asyncio.sleep(_AGAIN_SECONDS)
        raise Failed(f"{membership.user} could not be let in again")

    async def _is_heard(self, membership: Membership, change: int) -> bool:
        taken = membership.changes.ends[change]
        while self._ledger.confirmed < taken + _SUBSCRIBED_SECONDS:
            if self._ledger.excuses(membership.changes, change):
                return False
            await asyncio.sleep(_AGAIN_SECONDS)
        return True
