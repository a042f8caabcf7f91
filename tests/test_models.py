from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.signals import user_logged_in
from django.test import RequestFactory, override_settings

from tests.django_setup import database


@pytest.fixture(scope="module", autouse=True)
def users() -> Iterator[None]:
    with database():
        yield


@pytest.mark.contract("11.4 groups: a login stores the list of names under ws4redis:memberof")
@pytest.mark.parametrize(("name", "groups"), [("john", ["chatusers", "writers"]), ("mary", [])])
def test_login_stores_the_names_of_the_groups(name: str, groups: list[str]) -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
        client.force_login(User.objects.get(username=name))
        assert client.session["ws4redis:memberof"] == groups


def send(user: Any, request: Any) -> None:
    ((_receiver, result),) = [
        each
        for each in user_logged_in.send_robust(type(user), user=user, request=request)
        if each[0].__module__ == "ws4redis.models"
    ]
    assert result is None, f"the receiver raised {result!r}"


def request_with(**attributes: Any) -> Any:
    request = RequestFactory().get("/")
    for name, value in attributes.items():
        setattr(request, name, value)
    return request


@pytest.mark.contract("11.4 groups: a user without groups stores none")
def test_a_user_without_groups() -> None:
    """Of a user model of the site's own."""
    request = request_with(session={})
    send(SimpleNamespace(), request)
    assert request.session == {}


@pytest.mark.contract("11.4 groups: decided: without a request or session nothing happens")
@pytest.mark.parametrize("request_", [None, request_with(), request_with(session=None)], ids=["None", "bare", "empty"])
def test_a_request_without_a_session(request_: Any) -> None:
    from django.contrib.auth.models import User

    send(User.objects.get(username="john"), request_)


@pytest.mark.contract("2 package: there are no tables")
def test_there_are_no_models() -> None:
    from django.apps import apps

    assert list(apps.get_app_config("ws4redis").get_models()) == []
