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
        #: from the last moment that was confirmed before a fault of Redis until all loops are subscribed again
        self._unsound: list[tuple[float, float]] = []
        #: lost since the last fault of Redis
        self.lost = 0

    def channel(self, name: str) -> Channel:
        return self.channels.setdefault(name, Channel(name))

    # soundness

    @property
    def sound(self) -> bool:
        return not self._unsound or self._unsound[-1][1] < math.inf

    def fault_of_redis(self) -> None:
        if self.sound:
            self._unsound.append((self.confirmed, math.inf))
            self.lost = 0

    def all_subscribed(self, now: float) -> None:
        if not self.sound:
            self._unsound[-1] = (self._unsound[-1][0], now)

    def must_arrive(self, channel: Channel, number: int) -> bool:
        """At whoever was connected when it was published, and still is."""
        begin, end = channel.begins[number], channel.ends[number]
        return not channel.in_doubt(number) and not any(end > since and begin < until for since, until in self._unsound)

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
        required = ledger.must_arrive(channel, number)
        if required:
            ledger.promises.none_missing.break_(f"{who} has not got {channel.name} number {number}")
        else:
            ledger.lost += 1
            ledger.counts["deliveries lost by a fault of Redis"] += 1

    def _out_of_order(self, number: int, who: str) -> None:
        promise = self._ledger.promises.once if number == self._last else self._ledger.promises.order
        promise.break_(f"{who} got {self._channel.name} number {number} after {self._last}")
