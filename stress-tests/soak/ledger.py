"""What was published, and what each websocket has got of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from soak.promises import Promises

_PENDING, _FAILED = math.inf, -1.0


class Channel:
    """One channel's messages, numbered as they were published."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: when each was begun to be published, and when Redis had taken it
        self.begins: list[float] = []
        self.ends: list[float] = []

    def __len__(self) -> int:
        return len(self.begins)

    def begin(self, now: float) -> int:
        self.ends.append(_PENDING)
        self.begins.append(now)
        return len(self.begins) - 1

    def taken(self, number: int, now: float) -> None:
        self.ends[number] = now

    def failed(self, number: int) -> None:
        """Nobody knows whether Redis has taken it, or will."""
        self.ends[number] = _FAILED

    def in_doubt(self, number: int) -> bool:
        return self.ends[number] in (_FAILED, _PENDING)


class Window:
    """From the last moment that was confirmed before a fault of Redis until all loops were subscribed again."""

    def __init__(self, fault: str, since: float) -> None:
        self.fault = fault
        self.since = since
        self.until = math.inf
        #: how often the log said that Redis is away
        self.told = 0


class Ledger:
    """
    Attributes:
        confirmed: what Redis took before has reached all living loops, for each has heard its canary since.
    """

    def __init__(self, promises: Promises) -> None:
        self.promises = promises
        self.counts: Counter[str] = Counter()
        self.channels: dict[str, Channel] = {}
        self.confirmed = -math.inf
        self._windows: list[Window] = []
        #: deliveries, by the windows that excuse them; often noticed later, when the next message has come
        self.lost: Counter[tuple[Window, ...]] = Counter()

    def channel(self, name: str) -> Channel:
        return self.channels.setdefault(name, Channel(name))

    # soundness

    def fault_of_redis(self, name: str) -> Window:
        window = Window(name, self.confirmed)
        self._windows.append(window)
        return window

    def all_subscribed(self, now: float) -> None:
        if self._windows and self._windows[-1].until == math.inf:
            self._windows[-1].until = now

    def excuses(self, channel: Channel, number: int) -> tuple[Window, ...]:
        """Without one, it must arrive at whoever was connected when it was published, and still is."""
        begin, end = channel.begins[number], channel.ends[number]
        return tuple(each for each in self._windows if end > each.since and begin < each.until)

    def judge_losses(self) -> None:
        """At the end: what was lost was told in the log."""
        self.counts["messages that no fault of Redis excuses"] = sum(
            not channel.in_doubt(number) and not self.excuses(channel, number)
            for channel in self.channels.values()
            for number in range(len(channel))
        )
        for windows, deliveries in self.lost.items():
            faults = " or ".join(each.fault for each in windows)
            told = any(each.told for each in windows)
            self.promises.loud.check(told, f"{deliveries} deliveries were lost without a word, {faults}")

    # what arrives

    def open_account(self, names: Iterable[str], membership: Membership | None = None) -> dict[str, Account]:
        """For a websocket that is connected from now on."""
        accounts = {name: Account(self, self.channel(name), None) for name in names}
        if membership is not None:
            accounts[membership.group.name] = Account(self, membership.group, membership)
        return accounts


class Ban(NamedTuple):
    """What the user must not get: the group's messages from ``first`` on, before ``end``."""

    first: int
    end: float
    #: the change that brought it
    change: int


