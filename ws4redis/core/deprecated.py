"""Names and idioms of django-websocket-redis with another meaning here, or none, and what to write instead."""

from __future__ import annotations

import inspect
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any, NamedTuple


class Historic(NamedTuple):
    """A name that modules still offer.

    Args:
        instead: what to use.
        find: returns what the name stands for now; None where it stands for nothing.
    """

    instead: str
    find: Callable[[], Any] | None = None


def imported(**paths: str) -> dict[str, Historic]:
    """Names that a module had from elsewhere, by their dotted paths there."""
    return {name: Historic(path, partial(resolve_name, path)) for name, path in paths.items()}


def historic_names(module: str, names: dict[str, Historic]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module (PEP 562)."""

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        instead, find = names[name]
        text = f"{module}.{name} is a name of django-websocket-redis; use {instead}"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        try:
            return find() if find is not None else _Nothing(text)
        except ImportError as error:
            raise ImportError(f"{text}: {error}") from error

    return get


class _Nothing:
    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(self._text)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(self._text)


def callers_level() -> int:
    """The ``stacklevel`` of the code outside this package that has led to a warning."""
    level, frame = 0, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("ws4redis."):
        level, frame = level + 1, frame.f_back
    return level


def advice(error: BaseException) -> str:
    """Advice on the code that has raised this; empty where nothing is known."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, TypeError) and "not callable" in str(error) and frames:
        for name in ("is_authenticated", "is_anonymous"):
            if f".{name}()" in (frames[-1].line or ""):
                return f": {name} is an attribute since Django 1.10, write it without parentheses"
    return ""
