"""The site's own hooks: who may connect, and to which channels. They fail closed: one that breaks rejects."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from ws4redis import settings

logger = logging.getLogger("django.request")

_warned: set[str] = set()


def hook(name: str) -> Callable[..., Any] | None:
    """The callable that this setting names, if any.

    Raises:
        ImportError: a dotted path that leads nowhere.
    """
    value = getattr(settings, name)
    if isinstance(value, str):
        value = import_string(value)
    return value  # type: ignore[no-any-return]


def allowed_channels(request: HttpRequest, channels: list[str]) -> list[str]:
    """What ``WS4REDIS_ALLOWED_CHANNELS`` leaves of the flags that the URL asks for."""
    callback = hook("WS4REDIS_ALLOWED_CHANNELS")
    if callback is None:
        return channels
    allowed = callback(request, channels)
    if allowed is None:
        _warn_once(
            f"{_name(callback)} returned None, which leaves all requested channels allowed; let it return a list"
        )
        return channels
    return list(allowed)


def _name(callback: Callable[..., Any]) -> str:
    return f"{callback.__module__}.{callback.__qualname__}" if hasattr(callback, "__qualname__") else repr(callback)


def _warn_once(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        logger.warning("WS4REDIS_ALLOWED_CHANNELS: %s", text)
