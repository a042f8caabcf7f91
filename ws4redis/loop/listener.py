"""What one browser hears."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ws4redis.protocol.frames import CloseCode
from ws4redis.publication import Bundle, Publication, frames_of
from ws4redis.redis_client import serving_browser

if TYPE_CHECKING:
    from ws4redis.loop.absences import Absence
    from ws4redis.loop.backlog import Backlog
    from ws4redis.loop.ports import Shared, View
    from ws4redis.loop.pubsub import Question
    from ws4redis.websocket import WebSocket

logger = logging.getLogger("django.request")


class Listener:
    """Sends a browser what is published on its view's channels; a member of the hub.

    What is subscribed is first held back, until Redis has confirmed it and what was kept has been read. Until then a
    new browser does not even know that it is connected.

    Args:
        accept_response: the HTTP answer that makes it a websocket.
    """

    __slots__ = (
        "_accept_response",
        "_asked",
        "_backlog",
        "_heard",
        "_held",
        "_left",
        "_loop",
        "_question",
        "_regrouping",
        "_settled",
        "_view",
        "_watch",
        "_websocket",
        "direct",
        "own",
    )

    control = False

    def __init__(self, loop: Shared, websocket: WebSocket, view: View, accept_response: bytes) -> None:
        self._loop = loop
        self._websocket = websocket
        self._view = view
        self.own = view.own_messages
        self._accept_response = accept_response
        #: the channels joined; None once it has left
        self._heard: tuple[bytes, ...] | None = ()
        #: those among them whose last messages are awaited
        self._asked: tuple[bytes, ...] = ()
        #: what was published while Redis is asked; None while it is not
        self._held: list[Bundle] | None = None
        self._question: Question | None = None
        #: what waits beside the outbox, in order, while the browser is too slow
        self._backlog: Backlog | None = None
        #: the websocket, while nothing stands between it and the hub
        self.direct: WebSocket | None = None
        self._watch = Watch(self) if view.groups_channel else None
        #: channels of groups that were left, and how much those who are away had missed by then
        self._left: dict[bytes, tuple[Absence, int]] = {}
        self._regrouping = False
        #: since the last loss of Redis it was found out in which groups the visitor is
        self._settled = self._watch is None

    @property
    def connected(self) -> bool:
        return not self._accept_response

    def start(self) -> None:
        """Called under the lock."""
        self._view.set_listener(self)
        if self.own is not None:
            self.own.mark = self._mark
        if self._watch is not None:
            self._loop.pubsub.subscribe(self._loop.hub.join(self._watch, self._watched))
        self._follow()
        if self._question is None:
            if self._watch is not None:
                self._ask(())
            else:
                self._catch_up((), ())

    def leave(self) -> None:
        """Called under the lock; once more where it has failed."""
        self._view.set_listener(None)
        if self._heard is None:
            return
        if self._question is not None:
            self._question.cancel()
            self._question = None
        if self.own is not None:
            self.own.mark = None
        empty = self._loop.hub.leave(self, self._heard)
        if self._watch is not None:
            empty += self._loop.hub.leave(self._watch, self._watched)
        self._heard = self._backlog = None
        self._loop.pubsub.unsubscribe(empty)

    def failed(self) -> None:
        """What it has got, or what it hears, is not known: it begins anew by coming back."""
        self._websocket.abort()

    def deliver(self, bundles: Sequence[Bundle]) -> None:
        if self._held is not None:
            self._held += bundles
        elif self.own:
            self._send([Bundle(self.own.others(bundle.publications)) for bundle in bundles])
        else:
            self._send(bundles)

    def drained(self) -> None:
        """The browser has taken what was in its outbox."""
        if self._backlog is not None:
            backlog, self._backlog = self._backlog, None
            self._send([Bundle([each for each in backlog.take() if each.channel in self._view.channels])])

    def rested(self) -> None:
        """``follow()`` has told already."""

    def resubscribed(self) -> None:
        """A loss is about to end: what is held is older than what will be fetched, and own messages may have got lost.

        Whoever was taken out of a group meanwhile must hear nothing of it, so all is held back until that is known.
        """
        try:
            if self._held:
                self._held.clear()
            if self.own:
                self.own.interrupted()
            if self._watch is not None:
                self._settled = False
                if self._question is None:
                    self._ask(self._asked)
        except Exception as error:
            self._loop.hub.failed(error, self.failed)

    def follow(self) -> None:
        """The view's channels have changed; where that fails, the old ones must not be heard any longer."""
        with self._loop.runtime.lock:
            try:
                self._follow()
            except Exception:
                self.failed()
                raise

    # inside

    def _send(self, bundles: Sequence[Bundle]) -> None:
        if self._backlog is not None:
            self._defer([each for bundle in bundles for each in bundle.publications])
            return
        websocket = self._websocket
        data = frames_of(bundles, websocket.deflater)
        if websocket.has_room(len(data)) or self._loop.new_backlog is None:
            websocket.write(data)
        else:
            self._send_some([each for bundle in bundles for each in bundle.publications])

    def _send_some(self, publications: list[Publication]) -> None:
        """As many as there is room for; the others wait."""
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

    def _mark(self, reached: Callable[[], None]) -> None:
        with self._loop.runtime.lock:
            if self._heard is not None:
                self._loop.pubsub.mark(reached)

    @property
    def _watched(self) -> Sequence[bytes]:
        return [self._view.groups_channel] if self._view.groups_channel else []

    @property
    def _groups_keys(self) -> Sequence[bytes]:
        return self._view.groups_keys if self._watch is not None else ()

    def _follow(self) -> None:
        if self._heard is None:
            return
        before, after = self._heard, self._view.channels
        joined = [each for each in after if each not in before]
        hub, pubsub = self._loop.hub, self._loop.pubsub
        left = [each for each in before if each not in after]
        if self._regrouping:
            self._may_come_back(left)
        pubsub.unsubscribe(hub.leave(self, left))
        self._forget(left)
        self._heard = after
        pubsub.subscribe(hub.join(self, joined))
        unknown = {each for each in joined if self._has_missed(each)}
        if unknown:
            self._ask(tuple(each for each in after if each in unknown or each in self._asked))

    def _forget(self, left: Sequence[bytes]) -> None:
        """Whoever comes back to a channel begins anew there."""
        if self._held:
            self._held = [each for each in self._held if each.channel not in left]
        if self._backlog is not None:
            self._backlog.forget(left)
        if self.own:
            self.own.interrupted(left)

    def _regroup(self, change: Callable[..., bool], *values: bytes | None) -> bool:
        self._regrouping = True
        try:
            return change(*values)
        finally:
            self._regrouping = False

    def _may_come_back(self, left: Sequence[bytes]) -> None:
        """Who leaves a group and joins it again at once (``clear()``, ``add()``) goes on, if nothing was missed."""
        lasting = {channel: each for channel, each in self._left.items() if each[0].lasts}
        held = {each.channel for each in self._held or ()}
        for channel in left:
            if channel not in self._asked and channel not in held and self._backlog is None:
                absence = self._loop.absences.begin(channel, self._loop.runtime.ticks)
                lasting[channel] = absence, absence.missed
        self._left = lasting

    def _has_missed(self, channel: bytes) -> bool:
        absence, missed = self._left.pop(channel, (None, 0))
        return absence is None or not absence.lasts or absence.missed != missed

    def _ask(self, channels: tuple[bytes, ...]) -> None:
        """Read what was kept; what is published meanwhile is held back."""
        if self._question is not None:
            self._question.cancel()
        if self._held is None:
            self._held, self.direct = [], None
        self._asked = channels
        self._question = self._loop.pubsub.fetch([*channels, *self._groups_keys], partial(self._fetched, channels))

    def _fetched(self, channels: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        try:
            self._question = None
            if self._watch is not None:
                self._follow_groups(values[-2], values[-1])
            # else there are more channels now, and all are asked again; or groups_changed() goes on
            if self._question is None and (self._settled or self.connected):
                self._asked = ()
                self._catch_up(channels, values)
        except Exception as error:
            self._loop.hub.failed(error, self.failed)

    def _follow_groups(self, stamp: bytes | None, update: bytes | None) -> None:
        if self._settled:
            self._regroup(self._view.regroup, update)
        else:
            self._settled = self._regroup(self._view.settle_groups, stamp, update)

    def _catch_up(self, channels: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Send what was kept, then what was published meanwhile, each once."""
        response, self._accept_response = self._accept_response, b""
        if response and self._view.send_kept is not None:
            self._websocket.write(response)
            self._loop.runtime.spawn(self._let_view_send_kept)
            return
        held = self._take_held()
        live = {(each.channel, each.payload) for each in held}
        kept = [
            self._frame(Publication(channel, value))
            for channel, value in zip(channels, values, strict=False)
            if value and channel in self._view.channels and (channel, value) not in live
        ]
        self._write_first([response, *kept], held)

    def _write_first(self, frames: list[bytes], held: list[Publication]) -> None:
        """In one piece, unless what is held has to wait behind others."""
        others = self.own.others(held) if self.own else held
        if self._backlog is None:
            frames += [self._frame(each) for each in others]
        else:
            self._backlog.add(others)
        self._websocket.write(b"".join(frames))

    def _let_view_send_kept(self) -> None:
        send_kept = self._view.send_kept
        assert send_kept is not None
        if send_or_close(self._loop, self._websocket, partial(send_kept, self._websocket)):
            with self._loop.runtime.lock:
                try:
                    self._write_first([], self._take_held())
                except Exception as error:
                    self._loop.hub.failed(error, self.failed)

    def _take_held(self) -> list[Publication]:
        held, self._held = self._held or (), None
        deflater = self._websocket.deflater
        if deflater is None or deflater.shared:
            self.direct = self._websocket
        return [each for bundle in held for each in bundle.publications if each.channel in self._view.channels]

    def _frame(self, publication: Publication) -> bytes:
        return publication.frame_for(self._websocket.deflater)

    def groups_changed(self, update: bytes) -> None:
        """Told by the watch."""
        # an answer that is on its way brings the same
        if self._question is None:
            self._settled = self._regroup(self._view.regroup, update)
            if self._settled and self._question is None and not self.connected:
                self._ask(tuple(each for each in self._heard or () if each in self._asked))


class Watch:
    """A member of the hub that hears what is not for the browser."""

    __slots__ = ("_listener",)
    direct = own = None
    control = True

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def failed(self) -> None:
        self._listener.failed()

    def deliver(self, bundles: Sequence[Bundle]) -> None:
        self._listener.groups_changed(bundles[-1].publications[-1].payload)


def send_or_close(loop: Shared, websocket: WebSocket, send: Callable[[], None]) -> bool:
    """Call code of the site's; whether it worked."""
    try:
        with serving_browser():
            send()
        return True
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        code, reason = CloseCode.TRY_AGAIN_LATER, "Redis is not available"
        if websocket.open:
            logger.warning("a subscriber cannot read from Redis, its websocket is closed: %s", error)
    except Exception:
        code, reason = CloseCode.INTERNAL_ERROR, "server error"
        logger.exception("a subscriber failed")
    with loop.runtime.lock:
        websocket.close(code, reason)
    return False
