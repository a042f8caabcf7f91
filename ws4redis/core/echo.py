"""Suppressing echo: a client does not get back what it has published itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Protocol

from ws4redis.core.publication import Publication

#: messages that one client waits for
_MAX_EXPECTED = 10_000


class Sent:
    """One message that a client publishes."""

    __slots__ = ("doubtful", "under_way")

    def __init__(self) -> None:
        #: Redis has not yet replied
        self.under_way = True
        #: the subscription was interrupted, so that what Redis has published may never come back
        self.doubtful = False


class Stream(Protocol):
    """Where the client's own messages come back."""

    def expecting(self) -> None:
        """The filter is not empty any more; nothing that it expects has come back before this returns."""

    def mark(self, reached: Callable[[], None]) -> None:
        """Call back at a point behind which nothing comes that was published before."""


class EchoFilter:
    """Messages that this client has published and that Redis will send back; each is dropped once.

    They are compared by content, because Redis carries no sender. Of two equal messages, one of them another client's,
    one arrives, either of them.

    Where the subscription is interrupted, a message may never come back, and an equal one of another client would be
    dropped for it. So what is doubtful is expected up to a mark in the stream, behind which it cannot come any more.
    """

    __slots__ = ("_doubtful", "_expected", "_lock", "_marking", "stream")

    def __init__(self) -> None:
        #: channel and message -> those that will come back, in order
        self._expected: dict[tuple[bytes, bytes], list[Sent]] = {}
        # publishing and delivering may be done by two threads
        self._lock = threading.Lock()
        #: set by the loop
        self.stream: Stream | None = None
        #: what is forgotten at the next mark but one, or at the next where none was asked for
        self._doubtful: set[Sent] = set()
        self._marking = False

    def __bool__(self) -> bool:
        return bool(self._expected)

    def expect(self, channel: bytes, payload: bytes, sent: Sent | None = None) -> None:
        """Drop this message when it comes back; where ``sent`` is given, ``published()`` must follow."""
        if sent is None:
            sent = Sent()
            sent.under_way = False
        with self._lock:
            waiting = self._expected.setdefault((channel, payload), [])
            waiting.append(sent)
            # what was expected first will never come
            if len(waiting) > _MAX_EXPECTED:
                del waiting[0]
            if len(self._expected) > _MAX_EXPECTED:
                del self._expected[next(iter(self._expected))]
        stream = self.stream
        if stream is not None:
            stream.expecting()

    def published(self, sent: Sent, sure: bool = True) -> None:
        """Redis has replied; where ``sure`` is False, it is not known whether it did."""
        with self._lock:
            sent.under_way = False
            sent.doubtful |= not sure
        if sent.doubtful:
            self._forget_later({sent})

    def forget(self, channel: bytes, payload: bytes, sent: Sent | None = None) -> bool:
        """Expect the message once less, the first or ``sent`` itself; False where it is not expected."""
        key = (channel, payload)
        with self._lock:
            waiting = self._expected.get(key, ())
            if not waiting or (sent is not None and sent not in waiting):
                return False
            waiting.remove(waiting[0] if sent is None else sent)
            if not waiting:
                del self._expected[key]
            return True

    def interrupted(self, channels: Collection[bytes] | None = None) -> None:
        """The stream of these channels was interrupted; None means all."""
        with self._lock:
            concerned = {
                each
                for key, waiting in self._expected.items()
                if channels is None or key[0] in channels
                for each in waiting
            }
            for each in concerned:
                each.doubtful = True
            ended = {each for each in concerned if not each.under_way}
        if ended:
            self._forget_later(ended)

    def without_own(self, publications: Iterable[Publication]) -> list[Publication]:
        """The publications that are not this client's."""
        return [each for each in publications if not self.forget(each.channel, each.payload)]

    def clear(self) -> None:
        self._expected.clear()

    def _forget_later(self, sent: set[Sent]) -> None:
        if self.stream is None:
            self._forget(sent)
            return
        with self._lock:
            self._doubtful |= sent
            asked, self._marking = self._marking, True
        if not asked:
            self._ask_for_mark()

    def _ask_for_mark(self) -> None:
        assert self.stream is not None
        sent, self._doubtful = self._doubtful, set()
        self.stream.mark(partial(self._reached, sent))

    def _reached(self, sent: set[Sent]) -> None:
        self._forget(sent)
        with self._lock:
            self._marking = bool(self._doubtful)
        if self._marking:
            self._ask_for_mark()

    def _forget(self, sent: set[Sent]) -> None:
        with self._lock:
            left = {key: [each for each in waiting if each not in sent] for key, waiting in self._expected.items()}
            self._expected = {key: waiting for key, waiting in left.items() if waiting}
