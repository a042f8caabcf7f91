from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.test import RequestFactory

import tests.django_setup  # noqa: F401
from ws4redis.auth.permissions import allowed_channels, hook

FLAGS = ["subscribe-user", "publish-broadcast"]


def only_listening(request: HttpRequest, channels: list[str]) -> list[str]:
    return [each for each in channels if each.startswith("subscribe-")]


def forgetful(request: HttpRequest, channels: list[str]) -> None:
    pass


def denying(request: HttpRequest, channels: list[str]) -> list[str]:
    raise PermissionDenied("not you")


def broken(request: HttpRequest, channels: list[str]) -> Any:
    return request.no_such_attribute  # type: ignore[attr-defined]


class Policy:
    def __call__(self, request: HttpRequest, channels: list[str]) -> None:
        pass

    def method(self, request: HttpRequest, channels: list[str]) -> None:
        pass


def allowed(callback: Any) -> Any:
    return allowed_channels(hook(callback), RequestFactory().get("/ws/a"), list(FLAGS))


# hook, what it leaves
RESULTS: list[tuple[Any, list[str]]] = [
    (None, FLAGS),
    (only_listening, ["subscribe-user"]),
    (f"{__name__}.only_listening", ["subscribe-user"]),
    (lambda request, channels: channels, FLAGS),
    (lambda request, channels: [], []),
    (lambda request, channels: tuple(channels), FLAGS),
    (lambda request, channels: (each for each in channels), FLAGS),
    (lambda request, channels: {"subscribe-user"}, ["subscribe-user"]),
    (lambda request, channels: ["subscribe-broadcast"], ["subscribe-broadcast"]),
]


@pytest.mark.contract(
    "9.4 allowed channels: None allows everything",
    "9.4 allowed channels: a callable or its path",
    "9.4 allowed channels: what it returns, any iterable, are the flags that hold, unchecked",
)
@pytest.mark.parametrize(("callback", "flags"), RESULTS)
def test_what_the_hook_leaves(callback: Any, flags: list[str]) -> None:
    assert allowed(callback) == flags


# hook, what is raised
REFUSALS: list[tuple[Any, type[Exception]]] = [
    (denying, PermissionDenied),
    (f"{__name__}.denying", PermissionDenied),
    (broken, AttributeError),
    (f"{__name__}.broken", AttributeError),
    (f"{__name__}.no_such_hook", ImportError),
    ("no_such_module.hook", ImportError),
    ("hook", ImportError),
    (lambda request, channels: 5, TypeError),
    (lambda request, channels: False, TypeError),
    (lambda request: [], TypeError),
    (5, TypeError),
]


@pytest.mark.contract(
    "9.4 allowed channels: 403: it raises PermissionDenied",
    "9.4 allowed channels: decided: a path that leads nowhere lets nobody in",
    "9.4 allowed channels: decided: one that fails lets nobody in, an AttributeError of a path's included",
)
@pytest.mark.parametrize(("callback", "error"), REFUSALS)
def test_a_hook_that_fails_refuses(callback: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        allowed(callback)


# hook that returns nothing, how the warning names it
NAMED: list[tuple[Callable[[], Any], str]] = [
    (lambda: forgetful, f"{__name__}.forgetful"),
    (lambda: f"{__name__}.forgetful_by_path", f"{__name__}.forgetful_by_path"),
    (lambda: Policy().method, f"{__name__}.Policy.method"),
    (Policy, "Policy"),
    (lambda: functools.partial(forgetful), "forgetful"),
]


def forgetful_by_path(request: HttpRequest, channels: list[str]) -> None:
    pass


@pytest.mark.contract(
    "9.4 allowed channels: decided: None as its answer leaves the flags, and is warned of",
    "14 manual: 10 a hook that returns nothing is named in the log",
)
@pytest.mark.parametrize(("make", "name"), NAMED)
def test_a_hook_that_returns_nothing_leaves_all_and_is_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], name: str
) -> None:
    monkeypatch.setattr("ws4redis.auth.permissions._warned", set())
    callback = make()
    for _ in range(3):
        assert allowed(callback) == FLAGS
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ws4redis", logging.WARNING)
    assert "WS4REDIS_ALLOWED_CHANNELS" in record.getMessage()
    assert name in record.getMessage()


@pytest.mark.contract("9.3 process request: a callable or its path", "9.4 allowed channels: a callable or its path")
def test_hooks() -> None:
    assert hook(None) is None
    assert hook(denying) is hook(f"{__name__}.denying") is denying
    with pytest.raises(ImportError):
        hook("no_such_module.hook")
