"""The site's own hooks: who may connect, and to which channels. They fail closed: an exception rejects."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

logger = logging.getLogger("ws4redis")

_warned: set[str] = set()

Hook = Callable[..., Any]


def hook(given: Any) -> Any:
    """The object that a setting names by its dotted path; anything else is returned as it is.

    Raises:
        ImportError: a dotted path that leads nowhere.
    """
    return import_string(given) if isinstance(given, str) else given


def allowed_channels(callback: Hook | None, request: HttpRequest, channels: list[str]) -> list[str]:
    """The URL's flags that the hook in ``WS4REDIS_ALLOWED_CHANNELS`` allows; all where there is no hook."""
    if callback is None:
        return channels
    allowed = callback(request, channels)
    if allowed is None:
        _warn_once(
            f"{_name(callback)} returned None, which leaves all requested channels allowed; let it return a list"
        )
        return channels
    return list(allowed)


def _name(callback: Hook) -> str:
    return f"{callback.__module__}.{callback.__qualname__}" if hasattr(callback, "__qualname__") else repr(callback)


def _warn_once(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        logger.warning("WS4REDIS_ALLOWED_CHANNELS: %s", text)
