"""Each process publishes to itself once a second; if the message does not come back, delivery is broken."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ws4redis.core.publication import Batch

if TYPE_CHECKING:
    from ws4redis.broker.pubsub import PubSub

#: ticks of silence: after the first delivery counts as broken, after the second a reconnect follows
_LATE = 3
_LOST = 5


class Probe:
    """A member of the hub.

    A connection that breaks somewhere on its way is silent, and so is a Redis that hangs. Where much is published the
    probe waits in line; so anything that is received counts, and so does each step of a long fan-out, during which
    nothing is read.
    """

    direct = echo_filter = None
    control = False

    def __init__(self, prefix: str) -> None:
        self.channel = f"{prefix}ws4redis:canary:{secrets.token_hex(8)}".encode()
        #: ticks of silence; None before the probe was received for the first time
        self.silent: int | None = None

    @property
    def healthy(self) -> bool:
        return self.silent is not None and self.silent < _LATE

    def deliver(self, batches: Sequence[Batch]) -> None:
        self.silent = 0

    def failed(self) -> None:
        """The next one follows in a second."""

    def tick(self, pubsub: PubSub) -> None:
        """Called each second."""
        silent = pubsub.silent
        if self.silent is not None:
            self.silent = silent
        if silent and silent % (_LOST + 1) == 0:
            pubsub.reconnect()
        elif not pubsub.pauses:
            self.release(pubsub)

    def release(self, pubsub: PubSub) -> None:
        pubsub.publish(self.channel, b"")
