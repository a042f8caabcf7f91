"""The subscriptions of one connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ws4redis.core.publication import Batch, Publication, frames_of
from ws4redis.exceptions import READING_FAILED
from ws4redis.loop.absences import Absences, Leaves
from ws4redis.loop.catch_up import Gap
from ws4redis.loop.control import ControlSubscription

if TYPE_CHECKING:
    from ws4redis.broker.pubsub import PubSub
    from ws4redis.core.echo import EchoFilter
    from ws4redis.loop.endpoint import Endpoint
    from ws4redis.loop.hub import Hub
    from ws4redis.loop.slow_client import Backlog
    from ws4redis.runtime.port import Runtime
    from ws4redis.websocket import WebSocket

logger = logging.getLogger("django.request")


class Loop(Protocol):
    """What subscriptions share with the others of their process."""

    runtime: Runtime
    hub: Hub
    pubsub: PubSub
    absences: Absences
    #: what waits for a client that is too slow; None where it is closed
    new_backlog: Callable[[], Backlog] | None


class Owner(Protocol):
    """The connection."""

    @property
    def accepted(self) -> bool: ...

    def attempt(self, function: Callable[[], Any], away: tuple[type[Exception], ...]) -> bool: ...

    def confirmed(self, data: bytes) -> None:
        """Redis has confirmed all; ``data`` is what was missed. Must write it, after the answer to the handshake."""


class Subscriptions:
    """A member of the hub: sends a client what is published on its channels.

    What is subscribed is first held back, until Redis has confirmed it and what was missed has been read.
    """

    __slots__ = (
        "_backlog",
        "_catch_up",
        "_closed",
        "_confirmed",
        "_controls",
        "_gap",
        "_is_controlled",
        "_leaves",
        "_loop",
        "_owner",
        "_send_first",
        "_websocket",
        "channels",
        "direct",
        "echo_filter",
    )

    control = False

    def __init__(self, loop: Loop, owner: Owner, websocket: WebSocket, endpoint: Endpoint) -> None:
        self._loop = loop
        self._owner = owner
        self._websocket = websocket
        self._catch_up = endpoint.catch_up
        self.channels: tuple[bytes, ...] = ()
        self.echo_filter: EchoFilter | None = None
        self._controls: tuple[ControlSubscription, ...] = ()
        #: None while Redis is not asked
        self._gap: Gap | None = Gap([])
        self._confirmed: tuple[Callable[[], None], ...] = ()
        #: what waits beside the outbox, in order, while the client is too slow
        self._backlog: Backlog | None = None
        #: the websocket, while nothing stands between it and the hub
        self.direct: WebSocket | None = None
        #: what was left while a control handler was called; None while none is
        self._leaves: Leaves | None = None
        self._is_controlled = self._closed = False
        #: sends, in a greenlet, what the client gets first, in place of the strategy
        self._send_first = endpoint.send_first

    # by the connection, under the lock

    def subscribe(self, channels: Sequence[bytes], confirmed: Callable[[], None] | None = None) -> None:
        if self._closed:
            return
        known = set(self.channels)
        joined = tuple(each for each in dict.fromkeys(channels) if each not in known)
        self.channels = tuple(dict.fromkeys((*channels, *self.channels)))
        self._loop.pubsub.subscribe(self._loop.hub.join(self, joined))
        unknown = tuple(each for each in joined if self._leaves is None or not self._leaves.end(each))
        if confirmed is not None:
            self._confirmed += (confirmed,)
            if not unknown:
                self._hold().pending.append(self._loop.pubsub.mark(self.guarded(self.go_on)))
        if unknown:
            self._ask(unknown)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        named = set(channels)
        left = dict.fromkeys(each for each in self.channels if each in named)
        if self._closed or not left:
            return
        if self._is_controlled:
            self._begin_absences(left)
        self._loop.pubsub.unsubscribe(self._loop.hub.leave(self, left))
        self.channels = tuple(each for each in self.channels if each not in left)
        self._forget(left)

    def subscribe_control(self, control: ControlSubscription) -> None:
        if self._closed:
            return
        self._hold()
        self._controls += (control,)
        self._loop.pubsub.subscribe(self._loop.hub.join(control, [control.channel]))
        control.start(self._loop.pubsub)

    def filter_echo(self, echo_filter: EchoFilter) -> None:
        self.echo_filter = echo_filter
        echo_filter.stream = self

    def close(self) -> None:
        """Once more where it has failed."""
        if self._closed:
            return
        for pending in self._gap.pending if self._gap is not None else ():
            pending.cancel()
        for control in self._controls:
            control.cancel()
        if self.echo_filter is not None:
            self.echo_filter.stream = None
        empty = self._loop.hub.leave(self, self.channels)
        for control in self._controls:
            empty += self._loop.hub.leave(control, [control.channel])
        self._closed, self._backlog, self._controls, self._confirmed = True, None, (), ()
        self._loop.pubsub.unsubscribe(empty)

    def ended(self) -> None:
        """Nothing follows; without this, connection and subscriptions would keep each other alive."""
        del self._owner

    def drained(self) -> None:
        """The client has taken what was in its outbox."""
        if self._backlog is not None:
            backlog, self._backlog = self._backlog, None
            self._send([Batch([each]) for each in backlog.take()])

    def resubscribed(self) -> None:
        """A loss is about to end: what is held is older than what will be fetched, and own messages may have got lost.

        A client that was expelled meanwhile must get nothing more, so all is held back until that is known.
        """
        if self.echo_filter:
            self._call(self.echo_filter.interrupted)
        if self._gap is not None or self._controls:
            self._call(self._ask_again)

    # by the hub, and by the connection

    def unlist(self) -> None:
        self._loop.hub.unlist(self, self.channels)

    def deliver(self, batches: Sequence[Batch]) -> None:
        if self._gap is not None:
            self._gap.held += batches
        elif self.echo_filter:
            self._send(
                [Batch(others) for each in batches if (others := self.echo_filter.without_own(each.publications))]
            )
        else:
            self._send(batches)

    def failed(self) -> None:
        """What the client has got, or what it is subscribed to, is not known: it begins anew by coming back."""
        self._websocket.abort()

    # by the echo filter, in any thread

    def expecting(self) -> None:
        if self._websocket.listed:
            self._loop.runtime.run_in_loop(self.unlist)

    def mark(self, reached: Callable[[], None]) -> None:
        with self._loop.runtime.lock:
            if not self._closed:
                self._loop.pubsub.mark(reached)

    # by the control subscriptions

    def control_by(self, call: Callable[[], bool | None]) -> bool | None:
        self._is_controlled = True
        try:
            return call()
        finally:
            self._is_controlled = False

    def go_on(self) -> None:
        """Send what was missed and held, where nothing is pending any more."""
        gap = self._gap
        if (
            self._closed
            or gap is None
            or not all(each.done for each in gap.pending)
            or (self._controls and self._controls_wait())
        ):
            return
        if self._send_first is None:
            self._finish(gap)
        else:
            send_first, self._send_first = self._send_first, None
            self._gap = Gap(gap.held)
            self._owner.confirmed(b"")
            self._loop.runtime.spawn(self._send_and_go_on, self._owner, send_first)

    def guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        return partial(self._call, callback)

    # inside

    def _call(self, callback: Callable[..., None], *values: Any) -> None:
        try:
            callback(*values)
        except Exception as error:
            self._loop.hub.failed(error, self.failed)

    def _hold(self) -> Gap:
        if self._gap is None:
            self.unlist()
            self._gap, self.direct = Gap([]), None
        return self._gap

    def _controls_wait(self) -> bool:
        settled = self._owner.accepted or all(each.settled for each in self._controls)
        return not settled or any(each.waits for each in self._controls)

    def _ask(self, channels: tuple[bytes, ...]) -> None:
        gap, asked = self._hold(), dict.fromkeys(channels)
        gap.asked.append(asked)
        caught_up = partial(self._call, self._caught_up, gap, asked)
        gap.pending += self._catch_up.start(self._loop.pubsub, channels, caught_up)

    def _ask_again(self) -> None:
        """All that was held, missed or pending is of the time before a loss."""
        old = self._hold()
        for each in old.pending:
            each.cancel()
        gap = self._gap = Gap([])
        for control in self._controls:
            control.start(self._loop.pubsub)
        if asked := [channel for asked in old.asked for channel in asked]:
            self._ask(tuple(asked))
        elif old.pending:
            gap.pending.append(self._loop.pubsub.mark(self.guarded(self.go_on)))

    def _caught_up(self, gap: Gap, asked: dict[bytes, None], publications: Sequence[Publication]) -> None:
        gap.missed += [each for each in publications if each.channel in asked]
        self.go_on()

    def _finish(self, gap: Gap) -> None:
        """Send what was missed, then what was published meanwhile, each once."""
        missed, held = gap.missed, [each for batch in gap.held for each in batch.publications]
        if len(gap.asked) > 1:
            # in the order of the channels, whatever was asked first
            place = {channel: number for number, channel in enumerate(self.channels)}
            missed.sort(key=lambda each: place.get(each.channel, 0))
        self._gap = None
        if self._websocket.encoding.shared:
            self.direct = self._websocket
        live = {(each.channel, each.payload) for each in held}
        frames = [self._frame(each) for each in missed if (each.channel, each.payload) not in live]
        others = self.echo_filter.without_own(held) if self.echo_filter else held
        if self._backlog is None:
            frames += [self._frame(each) for each in others]
        else:
            self._backlog.add(others)
        confirmed, self._confirmed = self._confirmed, ()
        self._owner.confirmed(b"".join(frames))
        for each in confirmed:
            each()

    def _send_and_go_on(self, owner: Owner, send_first: Callable[[WebSocket], None]) -> None:
        if owner.attempt(partial(send_first, self._websocket), READING_FAILED):
            with self._loop.runtime.lock:
                self._call(self.go_on)

    def _send(self, batches: Sequence[Batch]) -> None:
        if not batches:
            return
        if self._backlog is not None:
            self._defer([each for batch in batches for each in batch.publications])
            return
        data = frames_of(batches, self._websocket.encoding)
        if self._loop.new_backlog is None or self._websocket.has_room(len(data)):
            self._websocket.write(data)
        else:
            self._send_some([each for batch in batches for each in batch.publications])

    def _send_some(self, publications: list[Publication]) -> None:
        """What there is room for; the others wait."""
        for number, publication in enumerate(publications):
            frame = self._frame(publication)
            if not self._websocket.has_room(len(frame)):
                self._defer(publications[number:])
                return
            self._websocket.write(frame)

    def _defer(self, publications: list[Publication]) -> None:
        if self._backlog is None:
            assert self._loop.new_backlog is not None
            self._backlog = self._loop.new_backlog()
            logger.warning("websocket %x reads too slowly, it will miss messages", id(self._websocket))
        self._backlog.add(publications)

    def _forget(self, left: Collection[bytes]) -> None:
        """A client that comes back to a channel begins anew there."""
        if self._gap is not None:
            self._gap.forget(left)
        if self._backlog is not None:
            self._backlog.forget(left)
        if self.echo_filter:
            self.echo_filter.interrupted(left)

    def _begin_absences(self, left: Collection[bytes]) -> None:
        """A client that leaves a group and is back at once (``clear()``, ``add()``) goes on if nothing was missed."""
        for channel in left:
            if self._backlog is None and (self._gap is None or not self._gap.concerns(channel)):
                self._leaves = self._leaves or Leaves(self._loop.absences)
                self._leaves.begin(channel, self._loop.runtime.ticks)

    def _frame(self, publication: Publication) -> bytes:
        return publication.frame(self._websocket.encoding)
