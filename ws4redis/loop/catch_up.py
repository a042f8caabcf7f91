"""What a client gets of a channel before the publications."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ws4redis.core.publication import Publication

if TYPE_CHECKING:
    from redis.exceptions import ResponseError

    from ws4redis.broker.pending import PendingReply
    from ws4redis.broker.pubsub import PubSub

logger = logging.getLogger("django.request")


class CatchUp(Protocol):
    """A strategy: one object for all clients."""

    def start(
        self, pubsub: PubSub, channels: Sequence[bytes], done: Callable[[Sequence[Publication]], None]
    ) -> Sequence[PendingReply]:
        """Ask Redis by ``pubsub.ask()``; must not block.

        Must call ``done`` once, with what is to be sent in this order, when the last of the returned commands was
        replied to; also where that reply is an error. What is published from the first command on is held back until
        then, and goes out after it; a message that is in both goes out once.
        """


class LastMessages:
    """The last message of each channel (MGET)."""

    def start(
        self, pubsub: PubSub, channels: Sequence[bytes], done: Callable[[Sequence[Publication]], None]
    ) -> Sequence[PendingReply]:
        def replied(values: Sequence[Any]) -> None:
            done([Publication(channel, value) for channel, value in zip(channels, values, strict=False) if value])

        def failed(error: ResponseError) -> None:
            pubsub.runtime.spawn(logger.error, "cannot read last messages: %s", error)
            done(())

        return [pubsub.ask(("MGET", *channels), replied, failed)]


LAST_MESSAGES = LastMessages()
