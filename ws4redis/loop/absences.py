"""Channels just left: a client that comes back at once may have missed nothing, and has the last message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ws4redis.core.publication import Batch

if TYPE_CHECKING:
    from ws4redis.loop.hub import Hub

#: ticks
_AT_ONCE = 3


class Absence:
    """A member of the hub that stays on a channel which clients have left, and counts what they miss."""

    direct = echo_filter = None
    control = False

    def __init__(self, channel: bytes) -> None:
        self.channel = channel
        self.missed = 0
        #: it is still subscribed
        self.lasts = True
        #: the tick at which it ends
        self.until = 0

    def deliver(self, batches: Sequence[Batch]) -> None:
        self.missed += 1

    def failed(self) -> None:
        self.missed += 1


class Absences:
    """One absence for each channel, for all clients that have left it.

    Args:
        hub: as long as an absence lasts the channel stays subscribed.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        #: in the order in which they end
        self._absences: dict[bytes, Absence] = {}

    def begin(self, channel: bytes, tick: int) -> Absence:
        """Must be called before the channel is left."""
        absence = self._absences.pop(channel, None) or Absence(channel)
        absence.until = tick + _AT_ONCE
        self._absences[channel] = absence
        self._hub.join(absence, [channel])
        return absence

    def tick(self, tick: int) -> list[bytes]:
        """End what is due; returns the channels without a member."""
        due = []
        for absence in self._absences.values():
            if absence.until > tick:
                break
            due.append(absence)
        return [channel for absence in due for channel in self._end(absence)]

    def clear(self) -> None:
        """End all, for what was missed during a loss of Redis is not known."""
        for absence in [*self._absences.values()]:
            self._end(absence)

    def _end(self, absence: Absence) -> list[bytes]:
        empty = self._hub.leave(absence, [absence.channel])
        absence.lasts = False
        del self._absences[absence.channel]
        return empty


class Leaves:
    """The channels that one client has just left."""

    __slots__ = ("_absences", "_left")

    def __init__(self, absences: Absences) -> None:
        self._absences = absences
        #: and how much the absence had missed by then
        self._left: dict[bytes, tuple[Absence, int]] = {}

    def begin(self, channel: bytes, tick: int) -> None:
        """Must be called before the channel is left."""
        absence = self._absences.begin(channel, tick)
        self._left = {name: each for name, each in self._left.items() if each[0].lasts}
        self._left[channel] = absence, absence.missed

    def end(self, channel: bytes) -> bool:
        """The client comes back; True where it has missed nothing."""
        absence, missed = self._left.pop(channel, (None, 0))
        return absence is not None and absence.lasts and absence.missed == missed
