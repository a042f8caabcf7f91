"""The outbox: what the kernel has not yet taken for one client."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class OutboxFull(Exception):
    """There is no room for more."""


class Outbox:
    """A bounded send buffer.

    Chunks are shared: the same bytes may wait for a thousand slow clients and exist once.

    Args:
        limit: the bytes that may wait.
        now: the current tick.
    """

    __slots__ = ("_chunks", "_limit", "_sent", "_size", "moved")

    def __init__(self, limit: int, now: int = 0) -> None:
        self._limit = limit
        #: the tick in which the kernel has taken something last; updated by the owner
        self.moved = now
        self._chunks: deque[bytes] = deque()
        self._size = 0
        #: bytes of the first chunk that are gone
        self._sent = 0

    def __len__(self) -> int:
        return self._size

    def put(self, data: bytes, sent: int = 0) -> None:
        """Let ``data`` wait, of which ``sent`` bytes are gone already (only where nothing else waits).

        Raises:
            OutboxFull: there is no room. What was waiting still is; of ``data`` only what is begun, for it must end.
        """
        full = self._size + len(data) - sent > self._limit
        if sent or not full:
            if not self._chunks:
                self._sent = sent
            self._chunks.append(data)
            self._size += len(data) - sent
        if full:
            raise OutboxFull

    def cut(self, final: bytes) -> None:
        """Drop what is not begun, and let ``final`` follow what is; regardless of the limit."""
        begun = [self._chunks[0]] if self._sent else []
        self._chunks = deque([*begun, final])
        self._size = sum(map(len, self._chunks)) - self._sent

    def flush(self, send: Callable[[memoryview], int]) -> None:
        """Send until all is gone or ``send`` raises ``BlockingIOError``."""
        try:
            while self._chunks:
                chunk = self._chunks[0]
                count = send(memoryview(chunk)[self._sent :])
                self._size -= count
                self._sent += count
                if self._sent == len(chunk):
                    self._chunks.popleft()
                    self._sent = 0
        except BlockingIOError:
            pass
