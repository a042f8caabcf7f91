"""Every way in which the server closes a websocket: the code, the reason, and what ``WS4Redis`` does then."""

from __future__ import annotations

from typing import NamedTuple

from ws4redis.protocol.frames import CloseCode

#: how ``WS4Redis`` comes back after a close; the delay is random where it is a range
SOON, SPREAD, LATE, NEVER = "within 1 s", "within 7 s", "after 30 s", "never"


class Close(NamedTuple):
    """A row of the table: ``connection.close(*PING_TIMEOUT.frame)``."""

    code: CloseCode
    #: what the close frame says; empty where the code says it all, or where the protocol says what was wrong
    reason: str
    meaning: str
    #: one of the four above
    client: str

    @property
    def frame(self) -> tuple[int, str]:
        """The code and the reason."""
        return self.code, self.reason


NORMAL = Close(
    CloseCode.NORMAL, "", "Code of the site closed it. Or the answer to a client that closes without a code.", SOON
)
GOING_AWAY = Close(CloseCode.GOING_AWAY, "", "uWSGI is stopped.", SPREAD)
PING_TIMEOUT = Close(CloseCode.GOING_AWAY, "ping timeout", "Nothing came for 60 seconds, no pong either.", SPREAD)
PROTOCOL_ERROR = Close(CloseCode.PROTOCOL_ERROR, "", "What the client sent breaks the websocket protocol.", NEVER)
INVALID_DATA = Close(
    CloseCode.INVALID_DATA, "", "Text that is not UTF-8, or a message that is not compressed as agreed.", NEVER
)
RATE_LIMIT = Close(
    CloseCode.POLICY_VIOLATION,
    "rate limit exceeded",
    "More messages or bytes than `WS4REDIS_MAX_MESSAGES_PER_SECOND` and `WS4REDIS_MAX_BYTES_PER_SECOND` allow.",
    LATE,
)
TOO_MANY_FRAGMENTS = Close(
    CloseCode.POLICY_VIOLATION, "message has too many fragments", "A message in too many pieces.", LATE
)
MESSAGE_TOO_BIG = Close(
    CloseCode.MESSAGE_TOO_BIG,
    "",
    "A message is larger than `WS4REDIS_MAX_MESSAGE_SIZE`, also when decompressed.",
    NEVER,
)
SERVER_ERROR = Close(
    CloseCode.INTERNAL_ERROR, "server error", "The subscriber failed. The log has the traceback.", SOON
)
SERVICE_RESTART = Close(CloseCode.SERVICE_RESTART, "", "The worker ends, and others or a new one will serve.", SPREAD)
TOO_SLOW = Close(
    CloseCode.TRY_AGAIN_LATER,
    "too slow",
    "The client reads too slowly (see `WS4REDIS_SLOW_BROWSER`), or not at all for 30 seconds.",
    SPREAD,
)
REDIS_UNAVAILABLE = Close(
    CloseCode.TRY_AGAIN_LATER,
    "Redis is not available",
    "A message of the client could not be published, or the subscriber could not read from Redis.",
    SPREAD,
)

#: all rows by name, in the order of their codes
TABLE: dict[str, Close] = {name: row for name, row in list(globals().items()) if isinstance(row, Close)}
