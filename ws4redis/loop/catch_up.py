"""What a client gets of a channel before the publications."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ws4redis.core.publication import Publication

if TYPE_CHECKING:
    from redis.exceptions import ResponseError

    from ws4redis.broker.pending import PendingReply
    from ws4redis.broker.pubsub import PubSub
    from ws4redis.core.publication import Batch

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


class Gap:
    """What a client does not get yet, while Redis is asked.

    Args:
        held: what was published since.
    """

    __slots__ = ("asked", "held", "missed", "pending")

    def __init__(self, held: list[Batch]) -> None:
        self.held = held
        #: the channels of each question, the replies that are to come, and what they have brought so far
        self.asked: list[dict[bytes, None]] = []
        self.pending: list[PendingReply] = []
        self.missed: list[Publication] = []

    def concerns(self, channel: bytes) -> bool:
        return any(channel in asked for asked in self.asked) or any(channel == each.channel for each in self.held)

    def forget(self, left: Collection[bytes]) -> None:
        self.held = [each for each in self.held if each.channel not in left]
        self.missed = [each for each in self.missed if each.channel not in left]
        for asked in self.asked:
            for channel in left:
                asked.pop(channel, None)


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
