"""Authenticators: the first that applies to a request says which user and session it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from ws4redis.auth.permissions import hook


class Authenticator:
    """One way. Closed by default: one that overrides nothing applies to each request, in a thread."""

    #: whether ``authenticate`` may block
    needs_thread = True

    def applies(self, request: HttpRequest, site_decides: bool) -> bool:
        """Whether the request has such a credential; must not block.

        Where no authenticator applies, and only there, the client is anonymous and nothing is looked up.

        Args:
            site_decides: code of the site checks permissions, so it may expect each request to have a user and a
                session.
        """
        return True

    def authenticate(self, request: HttpRequest) -> None:
        """Must set ``request.user`` and ``request.session``; an exception rejects the request."""
        raise NotImplementedError


class SiteHook(Authenticator):
    """``WS4REDIS_PROCESS_REQUEST``, in place of all others.

    Args:
        setting: returns the current value: a callable, its path, or None, which means that this does not apply.
    """

    def __init__(self, setting: Callable[[], Any]) -> None:
        self._setting = setting

    def applies(self, request: HttpRequest, site_decides: bool) -> bool:
        return self._setting() is not None

    def authenticate(self, request: HttpRequest) -> None:
        process_request = hook(self._setting())
        if process_request is None:
            raise ImproperlyConfigured("WS4REDIS_PROCESS_REQUEST was unset during a request")
        process_request(request)


class Session(Authenticator):
    """The session cookie.

    Args:
        process_request: does the work; a server's method, which a site may override.
    """

    def __init__(self, process_request: Callable[[HttpRequest], None]) -> None:
        self._process_request = process_request

    def applies(self, request: HttpRequest, site_decides: bool) -> bool:
        return site_decides or django_settings.SESSION_COOKIE_NAME in request.COOKIES

    def authenticate(self, request: HttpRequest) -> None:
        self._process_request(request)
