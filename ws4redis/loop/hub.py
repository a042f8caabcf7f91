"""Who listens in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from operator import length_hint
from typing import TYPE_CHECKING, Protocol

from ws4redis.core.publication import Batch, Publication, frames_of
from ws4redis.loop.large_channel import DescriptorTable, LargeChannel, direct_of, overlap
from ws4redis.websocket import write_to_all

if TYPE_CHECKING:
    from ws4redis.core.echo import EchoFilter
    from ws4redis.runtime.io_uring import Ring
    from ws4redis.runtime.port import Runtime
    from ws4redis.websocket import WebSocket

logger = logging.getLogger("ws4redis")

#: members of a fan-out after which others may run; what the runtime's ring takes at once
PAUSE_EVERY = 256

#: for fewer the call to the ring costs more than it saves
_WORTH_A_RING = 32

#: fewer members of a channel are asked one by one, because tables cost memory
_LARGE = 32


class Member(Protocol):
    @property
    def control(self) -> bool:
        """Its publications change who is subscribed: they take effect before what follows is addressed."""

    @property
    def direct(self) -> WebSocket | None:
        """Gets the frames as they are, if nothing waits for it; None where ``deliver()`` must see them.

        ``Hub.unlist()`` must be called before that changes, or the filter expects, or the websocket stops or waits.
        """

    @property
    def echo_filter(self) -> EchoFilter | None:
        """While it expects anything, ``deliver()`` must see everything."""

    def deliver(self, batches: Sequence[Batch]) -> None:
        """Send on, without waiting; a member that has left in the meantime must not mind."""

    def failed(self) -> None:
        """It is not known what of a delivery has reached it, so it must go."""


class Hub:
    """Channel -> members.

    Args:
        runtime: the kind of concurrency.
        ring: sends to many at once; None where there is none.
    """

    def __init__(self, runtime: Runtime, ring: Ring | None = None) -> None:
        self._runtime = runtime
        self._ring = ring
        #: without a set around a member that is alone: most users have one window
        self._members: dict[bytes, Member | set[Member]] = {}
        #: the channels that had many members at a publication
        self._large: dict[bytes, LargeChannel] = {}
        #: the channels with a member that is ``control``
        self.controls: set[bytes] = set()
        #: who has left which channel since the fan-out began that pauses now; None while none does
        self._left: set[tuple[Member, bytes]] | None = None
        #: the tick in which a failure was told last
        self._told = -1
        #: publications times members
        self.deliveries = 0

    @property
    def channels(self) -> list[bytes]:
        return list(self._members)

    def join(self, member: Member, channels: Iterable[bytes]) -> list[bytes]:
        """Returns the channels to which nobody had listened."""
        new = []
        for channel in channels:
            if member.control:
                self.controls.add(channel)
            members = self._members.get(channel)
            if members is None:
                self._members[channel] = member
                new.append(channel)
            elif isinstance(members, set):
                if member not in members and channel in self._large:
                    self._large[channel].unlisted[member] = None
                members.add(member)
            elif members is not member:
                self._members[channel] = {members, member}
        return new

    def leave(self, member: Member, channels: Iterable[bytes]) -> list[bytes]:
        """Returns the channels to which nobody listens any more."""
        empty = []
        for channel in channels:
            if self._left is not None:
                self._left.add((member, channel))
            members = self._members.get(channel)
            if isinstance(members, set):
                self._leave(member, channel, members)
            elif members is member:
                del self._members[channel]
                empty.append(channel)
            if member.control and not self._is_control(channel):
                self.controls.discard(channel)
        return empty

    def unlist(self, member: Member, channels: Iterable[bytes]) -> None:
        """Ask the member from now on, until a fan-out finds that it need not be asked."""
        websocket = member.direct
        if websocket is None or not websocket.listed:
            return
        for channel in channels:
            if channel in self._large:
                self._large[channel].unlist(member, websocket)
        websocket.listed = False

    def reset(self) -> None:
        """Must be called after a fan-out that may have failed; none is under way."""
        self._large.clear()

    def deliver(self, publications: list[Publication]) -> Iterable[None]:
        """Give each member all that the batch has for it; the order within a channel is kept.

        That is one buffer, but for what comes by a channel with many members.

        Done when what is returned is at its end. Each step is a pause in a long fan-out, in which others may run; who
        leaves a channel then gets nothing more of it from this one, not even after coming back.
        """
        if len(publications) == 1 and not isinstance(self._members.get(publications[0].channel), set):
            self._give_alone(publications[0])
            return ()
        by_channel: dict[bytes, list[Publication]] = {}
        for each in publications:
            by_channel.setdefault(each.channel, []).append(each)
        large = self._large_ones(by_channel)
        steps: list[Iterator[int]] = []
        mine: dict[Member, list[Batch]] = {}
        for channel, some in by_channel.items():
            batch, listeners = Batch(some), self._listeners(channel)
            self.deliveries += len(listeners) * len(some)
            if channel in large:
                steps.append(self._ask(mine))
                mine = {}
                steps.append(self._serve(large[channel], batch, mine))
                listeners = large[channel].unlisted
            for member in listeners:
                mine.setdefault(member, []).append(batch)
        steps.append(self._ask(mine))
        return self._paused(large.values(), chain.from_iterable(steps))

    def failed(self, error: Exception, let_go: Callable[[], None]) -> None:
        """Drop a member that may have got a part of a message, or none of it.

        Args:
            let_go: closes its websocket.
        """
        with suppress(Exception):
            let_go()
        if self._told != self._runtime.ticks:  # of many one is enough
            self._told = self._runtime.ticks
            self._runtime.spawn(partial(logger.error, "a delivery failed; the others go on", exc_info=error))

    def _leave(self, member: Member, channel: bytes, members: set[Member]) -> None:
        if channel in self._large:
            self._large[channel].remove(member)
        members.discard(member)
        if len(members) == 1:
            (last,) = members
            self._members[channel] = last
            large = self._large.pop(channel, None)
            # for a fan-out that pauses: nothing unlists the last one any more when it changes
            if large is not None and last.direct is not None:
                large.unlist(last, last.direct)

    def _listeners(self, channel: bytes) -> Collection[Member]:
        members = self._members.get(channel)
        if members is None:
            return ()
        return members if isinstance(members, set) else (members,)

    def _large_ones(self, channels: Iterable[bytes]) -> dict[bytes, LargeChannel]:
        """The channels that are to be served by their tables; their fan-out begins."""
        found = {}
        for channel in channels:
            members = self._members.get(channel)
            if isinstance(members, set) and len(members) >= _LARGE:
                large = self._large.get(channel)
                if large is None:
                    large = self._large[channel] = LargeChannel(members)
                if large.list_members():
                    found[channel] = large
        if len(found) > 1 and overlap(found.values()):
            return {}
        for large in found.values():
            large.start_fan_out()
            large.note_time(self._runtime.ticks)
        return found

    def _is_control(self, channel: bytes) -> bool:
        return any(each.control for each in self._listeners(channel))

    def _paused(self, large: Iterable[LargeChannel], steps: Iterable[int]) -> Iterator[None]:
        """Each step first tells to how many, at most, it will send."""
        self._left = set()
        given = 0
        try:
            for count in steps:
                if given + count > PAUSE_EVERY:
                    given = 0
                    yield
                given += count
        finally:
            self._left = None
            for each in large:
                each.end_fan_out()

    def _serve(self, large: LargeChannel, batch: Batch, others: dict[Member, list[Batch]]) -> Iterator[int]:
        """A member that is unlisted before it is served is added to the others, who are asked next."""
        for encoding, table in large.tables.items():
            while table.waiting:
                yield min(table.waiting, PAUSE_EVERY)
                self._send(table, batch.frames(encoding))
        for member in large.missed:
            others.setdefault(member, []).insert(0, batch)

    def _ask(self, mine: dict[Member, list[Batch]]) -> Iterator[int]:
        members = [*mine]
        for start in range(0, len(members), PAUSE_EVERY):
            some = members[start : start + PAUSE_EVERY]
            yield len(some)
            if self._left:
                some = [each for each in some if self._still_listens(each, mine)]
            for member in some:
                self._give(mine[member], member)

    def _still_listens(self, member: Member, mine: dict[Member, list[Batch]]) -> bool:
        """To a channel of those of which it was to get something."""
        assert self._left is not None
        mine[member] = [each for each in mine[member] if (member, each.channel) not in self._left]
        return bool(mine[member])

    def _give(self, batches: Sequence[Batch], member: Member) -> None:
        try:
            websocket = direct_of(member)
            if websocket is None:
                member.deliver(batches)
            else:
                write_to_all((websocket,), frames_of(batches, websocket.encoding))
        except Exception as error:
            self.failed(error, member.failed)

    def _give_alone(self, publication: Publication) -> None:
        """To one member or none: most users have one window."""
        for member in self._listeners(publication.channel):
            self.deliveries += 1
            self._give((Batch((publication,)),), member)

    def _send(self, table: DescriptorTable, frames: bytes) -> None:
        places = table.take(PAUSE_EVERY)
        if self._ring is not None and places.stop - places.start >= _WORTH_A_RING:
            self._send_at_once(self._ring, table, places, frames)
            return
        websockets = table.websockets[places]
        rest = iter(websockets)
        while True:
            try:
                return write_to_all(rest, frames)
            except Exception as error:
                # goes on with the next one
                self.failed(error, websockets[-1 - length_hint(rest)].abort)

    def _send_at_once(self, ring: Ring, table: DescriptorTable, places: slice, frames: bytes) -> None:
        results = ring.send_to_all(table.descriptors[places], frames)
        if not ring.usable:
            self._ring = None  # it is kept elsewhere: what it has begun may still read its memory
            self._runtime.spawn(logger.error, "io_uring does not do what it is known for; it is used no more")
        # looked up first, for each of them may leave the table
        for websocket, result in [(table.websockets[places.start + place], result) for place, result in results]:
            try:
                websocket.sent(frames, result)
            except Exception as error:
                self.failed(error, websocket.abort)
