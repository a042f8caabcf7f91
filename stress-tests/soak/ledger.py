"""What was published, and what each websocket has got of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

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

    def open_account(self, names: Iterable[str]) -> dict[str, Account]:
        """For a websocket that is connected from now on."""
        return {name: Account(self, self.channel(name)) for name in names}


class Account:
    """What one websocket has got of one channel."""

    __slots__ = ("_before", "_channel", "_doubtful", "_last", "_ledger")

    def __init__(self, ledger: Ledger, channel: Channel) -> None:
        self._ledger = ledger
        self._channel = channel
        #: the last that was published before it knew that it was connected
        self._before = len(channel) - 1
        #: the last that came
        self._last = -1
        #: those that came while nobody knew whether Redis had taken them
        self._doubtful: set[int] = set()

    def receive(self, number: int, who: str) -> None:
        promises, channel = self._ledger.promises, self._channel
        if not 0 <= number < len(channel):
            promises.genuine.break_(f"{who} got {channel.name} number {number}, which was not published")
            return
        for promise in (promises.once, promises.order, promises.none_missing, promises.genuine):
            promise.checks += 1
        if channel.in_doubt(number):
            if number in self._doubtful:
                promises.once.break_(f"{who} got {channel.name} number {number} twice")
            self._doubtful.add(number)
        if number > self._last:
            self._skip(number, who)
            self._last = number
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

    def _missing(self, number: int, who: str) -> None:
        ledger, channel = self._ledger, self._channel
        if channel.in_doubt(number):
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
