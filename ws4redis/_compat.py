"""A name of django-websocket-redis."""

from __future__ import annotations

from django.http import HttpRequest


def is_authenticated(request: HttpRequest | None) -> bool:
    """Whether the request has a user who is logged in."""
    user = getattr(request, "user", None)
    return bool(user and user.is_authenticated)
