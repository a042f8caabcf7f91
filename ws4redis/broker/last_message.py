"""Keep each channel's last message and publish it, in one step of Redis (EVALSHA)."""

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
    """Keep a message as the last one of each channel and publish it there.

    Args:
        seconds: how long it is kept; 0 keeps nothing, and deletes what was kept before.
        spares_others: a key that is no string, or never expires, is no kept message: it is left as it is.

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
    """Whether Redis keeps messages, as far as this process has tried; each change is logged once."""

    def __init__(self) -> None:
        #: what Redis said when it refused last; None where it has kept since
        self.refused: str | None = None
        self._has_told_of_others = False
        self._lock = threading.Lock()

    def was_refused(self, reason: str) -> None:
        counters["not kept: refused by Redis"] += 1
        with self._lock:
            is_new, self.refused = self.refused is None, reason
        if is_new:
            logger.warning("Redis cannot keep messages for newcomers: %s", reason)

    def works_again(self) -> None:
        with self._lock:
            is_new, self.refused = self.refused is not None, None
        if is_new:
            logger.warning("Redis keeps messages again")

    def has_spared(self, channel: str) -> None:
        counters["not kept: the key is not ours"] += 1
        with self._lock:
            is_new, self._has_told_of_others = not self._has_told_of_others, True
        if is_new:
            logger.warning(
                "the key %.200r is no kept message, so a browser's message there is delivered and not kept; "
                "set WS4REDIS_PREFIX (this is told once)",
                channel,
            )


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")


#: of this process
keeping = Keeping()
