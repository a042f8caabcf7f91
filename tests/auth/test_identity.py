from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from django.utils import timezone

from tests.django_setup import database
from ws4redis.auth.identity import identity_of
from ws4redis.auth.session import identify
from ws4redis.core.identity import Identity, Row

ENGINES = ["cache", "cached_db", "db", "file", "signed_cookies"]


@pytest.fixture(scope="module", autouse=True)
def users() -> Iterator[None]:
    with database():
        yield


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with override_settings(
        SESSION_ENGINE=f"django.contrib.sessions.backends.{request.param}",
        SESSION_FILE_PATH=str(tmp_path),
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    ):
        yield request.param


def new_session() -> Any:
    from django.conf import settings

    return import_module(settings.SESSION_ENGINE).SessionStore()


def log_in(name: str) -> str:
    """As a view does it; returns the cookie's value."""
    from django.contrib.auth import login
    from django.contrib.auth.models import User

    request = RequestFactory().get("/")
    request.session = new_session()
    login(request, User.objects.get(username=name))
    request.session.save()
    return str(request.session.session_key)


def identified(cookie: str | None, cookie_name: str = "sessionid") -> HttpRequest:
    request = RequestFactory().get("/ws/a")
    if cookie is not None:
        request.COOKIES[cookie_name] = cookie
    identify(request)
    return request


def is_nobody(request: HttpRequest) -> bool:
    """No user, and an empty session that can be read but has no key."""
    from django.contrib.auth.models import AnonymousUser

    assert isinstance(request.user, AnonymousUser)
    assert request.session.session_key is None
    assert request.session.get("anything") is None
    assert identity_of(request) == Identity()
    return True


@pytest.mark.contract(
    "9.2 identity: no cookie, decided: AnonymousUser and an empty session",
    "differs from 0.6: visitors without a session cookie",
)
def test_no_cookie() -> None:
    assert is_nobody(identified(None))


UNKNOWN = ["", "x", "12345678", "x" * 32, "x" * 200, "../../etc/passwd", "ü" * 32, "a:b:c:d:e", "{facility}"]


@pytest.mark.contract("9.2 identity: an invented session, decided: as no cookie")
@pytest.mark.parametrize("cookie", UNKNOWN, ids=lambda cookie: ascii(cookie[:16]))
def test_a_session_that_nobody_knows(cookie: str) -> None:
    """Whoever could choose his key himself could listen to the session of somebody else."""
    assert is_nobody(identified(cookie))


def test_nothing_is_stored_for_a_session_that_nobody_knows(engine: str, tmp_path: Path) -> None:
    from django.contrib.sessions.models import Session
    from django.core.cache import cache

    identified("x" * 32)
    assert list(tmp_path.iterdir()) == []
    assert not Session.objects.exists()
    assert not cache._cache  # type: ignore[attr-defined]


@pytest.mark.contract("9.2 identity: an expired session, decided: as no cookie")
def test_an_expired_session(monkeypatch: pytest.MonkeyPatch) -> None:
    key = log_in("john")
    now, seconds, month = timezone.now, time.time, timedelta(days=30)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now() + month)
    monkeypatch.setattr("time.time", lambda: seconds() + month.total_seconds())
    assert is_nobody(identified(key))


@pytest.mark.contract("9.2 identity: no login: broadcasts and session work; decided: user and group have no channel")
def test_a_session_without_login() -> None:
    session = new_session()
    session["color"] = "red"
    session.save()
    request = identified(session.session_key)
    assert not request.user.is_authenticated
    assert request.session["color"] == "red"
    assert identity_of(request) == Identity(session_key=session.session_key)


@pytest.mark.contract(
    "9.2 identity: the cookie of SESSION_COOKIE_NAME leads to session and user",
    "9.2 identity: logged in: everything works",
)
def test_logged_in() -> None:
    key = log_in("john")
    request = identified(key)
    assert request.user.is_authenticated
    assert request.user.get_username() == "john"
    assert identity_of(request)[:3] == ("john", ("chatusers", "writers"), key)


@pytest.mark.contract("11.4 groups: groups are those of the login", "differs from 0.6: groups that change")
def test_groups_are_those_of_the_login() -> None:
    from django.contrib.auth.models import Group, User

    key, group = log_in("mary"), Group.objects.create(name="latecomers")
    group.user_set.add(User.objects.get(username="mary"))
    try:
        assert identity_of(identified(key)).groups == ()
        assert identity_of(identified(log_in("mary"))).groups == ("latecomers",)
    finally:
        group.delete()


@pytest.mark.contract("11.4 groups: a session that is older than the app has none")
def test_a_session_that_is_older_than_the_app_has_no_groups() -> None:
    from django.contrib.auth import get_user_model

    session, john = new_session(), get_user_model().objects.get(username="john")
    session["_auth_user_id"] = str(john.pk)
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = john.get_session_auth_hash()
    session.save()
    assert identity_of(identified(session.session_key)) == Identity(
        "john",
        (),
        session.session_key,
        row=Row(get_user_model(), john.pk),
        user_pk=str(john.pk),
        session_hash=john.get_session_auth_hash(),
    )


def test_logged_in_without_groups() -> None:
    key = log_in("mary")
    assert identity_of(identified(key))[:3] == ("mary", (), key)


def test_the_users_password_has_changed() -> None:
    from django.contrib.auth.models import User

    User.objects.create_user("paul", password="secret")
    key = log_in("paul")
    paul = User.objects.get(username="paul")
    paul.set_password("other")
    paul.save()
    try:
        assert is_nobody(identified(key))
    finally:
        paul.delete()


def test_the_user_is_deleted() -> None:
    from django.contrib.auth.models import User

    gone = User.objects.create_user("gone", password="secret")
    key = log_in("gone")
    gone.delete()
    request = identified(key)
    assert not request.user.is_authenticated
    assert identity_of(request)[:2] == ("", ())


def test_the_user_is_inactive() -> None:
    from django.contrib.auth.models import User

    key = log_in("mary")
    User.objects.filter(username="mary").update(is_active=False)
    try:
        assert not identified(key).user.is_authenticated
    finally:
        User.objects.filter(username="mary").update(is_active=True)


@pytest.mark.contract("9.2 identity: the cookie of SESSION_COOKIE_NAME leads to session and user")
def test_the_cookie_may_have_another_name() -> None:
    with override_settings(SESSION_COOKIE_NAME="other"):
        key = log_in("john")
        assert is_nobody(identified(key))
        assert identified(key, cookie_name="other").user.get_username() == "john"


@pytest.mark.contract("9.2 identity: decided: session and user are loaded before the upgrade")
def test_everything_is_loaded() -> None:
    """What follows happens in the loop, where nothing may wait for a store or database."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    request = identified(log_in("john"))
    with CaptureQueriesContext(connection) as queries, override_settings(SESSION_ENGINE="gone", CACHES={}):
        assert identity_of(request).username == "john"
    assert len(queries) == 0
