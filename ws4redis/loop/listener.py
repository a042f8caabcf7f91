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
        "_loop",
        "_question",
        "_view",
        "_watch",
        "_websocket",
        "direct",
        "own",
    )

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

    @property
    def connected(self) -> bool:
        return not self._accept_response

    def start(self) -> None:
        """Called under the lock."""
        self._view.set_listener(self)
        if self._watch is not None:
            self._loop.pubsub.subscribe(self._loop.hub.join(self._watch, self._watched))
        self._follow()
        if self._question is None:
            if self._watch is not None:
                self._ask(())
            else:
                self._catch_up((), ())

    def leave(self) -> None:
        """Called under the lock."""
        self._view.set_listener(None)
        if self._heard is None:
            return
        if self._question is not None:
            self._question.cancel()
            self._question = None
        empty = self._loop.hub.leave(self, self._heard)
        self._heard = None
        if self._watch is not None:
            empty += self._loop.hub.leave(self._watch, self._watched)
        self._loop.pubsub.unsubscribe(empty)

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
        """A loss is over: what is held is older than what will be fetched, and own messages may never come back."""
        if self._held:
            self._held.clear()
        if self.own:
            self.own.clear()
        if self._watch is not None and self._question is None:
            self._ask(())

    def follow(self) -> None:
        """The view's channels have changed."""
        with self._loop.runtime.lock:
            self._follow()

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

    @property
    def _watched(self) -> Sequence[bytes]:
        return [self._view.groups_channel] if self._view.groups_channel else []

    def _follow(self) -> None:
        if self._heard is None:
            return
        before, after = self._heard, self._view.channels
        joined = [each for each in after if each not in before]
        hub, pubsub = self._loop.hub, self._loop.pubsub
        left = [each for each in before if each not in after]
        pubsub.unsubscribe(hub.leave(self, left))
        self._forget(left)
        pubsub.subscribe(hub.join(self, joined))
        self._heard = after
        if joined:
            self._ask(tuple(each for each in after if each in joined or each in self._asked))

    def _forget(self, left: Sequence[bytes]) -> None:
        """Whoever comes back to a channel begins anew there."""
        if self._held:
            self._held = [each for each in self._held if each.publications[0].channel not in left]
        if self.own:
            self.own.forget_channels(left)

    def _ask(self, channels: tuple[bytes, ...]) -> None:
        """Read what was kept; what is published meanwhile is held back."""
        if self._question is not None:
            self._question.cancel()
        if self._held is None:
            self._held, self.direct = [], None
        self._asked = channels
        self._question = self._loop.pubsub.fetch([*channels, *self._watched], partial(self._fetched, channels))

    def _fetched(self, channels: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        self._question = None
        if self._watch is not None:
            self._view.regroup(values[-1])
        if self._question is None:  # else there are more channels now, and all are asked again
            self._asked = ()
            self._catch_up(channels, values)

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
        self._websocket.write(b"".join([response, *kept, *self._others(held)]))

    def _let_view_send_kept(self) -> None:
        send_kept = self._view.send_kept
        assert send_kept is not None
        if send_or_close(self._loop, self._websocket, partial(send_kept, self._websocket)):
            with self._loop.runtime.lock:
                self._websocket.write(b"".join(self._others(self._take_held())))

    def _take_held(self) -> list[Publication]:
        held, self._held = self._held or (), None
        deflater = self._websocket.deflater
        if deflater is None or deflater.shared:
            self.direct = self._websocket
        return [each for bundle in held for each in bundle.publications if each.channel in self._view.channels]

    def _others(self, publications: list[Publication]) -> list[bytes]:
        return [self._frame(each) for each in (self.own.others(publications) if self.own else publications)]

    def _frame(self, publication: Publication) -> bytes:
        return publication.frame_for(self._websocket.deflater)

    def groups_changed(self, update: bytes) -> None:
        """Told by the watch."""
        # an answer that is on its way brings the same
        if self._question is None:
            self._view.regroup(update)


class Watch:
    """A member of the hub that hears what is not for the browser."""

    __slots__ = ("_listener",)
    direct = own = None

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

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
