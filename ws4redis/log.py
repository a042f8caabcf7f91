"""What a log is told of a visitor."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.utils.log import RequireDebugTrue

from ws4redis.channels import escaped, identity_of

if TYPE_CHECKING:
    from ws4redis.subscriber import RedisSubscriber

logger = logging.getLogger("django.request")


def printable(text: str) -> str:
    """One line of a log, whatever a visitor calls himself."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def log_channels(request: HttpRequest, subscriber: RedisSubscriber) -> None:
    """For whoever asks why nothing arrives; a session key is as good as a password, so only its beginning is told."""
    if not _is_read(logger, logging.INFO):
        return
    key = escaped(identity_of(request).session_key)

    def shown(names: Iterable[str]) -> list[str]:
        return sorted(name.replace(key, f"{key[:4]}...") if key else name for name in names)

    logger.info(
        "websocket on %r hears %s and publishes to %s",
        request.path_info,
        shown(name.decode() for name in subscriber._subscription.channels),
        shown(subscriber._publishers),
    )


def _is_read(logger: logging.Logger, level: int) -> bool:
    """Whether there is a handler for such lines.

    As Django sets its log up, a site in production has none: ``console`` is for DEBUG. A line that nobody reads would
    be a seventh of what a new websocket costs.
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
