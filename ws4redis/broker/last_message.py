"""Store each channel's last message and publish it, in one step of Redis (EVALSHA)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from redis import Redis
from redis.exceptions import ReadOnlyError

from ws4redis.broker.scripts import Script
from ws4redis.core.metrics import counters

logger = logging.getLogger("ws4redis")

_KEEP_AND_PUBLISH = Script("keep_and_publish")


def keep_and_publish(
    client: Redis, channels: Sequence[str], message: bytes, seconds: int, spares_others: bool
) -> list[int]:
    """Store a message as the last one of each channel and publish it there.

    Args:
        seconds: until it expires; 0 stores nothing, and deletes an earlier last message.
        spares_others: a key that is no string, or never expires, is no last message: it is left as it is.

    Returns:
        PUBLISH's count for each channel.
    """
    try:
        answer = _KEEP_AND_PUBLISH(client, channels, message, seconds, int(spares_others))
    except ReadOnlyError as error:
        keeping.was_refused(str(error))
        raise
    refused, spared = answer[:2]
    if spared:
        keeping.has_spared(_text(spared))
    if refused:
        keeping.was_refused(_text(refused))
    elif seconds and not spared and keeping.refused is not None:
        keeping.works_again()
    return [int(count) for count in answer[2:]]


class Keeping:
    """Whether Redis stores last messages, as far as this process has tried; each change is logged once."""

    def __init__(self) -> None:
        #: the last error of Redis; None where it has worked since
        self.refused: str | None = None
        self._has_logged_others = False
        self._lock = threading.Lock()

    def was_refused(self, reason: str) -> None:
        counters["not kept: refused by Redis"] += 1
        with self._lock:
            is_new, self.refused = self.refused is None, reason
        if is_new:
            logger.warning("Redis cannot store last messages: %s", reason)

    def works_again(self) -> None:
        with self._lock:
            is_new, self.refused = self.refused is not None, None
        if is_new:
            logger.warning("Redis stores last messages again")

    def has_spared(self, channel: str) -> None:
        counters["not kept: the key is not ours"] += 1
        with self._lock:
            is_new, self._has_logged_others = not self._has_logged_others, True
        if is_new:
            logger.warning(
                "the key %.200r is no last message, so a client's message there is delivered and not stored: "
                "set WS4REDIS_PREFIX (logged once)",
                channel,
            )


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")


#: of this process
keeping = Keeping()
