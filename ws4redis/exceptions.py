"""The errors of ws4redis.

::

    InvalidHandshake (ValueError)       before the upgrade: an HTTP status
    ├── UpgradeRequired                 426
    └── HandshakeError                  400; also Django's BadHeaderError
        └── UpgradeRequiredError        426
    UpgradeRefused                      any other HTTP status before the upgrade
    WebSocketError (OSError)            after the upgrade: the wire is no longer usable
    └── FrameTooLargeException
    RedisUnavailable                    also redis-py's ConnectionError, which callers may already catch
    └── RedisIsAway                     known already: nothing was tried
"""

from __future__ import annotations

from django.http import BadHeaderError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ws4redis.protocol.errors import InvalidHandshake, UpgradeRequired

#: what redis-py raises where Redis is lost, or does not reply in time
REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)

#: what a subscriber's own reading raises then
READING_FAILED = (*REDIS_AWAY, OSError)

#: a name of django-websocket-redis
socket_error = OSError

__all__ = [
    "FrameTooLargeException",
    "HandshakeError",
    "InvalidHandshake",
    "RedisIsAway",
    "RedisUnavailable",
    "UpgradeRefused",
    "UpgradeRequired",
    "UpgradeRequiredError",
    "WebSocketError",
]


class WebSocketError(OSError):
    """The websocket is closed, or broke during the call."""


class FrameTooLargeException(WebSocketError):
    """A message is larger than ``WS4REDIS_MAX_MESSAGE_SIZE``."""


class HandshakeError(InvalidHandshake, BadHeaderError):
    """The request cannot become a websocket; for servers that check more than RFC 6455 asks."""


class UpgradeRequiredError(UpgradeRequired, HandshakeError):
    """The request asks for an unknown version of the protocol."""


class UpgradeRefused(Exception):
    """The client gets this HTTP status instead of a websocket, with the text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class RedisUnavailable(RedisConnectionError):
    """Redis did not reply within ``WS4REDIS_TIMEOUT``, or with an error, which the text quotes."""


class RedisIsAway(RedisUnavailable):
    """Redis has not replied for longer than ``WS4REDIS_TIMEOUT``, so nothing was tried."""
