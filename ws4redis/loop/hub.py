"""Who listens in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ws4redis.publication import Bundle, Publication

logger = logging.getLogger("ws4redis")

#: after so many members of a fan-out the others may run
_PAUSE_EVERY = 256


class Member(Protocol):
    def deliver(self, bundles: Sequence[Bundle]) -> None:
        """Send on, without waiting; a member that has left in the meantime must not mind."""


class Hub:
    """Channel -> members.

    Args:
        pause: lets other greenlets run in the middle of a long fan-out.
    """

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self._members: dict[bytes, set[Member]] = {}
        #: publications times members
        self.deliveries = 0

    @property
    def channels(self) -> list[bytes]:
        return list(self._members)

    def join(self, member: Member, channels: Iterable[bytes]) -> list[bytes]:
        """Returns the channels to which nobody had listened."""
        new = []
        for channel in channels:
            members = self._members.get(channel)
            if members is None:
                members = self._members[channel] = set()
                new.append(channel)
            members.add(member)
        return new

    def leave(self, member: Member, channels: Iterable[bytes]) -> list[bytes]:
        """Returns the channels to which nobody listens any more."""
        empty = []
        for channel in channels:
            members = self._members.get(channel)
            if members is None:
                continue
            members.discard(member)
            if not members:
                del self._members[channel]
                empty.append(channel)
        return empty

    def deliver(self, publications: Iterable[Publication]) -> None:
        """Give each member one buffer with all that the batch has for it; the order within a channel is kept."""
        by_channel: dict[bytes, list[Publication]] = {}
        for publication in publications:
            if publication.channel in self._members:
                by_channel.setdefault(publication.channel, []).append(publication)
        bundles = [(self._members[channel], Bundle(batch)) for channel, batch in by_channel.items()]
        self.deliveries += sum([len(members) * len(bundle.publications) for members, bundle in bundles])
        if len(bundles) == 1:
            members, bundle = bundles[0]
            self._fan_out([(member, (bundle,)) for member in members])
        elif bundles:
            mine: dict[Member, list[Bundle]] = {}
            for members, bundle in bundles:
                for member in members:
                    mine.setdefault(member, []).append(bundle)
            self._fan_out(list(mine.items()))

    def _fan_out(self, deliveries: Sequence[tuple[Member, Sequence[Bundle]]]) -> None:
        for start in range(0, len(deliveries), _PAUSE_EVERY):
            if start:
                self._pause()
            for member, bundles in deliveries[start : start + _PAUSE_EVERY]:
                try:
                    member.deliver(bundles)
                except Exception:
                    logger.exception("a delivery failed; the others go on")
