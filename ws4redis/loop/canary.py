"""A message that each process sends itself, the long way: who hears it knows that delivery works."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ws4redis.publication import Bundle

if TYPE_CHECKING:
    from ws4redis.loop.pubsub import PubSub

#: ticks without it: delivery counts as broken; the subscription is begun again
_LATE = 3
_LOST = 5


class Canary:
    """A member of the hub.

    A connection that breaks somewhere on its way would be silent for ever, and so would a Redis that hangs.
    """

    direct = own = None

    def __init__(self, prefix: str) -> None:
        self.channel = f"{prefix}ws4redis:canary:{secrets.token_hex(8)}".encode()
        #: ticks since it was heard; None before the first time
        self.silent: int | None = None
        self._waiting = 0

    @property
    def healthy(self) -> bool:
        return self.silent is not None and self.silent < _LATE

    def deliver(self, bundles: Sequence[Bundle]) -> None:
        self.silent = self._waiting = 0

    def tick(self, pubsub: PubSub) -> None:
        """A second has gone by."""
        if self.silent is not None:
            self.silent += 1
        self._waiting += 1
        if self._waiting > _LOST:
            self._waiting = 0
            pubsub.give_up()
        else:
            self.release(pubsub)

    def release(self, pubsub: PubSub) -> None:
        pubsub.publish(self.channel, b"")
