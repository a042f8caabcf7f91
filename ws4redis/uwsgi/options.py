"""A check of uWSGI's options: do websockets work with them?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_NOT_A_PLAIN_SOCKET = "use http-socket or socket, behind a proxy where TLS is wanted"
_COUNTS_REQUESTS = "websockets do not count as requests, so workers that have some would be stopped"

#: options with which websockets cannot work, and what to do instead
_IMPOSSIBLE = {
    "https-socket": _NOT_A_PLAIN_SOCKET,
    "http11-socket": _NOT_A_PLAIN_SOCKET,
    "fastcgi-socket": _NOT_A_PLAIN_SOCKET,
    "scgi-socket": _NOT_A_PLAIN_SOCKET,
    "puwsgi-socket": _NOT_A_PLAIN_SOCKET,
    "suwsgi-socket": _NOT_A_PLAIN_SOCKET,
    "cheaper": _COUNTS_REQUESTS,
    "idle": _COUNTS_REQUESTS,
    "gevent-wait-for-hub": "the hub never ends while websockets are open, so the worker would not stop",
}

_LEAST_BUFFER_SIZE = 32768


class OptionReport(NamedTuple):
    """Sentences for the log: errors make websockets impossible, warnings name the line to add."""

    errors: list[str]
    warnings: list[str]


def check_options(options: Mapping[str, Any], patched_late: bool, python_in_venv: bool) -> OptionReport:
    """Check ``uwsgi.opt``.

    Args:
        patched_late: True where gevent had patched nothing when the websocket server was imported.
        python_in_venv: True where uWSGI runs inside a virtual environment's Python, as the wheel does.
    """
    errors = [f"'{name}': {advice}" for name, advice in _IMPOSSIBLE.items() if name in options]
    warnings = []
    if "gevent" not in options and _text(options.get("loop")) == "gevent":
        cores = _number(options.get("async")) or 100
        errors.append(f"'loop' starts gevent without threads: write gevent = {cores} in place of loop and async")
    elif "gevent" not in options:
        errors.append("'gevent' is missing: add gevent = 100")
    if "http" in options and "http-websockets" not in options:
        errors.append("'http' passes no websockets on: use http-socket instead")
    elif "http" in options:
        warnings.append("'http' drops websockets that are silent for 60 s: use http-socket instead")
    if patched_late:
        warnings.append("gevent patched the standard library late: add gevent-early-monkey-patch = true")
    if python_in_venv and "binary-path" not in options:
        warnings.append("uWSGI cannot reload from a virtual environment: add binary-path = $(VIRTUAL_ENV)/bin/python")
    if _number(options.get("buffer-size")) < _LEAST_BUFFER_SIZE:
        warnings.append(f"requests with many cookies are rejected: add buffer-size = {_LEAST_BUFFER_SIZE}")
    if "max-requests" in options:
        warnings.append("'max-requests' counts upgrades, and its end closes all websockets: use max-worker-lifetime")
    return OptionReport(errors, warnings)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
