"""A message that each process sends itself, the long way: who hears it knows that delivery works."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ws4redis.core.publication import Batch

if TYPE_CHECKING:
    from ws4redis.broker.pubsub import PubSub

#: ticks without a sign of life: delivery counts as broken; the subscription is begun again
_LATE = 3
_LOST = 5


class Canary:
    """A member of the hub.

    A connection that breaks somewhere on its way would be silent for ever, and so would a Redis that hangs. Where much
    is said the canary waits in line; so whatever is received counts, and so does each step of a long fan-out, during
    which nothing is.
    """

    direct = echo_filter = None
    control = False

    def __init__(self, prefix: str) -> None:
        self.channel = f"{prefix}ws4redis:canary:{secrets.token_hex(8)}".encode()
        #: ticks without a sign of life; None before it was heard for the first time
        self.silent: int | None = None

    @property
    def healthy(self) -> bool:
        return self.silent is not None and self.silent < _LATE

    def deliver(self, batches: Sequence[Batch]) -> None:
        self.silent = 0

    def failed(self) -> None:
        """It sings again in a second."""

    def tick(self, pubsub: PubSub) -> None:
        """A second has gone by."""
        silent = pubsub.silent
        if self.silent is not None:
            self.silent = silent
        if silent and silent % (_LOST + 1) == 0:
            pubsub.reconnect()
        elif not pubsub.pauses:
            self.release(pubsub)

    def release(self, pubsub: PubSub) -> None:
        pubsub.publish(self.channel, b"")
