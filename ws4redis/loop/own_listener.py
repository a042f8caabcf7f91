"""What one browser hears whose subscriber reads from Redis itself, as all of them once did."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ws4redis.loop.listener import send_or_close
from ws4redis.publication import Publication
from ws4redis.redis_store import RedisMessage

if TYPE_CHECKING:
    from ws4redis.loop.ports import Shared, Source, View
    from ws4redis.loop.runtime import Watcher
    from ws4redis.websocket import WebSocket


class OwnListener:
    """Sends a browser what its source reads; does the same as ``Listener``, without the hub.

    Args:
        source: what is read, whenever its descriptor is ready.
        accept_response: the HTTP answer that makes it a websocket.
    """

    def __init__(self, loop: Shared, websocket: WebSocket, view: View, source: Source, accept_response: bytes) -> None:
        self._loop = loop
        self._websocket = websocket
        self._view = view
        self._source = source
        self._accept_response = accept_response
        self._watcher: Watcher | None = None
        self._left = False
        #: a greenlet reads or is about to; True until it waits for the first time
        self._reading = True

    @property
    def connected(self) -> bool:
        return not self._accept_response

    def start(self) -> None:
        response, self._accept_response = self._accept_response, b""
        self._websocket.write(response)
        self._loop.runtime.spawn(self._begin)

    def leave(self) -> None:
        self._left = True
        self._forget_descriptor()

    def drained(self) -> None:
        """A browser that is too slow is closed."""

    def rested(self) -> None:
        """What the browser said may have made the source subscribe at last."""
        if self._watcher is None and not self._reading:
            self._loop.runtime.spawn(self._works, self._wait)

    def resubscribed(self) -> None:
        """That is another subscription."""

    # inside

    def _begin(self) -> None:
        send_kept = self._view.send_kept
        if send_kept is None or self._works(partial(send_kept, self._websocket)):
            self._go_on()

    def _wait(self) -> None:
        """redis-py may have connected again, to another descriptor."""
        with self._loop.runtime.lock:
            self._forget_descriptor()
            self._reading = False
            descriptor = None if self._left else self._source.get_file_descriptor()
            if descriptor:
                self._watcher = self._loop.runtime.watch_readable(descriptor)
                self._watcher.start(self._readable)

    def _readable(self) -> None:
        assert self._watcher is not None
        self._watcher.stop()
        self._reading = True
        self._loop.runtime.spawn(self._read)

    def _read(self) -> None:
        if self._works(self._read_one):
            self._go_on()

    def _go_on(self) -> None:
        """Read what has been received, then wait for more."""
        if self._works(self._read_all):
            self._works(self._wait)

    def _read_one(self) -> None:
        self._tell(self._source.parse_response())

    def _read_all(self) -> None:
        while not self._left and self._source.has_more():
            self._read_one()

    def _tell(self, reply: Any) -> None:
        payload = RedisMessage(reply)
        if not payload:
            return
        publication = Publication(reply[1], payload)
        own = self._view.own_messages
        if own and own.forget(publication.channel, publication.payload):
            return
        with self._loop.runtime.lock:
            self._websocket.write(publication.frame_for(self._websocket.deflater))

    def _works(self, read: Any) -> bool:
        return not self._left and send_or_close(self._loop, self._websocket, read)

    def _forget_descriptor(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