class Membership:
    """Of one user in one group, in the order of Redis: one thread publishes, bans and lets in again.

    Attributes:
        changes: what was told of the user's groups, numbered like a channel's messages.
        member: as it was told last.
        stays: how often the user has come back, after some time.
        first_of_stay: with this one or a later one the last of these stays has begun for whoever gets it.
    """

    def __init__(self, ledger: Ledger, group: Channel, user: str) -> None:
        self.group = group
        self.group_name = group.name.split(":")[1]
        self.user = user
        self.changes = Channel(f"groups of {user}")
        self.member = True
        self.stays = self.first_of_stay = 0
        self._ledger = ledger
        self._bans: list[Ban] = []
        #: numbers of the group's messages that need not come: the first, and the first after them
        self._absences: list[tuple[int, float]] = []

    def leaving(self) -> None:
        """What has not reached all loops by now may be dropped; what comes later need not come."""
        self.member = False
        first = len(self.group)
        while first and self.group.ends[first - 1] > self._ledger.confirmed:
            first -= 1
        if not self._absences or self._absences[-1][1] < math.inf:
            self._absences.append((first, math.inf))

    def left(self, change: int) -> None:
        """Redis has taken the ban."""
        self._bans.append(Ban(len(self.group), math.inf, change))

    def joining(self) -> None:
        """What is published from now on may come."""
        self.member = True
        if self._bans and self._bans[-1].end == math.inf:
            ban = self._bans[-1] = self._bans[-1]._replace(end=len(self.group))
            self._ledger.promises.banned.checks += len(self.group) - ban.first

    def begins_stay(self) -> None:
        """It was away for so long that it may get the last message once more."""
        self.stays += 1
        self.first_of_stay = max(int(self._bans[-1].end) - 1, self._bans[-1].first) if self._bans else 0

    def joined(self) -> None:
        """All loops know it: from now on all must come."""
        self._absences[-1] = (self._absences[-1][0], len(self.group))

    def is_due(self, number: int) -> bool:
        return not any(first <= number < end for first, end in self._absences)

    def is_kept_from(self, number: int) -> bool:
        """Whether it was published during a ban. Who is let in again may get the last of these."""
        return self.group.ends[number] != _FAILED and any(
            ban.first <= number < (ban.end if ban.end == math.inf else ban.end - 1)
            and not self._ledger.excuses(self.changes, ban.change)
            for ban in self._bans
        )


class Account:
    """What one websocket has got of one channel."""

    __slots__ = ("_before", "_channel", "_doubtful", "_last", "_ledger", "_membership", "_stays")

    def __init__(self, ledger: Ledger, channel: Channel, membership: Membership | None) -> None:
        self._ledger = ledger
        self._channel = channel
        #: the last that was published before it knew that it was connected
        self._before = len(channel) - 1
        #: the last that came
        self._last = -1
        #: those that came while nobody knew whether Redis had taken them
        self._doubtful: set[int] = set()
        #: where the channel is a group's
        self._membership = membership
        #: the stays in that group that have begun, for this websocket
        self._stays = membership.stays if membership is not None else 0

    def receive(self, number: int, who: str) -> None:
        promises, channel = self._ledger.promises, self._channel
        if not 0 <= number < len(channel):
            promises.genuine.break_(f"{who} got {channel.name} number {number}, which was not published")
            return
        for promise in (promises.once, promises.order, promises.none_missing, promises.genuine):
            promise.checks += 1
        anew = number == self._last and self._begins_stay()
        if channel.in_doubt(number):
            if number in self._doubtful and not anew:
                promises.once.break_(f"{who} got {channel.name} number {number} twice")
            self._doubtful.add(number)
        if self._membership is not None and self._membership.is_kept_from(number):
            promises.banned.break_(f"{who} got {channel.name} number {number}, published after a ban")
        if number > self._last:
            self._skip(number, who)
            self._last = number
            if self._membership is not None and number >= self._membership.first_of_stay:
                self._stays = self._membership.stays
        elif anew:
            self._ledger.counts["last messages that came anew after a ban"] += 1
        elif channel.in_doubt(number):
            self._ledger.counts["messages that came late, for their publisher had given up"] += 1
        else:
            self._out_of_order(number, who)

    def end(self, until: float, who: str) -> None:
        """No more will come; what was taken until then must have."""
        for number in range(max(self._last, self._before) + 1, len(self._channel)):
            if self._channel.ends[number] <= until:
                self._missing(number, who)

    def _skip(self, number: int, who: str) -> None:
        for each in range(max(self._last, self._before) + 1, number):
            self._missing(each, who)

    def _begins_stay(self) -> bool:
        """Each stay begins with the last message, once."""
        if self._membership is None or self._stays == self._membership.stays:
            return False
        self._stays += 1
        return True

    def _missing(self, number: int, who: str) -> None:
        ledger, channel = self._ledger, self._channel
        if channel.in_doubt(number) or not (self._membership is None or self._membership.is_due(number)):
            return
        excuses = ledger.excuses(channel, number)
        if excuses:
            ledger.lost[excuses] += 1
            ledger.counts["deliveries lost by a fault of Redis"] += 1
        else:
            ledger.promises.none_missing.break_(f"{who} has not got {channel.name} number {number}")

    def _out_of_order(self, number: int, who: str) -> None:
        promise = self._ledger.promises.once if number == self._last else self._ledger.promises.order
        promise.break_(f"{who} got {self._channel.name} number {number} after {self._last}")
