"""A channel with many members: most of them are a descriptor in an array."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ws4redis.core.encoding import Encoding
    from ws4redis.loop.hub import Member
    from ws4redis.websocket import WebSocket

#: below and above all descriptors
_NONE, _ALL = -1, (1 << 31) - 1

#: to sort all is cheaper than to find a place for each, where more than this are added at once
_MANY = 16

#: to ask a member, and to send it everything in one piece, costs this many times as much as to send by a table
_COST_OF_ASKING = 1.3


class DescriptorTable:
    """The websockets of one encoding that need not be asked, in the order of their descriptors.

    A place is found by bisection: a dict of places would be ten times as large.
    """

    __slots__ = ("descriptors", "served", "websockets")

    def __init__(self) -> None:
        self.descriptors = array("i")
        self.websockets: list[WebSocket] = []
        #: the last descriptor that the current fan-out has served
        self.served = _ALL

    def add(self, websockets: Sequence[WebSocket]) -> None:
        if len(websockets) > max(_MANY, len(self.websockets) // _MANY):
            self.websockets = sorted([*self.websockets, *websockets], key=_descriptor)
            self.descriptors = array("i", map(_descriptor, self.websockets))
            return
        for websocket in websockets:
            descriptor = _descriptor(websocket)
            place = bisect_left(self.descriptors, descriptor)
            self.descriptors.insert(place, descriptor)
            self.websockets.insert(place, websocket)

    def __contains__(self, websocket: WebSocket) -> bool:
        place = bisect_left(self.descriptors, _descriptor(websocket))
        return place < len(self.websockets) and self.websockets[place] is websocket

    def remove(self, websocket: WebSocket) -> bool:
        """Returns whether the current fan-out has served it; True where there is none."""
        descriptor = _descriptor(websocket)
        place = bisect_left(self.descriptors, descriptor)
        del self.descriptors[place], self.websockets[place]
        return descriptor <= self.served

    @property
    def waiting(self) -> int:
        """The number of those that the current fan-out has not served."""
        return len(self.descriptors) - bisect_right(self.descriptors, self.served)

    def take(self, most: int) -> slice:
        """The places of the next ones, which count as served from now on."""
        start = bisect_right(self.descriptors, self.served)
        places = slice(start, min(start + most, len(self.descriptors)))
        if start < places.stop:
            self.served = self.descriptors[places.stop - 1]
        return places


class LargeChannel:
    """The members of one channel.

    A fan-out begins by listing in tables the members that need not be asked. They are listed until one of them, or its
    websocket, calls ``Hub.unlist()``. So while a fan-out pauses the tables only become shorter, and a listed member has
    not changed.
    """

    __slots__ = ("_noted", "missed", "tables", "unlisted")

    def __init__(self, members: Iterable[Member]) -> None:
        #: the members that are in no table; each is asked
        self.unlisted: dict[Member, None] = dict.fromkeys(members)
        self.tables: dict[Encoding, DescriptorTable] = {}
        #: the members that were unlisted before the current fan-out has served them
        self.missed: list[Member] = []
        #: the tick in which ``note_time()`` was called last
        self._noted = -1

    def list_members(self) -> bool:
        """Must not be called while a fan-out pauses; returns whether a table has anybody."""
        ready = [each for each in self.unlisted if _try_to_list(each)]
        if ready:
            self._add(ready)
        return any(each.websockets for each in self.tables.values())

    def start_fan_out(self) -> None:
        self._serve_up_to(_NONE)

    def end_fan_out(self) -> None:
        self._serve_up_to(_ALL)

    def note_time(self, tick: int) -> None:
        """For the heartbeat: something is written to all that are listed; looks at them once in each tick."""
        if self._noted != tick:
            self._noted = tick
            for table in self.tables.values():
                for each in table.websockets:
                    each.written = tick

    def remove(self, member: Member) -> None:
        if member.direct is not None:
            self.unlist(member, member.direct)
        self.unlisted.pop(member, None)

    def unlist(self, member: Member, websocket: WebSocket) -> None:
        """May be repeated, and called after it has failed."""
        table = self.tables.get(websocket.encoding)
        if table is not None and websocket in table:
            served = table.remove(websocket)
            self.unlisted[member] = None
            if not served:
                self.missed.append(member)

    def _serve_up_to(self, descriptor: int) -> None:
        self.missed = []
        for each in self.tables.values():
            each.served = descriptor

    def _add(self, ready: Sequence[Member]) -> None:
        by_encoding: dict[Encoding, list[WebSocket]] = {}
        for each in ready:
            assert each.direct is not None
            by_encoding.setdefault(each.direct.encoding, []).append(each.direct)
        for encoding, websockets in by_encoding.items():
            self.tables.setdefault(encoding, DescriptorTable()).add(websockets)
        listed = set(ready)
        self.unlisted = {each: None for each in self.unlisted if each not in listed}  # a dict does not shrink


def overlap(channels: Iterable[LargeChannel]) -> bool:
    """Whether they share most members: then it is cheaper to ask each, and to send all that it gets in one piece."""
    every = [table.descriptors for channel in channels for table in channel.tables.values()]
    return sum(map(len, every)) > _COST_OF_ASKING * len(set(chain(*every)))


def direct_of(member: Member) -> WebSocket | None:
    """The member's websocket, if nothing stands between it and the hub."""
    websocket = member.direct
    if websocket is None or websocket.outbox is not None or member.echo_filter:
        return None
    return websocket


def _try_to_list(member: Member) -> bool:
    """Returns whether the member belongs into a table, until it is unlisted."""
    websocket = direct_of(member)
    if websocket is None or not websocket.open:
        return False
    websocket.listed = True
    # from now on another thread that publishes for it unlists it; one may have begun just before
    return not member.echo_filter


def _descriptor(websocket: WebSocket) -> int:
    return websocket.get_file_descriptor()
