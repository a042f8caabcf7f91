"""Who listens in this process."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Protocol

from ws4redis.core.publication import Batch, Publication, frames_of
from ws4redis.websocket import send_to_all, write_to_all

if TYPE_CHECKING:
    from ws4redis.core.echo import EchoFilter
    from ws4redis.core.encoding import Encoding
    from ws4redis.runtime.io_uring import Ring
    from ws4redis.runtime.port import Runtime
    from ws4redis.websocket import WebSocket

logger = logging.getLogger("ws4redis")

#: members of a fan-out after which others may run; what the runtime's ring takes at once
PAUSE_EVERY = 256

#: for fewer the call to the ring costs more than it saves
_WORTH_A_RING = 32


class Member(Protocol):
    @property
    def control(self) -> bool:
        """Its publications change who is subscribed: they take effect before what follows is addressed."""

    @property
    def direct(self) -> WebSocket | None:
        """Gets the frames as they are, if nothing waits for it; None where ``deliver()`` must see them."""

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
                members.discard(member)
                if len(members) == 1:
                    (self._members[channel],) = members
            elif members is member:
                del self._members[channel]
                empty.append(channel)
            if member.control and not self._is_control(channel):
                self.controls.discard(channel)
        return empty

    def deliver(self, publications: list[Publication]) -> Iterable[None]:
        """Give each member one buffer with all that the batch has for it; the order within a channel is kept.

        Done when what is returned is at its end. Each step is a pause in a long fan-out, in which others may run; who
        leaves a channel then gets nothing more of it from this one, not even after coming back.
        """
        if len(publications) == 1 or len({each.channel for each in publications}) == 1:
            members, batches = self._listeners(publications), (Batch(publications),)
            if len(members) == 1:
                self._give_one(batches, members[0])
                return ()
            return self._in_slices(members, partial(self._give, batches))
        by_channel: dict[bytes, list[Publication]] = {}
        for each in publications:
            by_channel.setdefault(each.channel, []).append(each)
        mine: dict[Member, list[Batch]] = {}
        for some in by_channel.values():
            batch = Batch(some)
            for member in self._listeners(some):
                mine.setdefault(member, []).append(batch)
        return self._in_slices([*mine], partial(self._give_each, mine))

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

    def _listeners(self, publications: Sequence[Publication]) -> Sequence[Member]:
        """Of one channel."""
        members = self._members.get(publications[0].channel)
        if members is None:
            return ()
        if isinstance(members, set):
            self.deliveries += len(members) * len(publications)
            return [*members]
        self.deliveries += len(publications)
        return (members,)

    def _is_control(self, channel: bytes) -> bool:
        members = self._members.get(channel, ())
        return any(each.control for each in (members if isinstance(members, set | tuple) else (members,)))

    def _in_slices(self, members: Sequence[Member], give: Callable[[Sequence[Member]], None]) -> Iterable[None]:
        """The first at once."""
        if len(members) <= PAUSE_EVERY:
            give(members)
            return ()
        return self._paused(members, give)

    def _paused(self, members: Sequence[Member], give: Callable[[Sequence[Member]], None]) -> Iterator[None]:
        self._left = set()
        try:
            for start in range(0, len(members), PAUSE_EVERY):
                if start:
                    yield
                give(members[start : start + PAUSE_EVERY])
        finally:
            self._left = None

    def _give(self, batches: Sequence[Batch], members: Sequence[Member]) -> None:
        """The same for all."""
        if self._left:
            members = [each for each in members if (each, batches[0].channel) not in self._left]
        direct: defaultdict[Encoding, list[WebSocket]] = defaultdict(list)
        others = []
        for member in members:
            websocket = member.direct
            if websocket is None or websocket.outbox is not None or member.echo_filter:
                others.append(member)
            else:
                direct[websocket.encoding].append(websocket)
        for encoding, websockets in direct.items():
            self._write(websockets, frames_of(batches, encoding))
        for member in others:
            self._give_one(batches, member)

    def _give_each(self, batches: Mapping[Member, Sequence[Batch]], members: Sequence[Member]) -> None:
        for member in members:
            mine = batches[member]
            if self._left:
                mine = [each for each in mine if (member, each.channel) not in self._left]
            if mine:
                self._give_one(mine, member)

    def _give_one(self, batches: Sequence[Batch], member: Member) -> None:
        """What ``_give()`` does, without its groups: most messages to a user have one receiver."""
        websocket = member.direct
        try:
            if websocket is None or websocket.outbox is not None or member.echo_filter:
                member.deliver(batches)
            else:
                write_to_all((websocket,), frames_of(batches, websocket.encoding))
        except Exception as error:
            self.failed(error, member.failed)

    def _write(self, websockets: Sequence[WebSocket], frames: bytes) -> None:
        if self._ring is not None and len(websockets) >= _WORTH_A_RING:
            self._write_at_once(self._ring, websockets, frames)
            return
        rest = iter(websockets)
        while True:
            try:
                return write_to_all(rest, frames)
            except Exception as error:
                # goes on with the next one
                self.failed(error, websockets[-1 - length_hint(rest)].abort)

    def _write_at_once(self, ring: Ring, websockets: Sequence[WebSocket], frames: bytes) -> None:
        results = send_to_all(ring, websockets, frames)
        if not ring.usable:
            self._ring = None  # it is kept elsewhere: what it has begun may still read its memory
            self._runtime.spawn(logger.error, "io_uring does not do what it is known for; it is used no more")
        for websocket, result in results:
            try:
                websocket.sent(frames, result)
            except Exception as error:
                self.failed(error, websocket.abort)
