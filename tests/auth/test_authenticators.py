"""Which way of finding out who it is applies to which request."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory, override_settings

import tests.django_setup  # noqa: F401
from ws4redis import settings
from ws4redis.auth.authenticators import Authenticator, Session, SiteHook

COOKIE = {"HTTP_COOKIE": "sessionid=abc"}


def hook(request: Any) -> None:
    request.user = "by the hook"


def site_hook() -> Any:
    return settings.WS4REDIS_PROCESS_REQUEST


# settings, the request's environ, whether code of the site decides -> who applies: the hook, the session
APPLYING: dict[str, tuple[dict[str, Any], dict[str, str], bool, tuple[bool, bool]]] = {
    "nothing": ({}, {}, False, (False, False)),
    "another cookie": ({}, {"HTTP_COOKIE": "csrftoken=abc"}, False, (False, False)),
    "a session": ({}, COOKIE, False, (False, True)),
    "an empty session": ({}, {"HTTP_COOKIE": "sessionid="}, False, (False, True)),
    "a session of another name": ({"SESSION_COOKIE_NAME": "other"}, COOKIE, False, (False, False)),
    "the site decides": ({}, {}, True, (False, True)),
    "the site has a hook": ({"WS4REDIS_PROCESS_REQUEST": hook}, {}, True, (True, True)),
    "the site has a hook, of which the endpoint knows nothing": (
        {"WS4REDIS_PROCESS_REQUEST": hook},
        {},
        False,
        (True, False),
    ),
    "the site has a hook that cannot be imported": ({"WS4REDIS_PROCESS_REQUEST": ""}, {}, True, (True, True)),
}


@pytest.mark.parametrize(("given", "environ", "site_decides", "applying"), APPLYING.values(), ids=APPLYING)
def test_who_applies(
    given: dict[str, Any], environ: dict[str, str], site_decides: bool, applying: tuple[bool, bool]
) -> None:
    request = RequestFactory().get("/ws/a", **environ)
    both = (SiteHook(site_hook), Session(hook))
    with override_settings(**given):
        assert tuple(each.applies(request, site_decides) for each in both) == applying
    assert all(each.needs_thread for each in both)


@pytest.mark.parametrize("authenticator", [SiteHook(site_hook), Session(hook)])
def test_who_it_is(authenticator: Authenticator) -> None:
    request: Any = RequestFactory().get("/ws/a")
    with override_settings(WS4REDIS_PROCESS_REQUEST=hook):
        authenticator.authenticate(request)
    assert request.user == "by the hook"


def test_one_that_says_nothing_applies_to_all_in_a_thread() -> None:
    """So it cannot be forgotten; and nobody gets past it."""
    authenticator, request = Authenticator(), RequestFactory().get("/ws/a")
    assert authenticator.applies(request, site_decides=False)
    assert authenticator.needs_thread
    with pytest.raises(NotImplementedError):
        authenticator.authenticate(request)
