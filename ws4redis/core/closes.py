"""Why websockets are closed: the codes of RFC 6455, section 7.4.1, and what each means here."""

from __future__ import annotations

from typing import NamedTuple

from ws4redis.protocol.frames import CloseCode


class Close(NamedTuple):
    code: int
    reason: str


PING_TIMEOUT = Close(CloseCode.GOING_AWAY, "ping timeout")
RATE_LIMIT = Close(CloseCode.POLICY_VIOLATION, "rate limit exceeded")
SERVER_ERROR = Close(CloseCode.INTERNAL_ERROR, "server error")
REDIS_AWAY = Close(CloseCode.TRY_AGAIN_LATER, "Redis is not available")
