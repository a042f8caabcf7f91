"""Logging of upgrades, with session keys shortened."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.utils.log import RequireDebugTrue

from ws4redis.auth.identity import identity_once
from ws4redis.core.channels import escaped
from ws4redis.core.deprecated import advice
from ws4redis.exceptions import RedisIsAway

if TYPE_CHECKING:
    from ws4redis.subscriber import RedisSubscriber

logger = logging.getLogger("django.request")


def printable(text: str) -> str:
    """The text as one line of a log."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def log_opening(request: HttpRequest, websocket: object) -> None:
    logger.debug("websocket %x opens on %r", id(websocket), request.path_info)


def log_rejection(error: Exception, status: int) -> None:
    """Log what somebody has to know; the access log has all rejections."""
    if status == 500:
        logger.error("websocket rejected with 500%s", advice(error), exc_info=error)
    elif isinstance(error, RedisIsAway):
        # the log has the loss of Redis already
        logger.info("websocket rejected with 503: %s", error)
    elif status not in (400, 426):
        logger.warning("websocket rejected with %s: %s", status, printable(str(error)))


def log_channels(request: HttpRequest, subscriber: RedisSubscriber) -> None:
    """Help to find out why nothing arrives; a session key is as good as a password, so only its beginning is shown."""
    if not _is_read(logger, logging.INFO):
        return
    key = escaped(identity_once(request).session_key)

    def shown(names: Iterable[str]) -> list[str]:
        return sorted(name.replace(key, f"{key[:4]}...") if key else name for name in names)

    logger.info(
        "websocket on %r subscribes to %s and publishes to %s",
        request.path_info,
        shown(name.decode() for name in subscriber._subscription.channels),
        shown(subscriber._publishers),
    )


def _is_read(logger: logging.Logger, level: int) -> bool:
    """Whether there is a handler for such lines.

    By Django's default a site in production has none: ``console`` is for DEBUG. A line that goes nowhere would be a
    seventh of what a new websocket costs.
    """
    if not logger.isEnabledFor(level):
        return False
    each: logging.Logger | None = logger
    while each is not None:
        for handler in each.handlers:
            if handler.level <= level and not _is_asleep(handler):
                return True
        each = each.parent if each.propagate else None
    return False


def _is_asleep(handler: logging.Handler) -> bool:
    return any(isinstance(each, RequireDebugTrue) for each in handler.filters) and not django_settings.DEBUG
