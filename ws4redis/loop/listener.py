"""What one browser hears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ws4redis.loop.hub import Bundle
from ws4redis.publication import payload_frame

if TYPE_CHECKING:
    from ws4redis.loop.connection import Loop, View
    from ws4redis.loop.pubsub import Question
    from ws4redis.websocket import WebSocket


class Listener:
    """Sends a browser what is published on its view's channels; a member of the hub.

    What is subscribed is first held back, until Redis has confirmed it and what was kept has been read. Until then a
    new browser does not even know that it is connected.

    Args:
        accept_response: the HTTP answer that makes it a websocket.
    """

    __slots__ = ("_accept_response", "_held", "_loop", "_question", "_view", "_watch", "_websocket")

    def __init__(self, loop: Loop, websocket: WebSocket, view: View, accept_response: bytes) -> None:
        self._loop = loop
        self._websocket = websocket
        self._view = view
        self._accept_response = accept_response
        #: what was published while Redis is asked; None while it is not
        self._held: list[Bundle] | None = None
        self._question: Question | None = None
        self._watch = Watch(self._groups_changed) if view.groups_channel else None

    @property
    def connected(self) -> bool:
        return not self._accept_response

    # all of these are called under the lock

    def start(self) -> None:
        loop, channels = self._loop, self._view.channels
        if self._watch is not None:
            loop.pubsub.subscribe(loop.hub.join(self._watch, self._watched))
        if channels or self._watch is not None:
            self._listen(channels)
        else:
            self._catch_up((), ())

    def leave(self) -> None:
        if self._question is not None:
            self._question.cancel()
            self._question = None
        loop = self._loop
        empty = loop.hub.leave(self, self._view.channels)
        if self._watch is not None:
            empty += loop.hub.leave(self._watch, self._watched)
        loop.pubsub.unsubscribe(empty)

    def deliver(self, bundles: Sequence[Bundle]) -> None:
        if self._held is not None:
            self._held += bundles
            return
        own = self._view.own_messages
        if own:
            data = b"".join([each.frame for bundle in bundles for each in own.others(bundle.publications)])
        elif len(bundles) == 1:
            data = bundles[0].frames
        else:
            data = b"".join([bundle.frames for bundle in bundles])
        if data:
            self._websocket.write(data)

    def resubscribed(self) -> None:
        """A loss is over: what is held is older than what will be fetched, and own messages may never come back."""
        if self._held:
            self._held.clear()
        if self._view.own_messages:
            self._view.own_messages.clear()
        if self._watch is not None and self._question is None:
            self._listen(())

    # inside

    @property
    def _watched(self) -> Sequence[bytes]:
        return [self._view.groups_channel] if self._view.groups_channel else []

    def _listen(self, channels: Sequence[bytes]) -> None:
        """Subscribe to further channels, and read what was kept on them."""
        if self._held is None:
            self._held = []
        loop = self._loop
        loop.pubsub.subscribe(loop.hub.join(self, channels))
        self._question = loop.pubsub.fetch([*channels, *self._watched], partial(self._fetched, channels))

    def _fetched(self, channels: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        self._question = None
        if self._watch is not None and (joined := self._regroup(values[-1])):
            self._listen([each for each in self._view.channels if each in joined or each in channels])
        else:
            self._catch_up(channels, values)

    def _catch_up(self, channels: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Send what was kept, then what was published meanwhile, each once."""
        current, own = self._view.channels, self._view.own_messages
        held = [each for bundle in self._held or () for each in bundle.publications if each.channel in current]
        self._held = None
        live = {(each.channel, each.payload) for each in held}
        kept = [
            payload_frame(value)
            for channel, value in zip(channels, values, strict=False)
            if value is not None and channel in current and (channel, value) not in live
        ]
        if own:
            held = own.others(held)
        self._websocket.write(b"".join([self._accept_response, *kept, *(each.frame for each in held)]))
        self._accept_response = b""

    def _groups_changed(self, update: bytes) -> None:
        # an answer that is on its way brings the same
        if self._question is None and (joined := self._regroup(update)):
            self._listen(joined)

    def _regroup(self, update: bytes | None) -> list[bytes]:
        """Leave what the view no longer hears; returns what it hears anew."""
        before = self._view.channels
        self._view.regroup(update)
        after = self._view.channels
        if after is before:
            return []
        self._loop.pubsub.unsubscribe(self._loop.hub.leave(self, [each for each in before if each not in after]))
        return [each for each in after if each not in before]


class Watch:
    """A member of the hub that hears what is not for the browser."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[bytes], None]) -> None:
        self._callback = callback

    def deliver(self, bundles: Sequence[Bundle]) -> None:
        self._callback(bundles[-1].publications[-1].payload)
