"""The flags of a websocket's URL."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import parse_qsl

from django.http import HttpRequest

#: more parameters than these are left to Django
_FEW = 100


def flags_of(request: HttpRequest) -> list[str]:
    """The flags of a websocket's URL: names of parameters, lower case; ``subscribe=user`` means ``subscribe-user``.

    Raises:
        SuspiciousOperation: Django finds too many parameters.
    """
    flags = []
    for name, value in _parameters(request):
        name = name.strip().lower()
        flags.append(f"{name}-{value.strip().lower()}" if name in ("subscribe", "publish") else name)
    return list(dict.fromkeys(flags))


def _parameters(request: HttpRequest) -> Iterable[tuple[str, str]]:
    if "GET" not in vars(request):
        # a QueryDict of one flag takes four times as long
        with suppress(ValueError):
            return parse_qsl(request.META.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=_FEW)
    return [(name, value) for name, values in request.GET.lists() for value in values]
