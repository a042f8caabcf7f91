"""Three ways in which an endpoint takes the client's messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from ws4redis.exceptions import WebSocketError
from ws4redis.loop.endpoint import Taking

if TYPE_CHECKING:
    from ws4redis.loop.connection import Connection
    from ws4redis.runtime.port import Event

#: what may wait for an endpoint that pulls messages; the size is in bytes or characters
_MAX_MESSAGES = 64
_MAX_SIZE = 1 << 18


class Inbox:
    """One for each connection; its methods are called in the loop."""

    __slots__ = ()

    #: messages are being handled, so ``on_close`` must wait for them
    busy = False

    def put(self, connection: Connection, messages: list[Any]) -> None:
        raise NotImplementedError

    def go_on(self, connection: Connection) -> None:
        """Called when the client is accepted, and at each check."""

    def closed(self) -> None:
        """No message follows."""

    def take(self, connection: Connection) -> tuple[Any, ...] | Event:
        """The next message, or what is set when there is one or the websocket is closed.

        Raises:
            TypeError: this endpoint is given its messages.
            WebSocketError: no message follows.
        """
        raise TypeError("This endpoint is given its messages: set taking = Taking.PULLED to receive() them.")


class Dispatcher(Inbox):
    """Gives the endpoint one message after the other, in a greenlet that ends with the last one."""

    __slots__ = ("_messages", "busy")

    def __init__(self) -> None:
        self._messages: tuple[Any, ...] = ()
        self.busy = False

    def put(self, connection: Connection, messages: list[Any]) -> None:
        self._messages = (*self._messages, *messages)
        # what is sent before the client is accepted waits: it may be rejected
        if self.busy or not connection.accepted:
            connection.pause()
        else:
            self._start(connection)

    def go_on(self, connection: Connection) -> None:
        if self._messages and not self.busy and connection.accepted:
            self._start(connection)

    def _start(self, connection: Connection) -> None:
        connection.spawn(self._run, connection)
        self.busy = True

    def _run(self, connection: Connection) -> None:
        try:
            while messages := self._take(connection):
                if not connection.attempt(partial(_handle, connection, messages)):
                    self._drop(connection)
                    return
        except BaseException:
            # else the client would wait for good
            self.busy = False
            connection.abort()
            raise

    def _take(self, connection: Connection) -> tuple[Any, ...]:
        with connection.lock:
            messages, self._messages = self._messages, ()
            if not messages:
                self._idle(connection)
            return messages

    def _drop(self, connection: Connection) -> None:
        with connection.lock:
            self._messages = ()
            self._idle(connection)

    def _idle(self, connection: Connection) -> None:
        self.busy = False
        connection.handled()


class PullInbox(Inbox):
    """Keeps messages until the endpoint receives them; reading pauses while it is full."""

    __slots__ = ("_closed", "_messages", "_size", "_waiting")

    def __init__(self) -> None:
        self._messages: deque[tuple[Any, int]] = deque()
        self._size = 0
        self._closed = False
        #: set when there is something to receive
        self._waiting: Event | None = None

    def put(self, connection: Connection, messages: list[Any]) -> None:
        for message in messages:
            size = len(message)
            self._messages.append((message, size))
            self._size += size
        if self._is_full():
            connection.pause()
        self._wake()

    def closed(self) -> None:
        self._closed = True
        self._wake()

    def take(self, connection: Connection) -> tuple[Any, ...] | Event:
        if self._messages:
            message, size = self._messages.popleft()
            self._size -= size
            if not self._is_full():
                connection.resume()
            return (message,)
        if self._closed:
            raise WebSocketError("the websocket is closed")
        self._waiting = self._waiting or connection.new_event()
        return self._waiting

    def _is_full(self) -> bool:
        return len(self._messages) >= _MAX_MESSAGES or self._size >= _MAX_SIZE

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None


class HandOn(Inbox):
    """Calls the endpoint from the loop; it must not block."""

    __slots__ = ("_early",)

    def __init__(self) -> None:
        #: what was sent before the client was accepted
        self._early: tuple[Any, ...] = ()

    def put(self, connection: Connection, messages: list[Any]) -> None:
        if connection.accepted:
            connection.attempt(partial(_handle, connection, messages))
        else:
            self._early = (*self._early, *messages)
            connection.pause()

    def go_on(self, connection: Connection) -> None:
        if self._early and connection.accepted:
            early, self._early = self._early, ()
            connection.attempt(partial(_handle, connection, early))
            connection.resume()


def _handle(connection: Connection, messages: Iterable[Any]) -> None:
    for message in messages:
        connection.endpoint.on_message(message)


_INBOXES: dict[Taking, type[Inbox]] = {
    Taking.DISPATCHED: Dispatcher,
    Taking.PULLED: PullInbox,
    Taking.HANDED_ON: HandOn,
}


def inbox_for(taking: Taking) -> Inbox:
    return _INBOXES[taking]()
