"""The session cookie becomes a session and a user. Blocks: runs in a thread."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.http import HttpRequest


def identify(request: HttpRequest) -> None:
    """Set ``request.session`` and ``request.user``, both loaded.

    A client without a session, or with one that the store does not know, gets an empty session without a key and
    Django's AnonymousUser.
    """
    key = request.COOKIES.get(django_settings.SESSION_COOKIE_NAME)
    request.session = _load_session(key)
    request.user = _user(request)


def _load_session(key: str | None) -> Any:
    try:
        return _known_session(key)
    except RuntimeError:
        if apps.is_installed("django.contrib.sessions"):
            raise
        return None  # the engine would need that app's table


def _known_session(key: str | None) -> Any:
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    session = store(key)
    if key:
        session.get("")  # loads it
        # engines drop a key that they do not know, replace it, call a forged one modified, or find it empty
        if session.session_key == key and not session.modified and (session.keys() or session.exists(key)):
            return session
    return store()


def _user(request: HttpRequest) -> Any:
    if not apps.is_installed("django.contrib.auth"):
        return None
    from django.contrib.auth import get_user  # its models need the app registry
    from django.contrib.auth.models import AnonymousUser

    return get_user(request) if request.session is not None else AnonymousUser()
