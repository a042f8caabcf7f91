from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.signals import setting_changed
from django.test import override_settings

import tests.django_setup  # noqa: F401
from tests.servers import ROOT
from tests.site import hooks
from ws4redis import settings
from ws4redis.subscriber import RedisSubscriber
from ws4redis.wsgi_server import WebsocketWSGIServer

# name, default
DEFAULTS = [
    ("WEBSOCKET_URL", "/ws/"),
    ("WS4REDIS_CONNECTION", {"host": "localhost", "port": 6379, "db": 0, "password": None}),
    ("WS4REDIS_PREFIX", None),
    ("WS4REDIS_EXPIRE", 3600),
    ("WS4REDIS_SUBSCRIBER", "ws4redis.subscriber.RedisSubscriber"),
    ("WS4REDIS_HEARTBEAT", None),
    ("WS4REDIS_ALLOWED_CHANNELS", None),
    ("WS4REDIS_PROCESS_REQUEST", None),
    ("WS4REDIS_ALLOWED_ORIGINS", ()),
    ("WS4REDIS_SUBPROTOCOL", None),
    ("WS4REDIS_MAX_MESSAGE_SIZE", 1 << 20),
    ("WS4REDIS_OUTBOX_SIZE", 4 << 20),
    ("WS4REDIS_TIMEOUT", 5),
    ("WS4REDIS_DRAIN_SECONDS", 5),
    ("WS4REDIS_MAX_CONNECTIONS", 16),
    ("WS4REDIS_IO_URING", True),
    ("WS4REDIS_THREADS", 16),
]


@contextmanager
def unset(name: str) -> Iterator[None]:
    with override_settings(**{name: None}):
        delattr(django_settings, name)
        setting_changed.send(None, setting=name, value=None, enter=True)
        yield


@pytest.mark.contract("14 manual: 1 WEBSOCKET_URL is /ws/ by default, everywhere")
@pytest.mark.parametrize(("name", "default"), DEFAULTS)
def test_defaults(name: str, default: Any) -> None:
    with unset(name):
        assert getattr(settings, name) == default
        assert not settings.is_set(name)


def test_all_settings_are_in_the_table() -> None:
    assert {name for name, _ in DEFAULTS} <= set(settings.SETTINGS)


@pytest.mark.parametrize("name", settings.SETTINGS)
def test_each_setting_accepts_its_default(name: str) -> None:
    setting = settings.SETTINGS[name]
    assert setting.accepts(setting.default), "its own default is accepted"
    assert setting.expected
    assert not setting.expected.endswith("."), "it ends the sentence 'It must be ...'"
    assert name in dir(settings)


def test_settings_follow_django() -> None:
    assert settings.WS4REDIS_PREFIX is None
    with override_settings(WS4REDIS_PREFIX="one"):
        assert settings.WS4REDIS_PREFIX == "one"
        with override_settings(WS4REDIS_PREFIX="two"):
            assert settings.WS4REDIS_PREFIX == "two"
    assert settings.WS4REDIS_PREFIX is None


def test_what_is_assigned_wins_until_it_is_deleted() -> None:
    settings.WS4REDIS_PREFIX = "assigned"
    try:
        with override_settings(WS4REDIS_PREFIX="django"):
            assert settings.WS4REDIS_PREFIX == "assigned"
            del settings.WS4REDIS_PREFIX
            assert settings.WS4REDIS_PREFIX == "django"
    finally:
        vars(settings).pop("WS4REDIS_PREFIX", None)
    assert settings.WS4REDIS_PREFIX is None


def test_what_is_read_while_it_changes_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Changing:
        def __getattr__(self, name: str) -> str:
            setting_changed.send(None, setting=name, value="new", enter=True)
            return "old"

    with unset("WS4REDIS_PREFIX"), monkeypatch.context() as patch:
        patch.setattr(settings, "django_settings", Changing())
        assert settings.WS4REDIS_PREFIX == "old"
        patch.undo()
        assert settings.WS4REDIS_PREFIX is None


# how the site has set it, if at all, and whether it counts as set
SET: list[tuple[str, str | None, Any, bool]] = [
    ("WS4REDIS_TIMEOUT", None, 5, False),
    ("WS4REDIS_TIMEOUT", "Django's", 5, True),
    ("WS4REDIS_TIMEOUT", "Django's", 2, True),
    ("WS4REDIS_TIMEOUT", "ours", 5, True),
    ("WS4REDIS_CONNECTION", None, {"host": "localhost", "port": 6379, "db": 0, "password": None}, False),
    ("WS4REDIS_CONNECTION", "Django's", "redis://localhost", True),
    ("WS4REDIS_CONNECTION", "ours", "redis://localhost", True),
]


@pytest.mark.parametrize(("name", "where", "value", "is_set"), SET)
def test_unset_can_be_told_from_the_default(
    monkeypatch: pytest.MonkeyPatch, name: str, where: str | None, value: Any, is_set: bool
) -> None:
    with unset(name), override_settings(**({name: value} if where == "Django's" else {})):
        if where == "ours":
            monkeypatch.setitem(vars(settings), name, value)
        options = settings.read_options()
        assert (getattr(settings, name), settings.is_set(name)) == (value, is_set)
        assert options.is_set(name) == (is_set and name == "WS4REDIS_TIMEOUT"), "it has ours only"
        if name == "WS4REDIS_TIMEOUT":
            assert options.timeout == value


def test_options_are_those_of_the_start() -> None:
    with override_settings(WS4REDIS_TIMEOUT=2, WS4REDIS_ALLOWED_ORIGINS=["https://example.com"]):
        options = settings.read_options()
    assert (options.timeout, options.allowed_origins) == (2, ["https://example.com"])
    assert options.given == {"WS4REDIS_TIMEOUT", "WS4REDIS_ALLOWED_ORIGINS"} | settings.read_options().given
    with pytest.raises(FrozenInstanceError):
        options.timeout = 3  # type: ignore[misc]


@pytest.mark.parametrize(("name", "default"), DEFAULTS[8:])
def test_options_have_an_attribute_for_each_setting_of_ours(name: str, default: Any) -> None:
    assert getattr(settings.Options(), name.removeprefix(settings.PREFIX).lower()) == default
    assert not settings.Options().is_set(name)


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="WS4REDIS_UNKNOWN"):
        settings.WS4REDIS_UNKNOWN  # noqa: B018
    assert not hasattr(settings, "DEBUG"), "Django's own are not ours"


# name, value, whether it is accepted
VALUES = [
    ("WEBSOCKET_URL", "/websockets/", True),
    ("WEBSOCKET_URL", "/", True),
    ("WEBSOCKET_URL", "ws/", True),
    ("WEBSOCKET_URL", "/ws", True),
    ("WEBSOCKET_URL", "", False),
    ("WEBSOCKET_URL", None, False),
    ("WS4REDIS_CONNECTION", {}, True),
    ("WS4REDIS_CONNECTION", {"unix_socket_path": "/tmp/redis.sock"}, True),
    ("WS4REDIS_CONNECTION", "redis://localhost", True),
    ("WS4REDIS_CONNECTION", "rediss://localhost", True),
    ("WS4REDIS_CONNECTION", "localhost", False),
    ("WS4REDIS_CONNECTION", None, False),
    ("WS4REDIS_PREFIX", "ws", True),
    ("WS4REDIS_PREFIX", "", True),
    ("WS4REDIS_PREFIX", 5, False),
    ("WS4REDIS_EXPIRE", 0, True),
    ("WS4REDIS_EXPIRE", None, True),
    ("WS4REDIS_EXPIRE", "3600", False),
    ("WS4REDIS_EXPIRE", True, False),
    ("WS4REDIS_SUBSCRIBER", dict, True),
    ("WS4REDIS_SUBSCRIBER", "app.Subscriber", True),
    ("WS4REDIS_SUBSCRIBER", "Subscriber", False),
    ("WS4REDIS_SUBSCRIBER", None, False),
    ("WS4REDIS_HEARTBEAT", "--heartbeat--", True),
    ("WS4REDIS_HEARTBEAT", b"--heartbeat--", False),
    ("WS4REDIS_ALLOWED_CHANNELS", print, True),
    ("WS4REDIS_ALLOWED_CHANNELS", "app.hook", True),
    ("WS4REDIS_ALLOWED_CHANNELS", "hook", False),
    ("WS4REDIS_ALLOWED_CHANNELS", 5, False),
    ("WS4REDIS_PROCESS_REQUEST", print, True),
    ("WS4REDIS_PROCESS_REQUEST", ["app.hook"], False),
    ("WS4REDIS_ALLOWED_ORIGINS", ["https://example.com"], True),
    ("WS4REDIS_ALLOWED_ORIGINS", {".example.com"}, True),
    ("WS4REDIS_ALLOWED_ORIGINS", "https://example.com", False),
    ("WS4REDIS_ALLOWED_ORIGINS", None, False),
    ("WS4REDIS_SUBPROTOCOL", ["chat"], True),
    ("WS4REDIS_SUBPROTOCOL", "app.choose", True),
    ("WS4REDIS_SUBPROTOCOL", "chat", False),
    ("WS4REDIS_MAX_MESSAGE_SIZE", 1, True),
    ("WS4REDIS_MAX_MESSAGE_SIZE", 0, False),
    ("WS4REDIS_MAX_MESSAGE_SIZE", 1.5, False),
    ("WS4REDIS_OUTBOX_SIZE", None, False),
    ("WS4REDIS_DRAIN_SECONDS", 0, True),
    ("WS4REDIS_DRAIN_SECONDS", 0.5, True),
    ("WS4REDIS_DRAIN_SECONDS", -1, False),
    ("WS4REDIS_DRAIN_SECONDS", True, False),
    ("WS4REDIS_TIMEOUT", 0.5, True),
    ("WS4REDIS_TIMEOUT", 0, False),
    ("WS4REDIS_TIMEOUT", True, False),
    ("WS4REDIS_MAX_CONNECTIONS", 1, True),
    ("WS4REDIS_MAX_CONNECTIONS", -1, False),
    ("WS4REDIS_IO_URING", False, True),
    ("WS4REDIS_IO_URING", 1, False),
    ("WS4REDIS_THREADS", "16", False),
]


@pytest.mark.parametrize(("name", "value", "accepted"), VALUES)
def test_accepted_values(name: str, value: Any, accepted: bool) -> None:
    assert settings.SETTINGS[name].accepts(value) is accepted


# system checks


def checks() -> list[CheckMessage]:
    return run_checks(tags=["ws4redis"])


def deployment_checks() -> list[CheckMessage]:
    """Those of ``check --deploy`` alone."""
    found = run_checks(tags=["ws4redis"], include_deployment_checks=True)
    return [each for each in found if each not in checks()]


def test_nothing_is_wrong_with_the_tests_own_settings() -> None:
    assert checks() == []


# as pip leaves it behind, and as setup.py install did
@pytest.mark.parametrize("information", ["dist-info/METADATA", "egg-info/PKG-INFO"])
def test_e001_beside_the_predecessor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, information: str) -> None:
    path = tmp_path / f"django_websocket_redis-0.6.0.{information}"
    path.parent.mkdir()
    path.write_text("Metadata-Version: 2.1\nName: django-websocket-redis\nVersion: 0.6.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (error,) = checks()
    assert error.id == "ws4redis.E001"
    assert "django-websocket-redis" in error.msg
    assert "pip" in error.hint


def pip(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pip", *map(str, arguments), "--quiet", "--no-deps", "--disable-pip-version-check"]
    return subprocess.run(line, capture_output=True, text=True)


@pytest.fixture(scope="module")
def predecessor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its wheel, made of what PyPI has."""
    folder = tmp_path_factory.mktemp("wheels")
    built = pip("wheel", "django-websocket-redis==0.6.0", "--wheel-dir", folder)
    if built.returncode:
        pytest.skip(f"PyPI does not answer: {built.stderr[-300:]}")
    [wheel] = folder.iterdir()
    return wheel


@pytest.mark.parametrize("order", ["it, then we", "we, then it"])
def test_e001_in_either_order(predecessor: Path, tmp_path: Path, order: str) -> None:
    """Whoever was installed last has its files where both have one of that name."""
    python = tmp_path / "venv/bin/python"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.site.settings", "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    [packages] = (tmp_path / "venv/lib").glob("*/site-packages")
    # whatever else both need is that of these tests
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))

    def install_it() -> None:
        done = pip("--python", python, "install", "--no-index", predecessor)
        assert done.returncode == 0, done.stderr

    def install_us() -> None:
        shutil.copytree(ROOT / "ws4redis", packages / "ws4redis", dirs_exist_ok=True)

    for install in (install_it, install_us) if order == "it, then we" else (install_us, install_it):
        install()
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    line = [python, "-m", "django", "check", "--deploy", "--tag", "ws4redis", "--tag", "models"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.findall(r"\(ws4redis\.\w+\)", done.stderr) == ["(ws4redis.E001)"]
    line = [python, "-c", "import ws4redis; print(ws4redis.__version__)"]
    version = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (version.stdout == "0.6.0\n") == (order == "we, then it"), "the files have not mixed"


def test_e002_a_value_that_is_not_accepted() -> None:
    with override_settings(WEBSOCKET_URL=None, WS4REDIS_EXPIRE="1"):
        first, second = checks()
    assert first.id == second.id == "ws4redis.E002"
    assert first.msg == "WEBSOCKET_URL is None."
    assert first.hint == "It must be a path that starts and ends with a slash."
    assert "WS4REDIS_EXPIRE" in second.msg


def test_e005_a_prefix_that_names_an_audience() -> None:
    with override_settings(WS4REDIS_PREFIX="shop:user"):
        (error,) = checks()
        with pytest.raises(ImproperlyConfigured, match="'user'"):
            WebsocketWSGIServer()
    assert error.id == "ws4redis.E005"
    assert "'shop:user'" in error.msg


@pytest.mark.contract("9.4 allowed channels: decided: a path that leads nowhere lets nobody in")
@pytest.mark.parametrize(
    "name",
    ["WS4REDIS_SUBSCRIBER", "WS4REDIS_PROCESS_REQUEST", "WS4REDIS_ALLOWED_CHANNELS", "WS4REDIS_SUBPROTOCOL"],
)
@pytest.mark.parametrize("path", ["no_such_module.hook", "ws4redis.websocket.no_such_hook"])
def test_e003_a_path_that_leads_nowhere(name: str, path: str) -> None:
    with override_settings(**{name: path}):
        (error,) = checks()
    assert error.id == "ws4redis.E003"
    assert name in error.msg


def test_e003_a_module_that_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_hooks.py").write_text("def hook(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(WS4REDIS_ALLOWED_CHANNELS="broken_hooks.hook"):
        (error,) = checks()
    assert error.id == "ws4redis.E003"


def test_what_is_no_path_is_not_imported() -> None:
    with override_settings(WS4REDIS_SUBSCRIBER=dict, WS4REDIS_ALLOWED_CHANNELS=print, WS4REDIS_SUBPROTOCOL=["chat"]):
        assert checks() == []


HISTORIC: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"WEBSOCKET_URL": "/ws"}, [("W003", "Make it '/ws/'")]),
    ({"WEBSOCKET_URL": "ws/"}, [("W003", "Make it '/ws/'")]),
    ({"WEBSOCKET_URL": "ws"}, [("W003", "Make it '/ws/'")]),
    ({"WEBSOCKET_URL": "/"}, []),
    ({"WEBSOCKET_URL": ""}, [("E002", "a path")]),
    ({"WS4REDIS_CONNECTION": {"charset": "utf-8", "errors": "strict"}}, [("W004", "UTF-8"), ("W004", "decoded")]),
    ({"WS4REDIS_CONNECTION": {"encoding": "utf-8", "encoding_errors": "strict"}}, []),
    ({"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.refuses_no_user"}, [("W005", "request.user.is_authenticated")]),
    ({"WS4REDIS_ALLOWED_CHANNELS": hooks.refuses_no_user}, [("W005", "request.user.is_authenticated")]),
    ({"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.refuses_no_session"}, [("W005", "request.session.session_key")]),
    ({"WS4REDIS_ALLOWED_CHANNELS": hooks.wants_both}, [("W005", ".is_authenticated"), ("W005", ".session_key")]),
    ({"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.refuses_anonymous"}, []),
    ({"WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.only_broadcast"}, []),
    ({"WS4REDIS_ALLOWED_CHANNELS": "tests.site06.hooks.allowed_channels"}, []),
    ({"WS4REDIS_ALLOWED_CHANNELS": print}, []),
    ({"WS4REDIS_SUBSCRIBER": "tests.site.hooks.RefusingSubscriber"}, [("W005", "request.session.session_key")]),
    ({"WS4REDIS_SUBSCRIBER": "tests.site06.subscriber.TeamSubscriber"}, []),
]


@pytest.mark.contract("differs from 0.6: visitors without a session cookie")
@pytest.mark.parametrize(("settings", "told"), HISTORIC)
def test_what_meant_something_else_in_django_websocket_redis(
    settings: dict[str, Any], told: list[tuple[str, str]]
) -> None:
    with override_settings(**settings):
        found = checks()
    assert [each.id for each in found] == [f"ws4redis.{number}" for number, _ in told]
    assert all(words in each.hint for each, (_, words) in zip(found, told, strict=True))


BOUNDS: list[tuple[dict[str, Any], list[str]]] = [
    ({"WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS": 10}, ["ws4redis.E004"]),
    ({"WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS": 10, "WS4REDIS_TRUSTED_PROXIES": []}, []),
    ({"WS4REDIS_OUTBOX_SIZE": (4 << 20) - 1}, ["ws4redis.W002"]),
    ({"WS4REDIS_OUTBOX_SIZE": "many"}, ["ws4redis.E002"]),
]


@pytest.mark.parametrize(("settings", "ids"), BOUNDS)
def test_bounds_that_do_not_go_together(settings: dict[str, Any], ids: list[str]) -> None:
    with override_settings(**settings):
        assert [each.id for each in checks()] == ids


# hooks, and whether one of their ends is bare


def returns_a_list(request, channels):
    return [each for each in channels if each.startswith("subscribe-")]


def returns_nothing(request, channels):
    if not request.user.is_authenticated:
        raise PermissionDenied


def returns_sometimes(request, channels):
    if request.user.is_authenticated:
        return channels


def returns_bare(request, channels):
    if request.user.is_authenticated:
        return
    return channels


def returns_none(request, channels):
    return None


def returns_none_or_not(request, channels):
    return channels if request.user.is_authenticated else None


def returns_or_raises(request, channels):
    if request.user.is_staff:
        return channels
    elif request.user.is_authenticated:
        with open("/dev/null"):
            return []
    else:
        raise PermissionDenied


def returns_from_a_try(request, channels):
    try:
        return channels[request.user.pk]
    except KeyError:
        return []
    finally:
        print("asked")


def returns_nothing_after_an_error(request, channels):
    try:
        return channels[request.user.pk]
    except KeyError:
        print("nobody")


def returns_from_a_match(request, channels):
    match request.path_info:
        case "/ws/news":
            return channels
        case _:
            return []


def returns_from_some_cases(request, channels):
    match request.path_info:
        case "/ws/news":
            return channels


def returns_from_a_loop(request, channels):
    while True:
        if channels:
            return channels


def leaves_a_loop(request, channels):
    while True:
        if channels:
            break


def returns_inside_only(request, channels):
    def may(channel):
        return

    return [each for each in channels if may(each)]


def yields(request, channels):
    yield from channels


def decorated(function):
    @wraps(function)
    def wrapper(request, channels):
        return function(request, channels) or []

    return wrapper


@decorated
def returns_nothing_but_is_decorated(request, channels):
    pass


class Policy:
    def __call__(self, request, channels):
        if not channels:
            raise PermissionDenied

    def method(self, request, channels):
        print(channels)

    def returning(self, request, channels):
        return channels


# made where no source is
without_a_source: dict[str, Any] = {}
exec("def hook(request, channels): pass", without_a_source)

RETURNS: list[tuple[Any, bool]] = [
    (returns_a_list, False),
    (returns_nothing, True),
    (returns_sometimes, True),
    (returns_bare, True),
    (returns_none, True),
    (returns_none_or_not, True),
    (returns_or_raises, False),
    (returns_from_a_try, False),
    (returns_nothing_after_an_error, True),
    (returns_from_a_match, False),
    (returns_from_some_cases, True),
    (returns_from_a_loop, False),
    (leaves_a_loop, True),
    (returns_inside_only, False),
    (yields, False),
    (returns_nothing_but_is_decorated, False),
    (Policy(), True),
    (Policy().method, True),
    (Policy().returning, False),
    (partial(returns_nothing), True),
    (lambda request, channels: channels, False),
    (lambda request, channels: None, True),
    (without_a_source["hook"], False),
    (list, False),
    ("tests.site.hooks.returns_nothing", True),
    ("tests.site.hooks.only_broadcast", False),
]


@pytest.mark.parametrize(("hook", "may"), RETURNS)
def test_w010_names_a_hook_that_may_return_none(hook: Any, may: bool) -> None:
    """What cannot be known is not said; at a start nothing is."""
    with override_settings(WS4REDIS_ALLOWED_CHANNELS=hook):
        found = deployment_checks()
        assert checks() == []
    assert [each.id for each in found] == ["ws4redis.W010"] * may
    if may:
        name = hook if isinstance(hook, str) else getattr(hook, "__qualname__", type(hook).__qualname__)
        assert name in found[0].msg


def hook_that_decides(request):
    pass


class Deciding(RedisSubscriber):
    pass


# settings, whether every visitor may publish on every facility
PUBLISHING: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"WS4REDIS_SUBSCRIBER": RedisSubscriber}, True),
    ({"WS4REDIS_ALLOWED_CHANNELS": returns_a_list}, False),
    ({"WS4REDIS_PROCESS_REQUEST": hook_that_decides}, False),
    ({"WS4REDIS_SUBSCRIBER": Deciding}, False),
    ({"WS4REDIS_SUBSCRIBER": "tests.site.hooks.StoppingSubscriber"}, False),
]


@pytest.mark.parametrize(("settings", "everybody"), PUBLISHING)
def test_w011_while_everybody_may_publish(settings: dict[str, Any], everybody: bool) -> None:
    with override_settings(**settings):
        assert [each.id for each in deployment_checks()] == ["ws4redis.W011"] * everybody
        assert checks() == []


@pytest.mark.parametrize(("name", "value"), [("set_pubsub_channels", lambda *args: None), ("publish_channels", [])])
def test_w011_but_not_where_the_subscriber_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    monkeypatch.setattr(RedisSubscriber, name, value)
    assert deployment_checks() == []


def test_w001_names_a_misspelt_setting_and_what_was_meant() -> None:
    with override_settings(WS4REDIS_ALOWED_CHANNELS="x"):
        [warning] = [each for each in run_checks(tags=["ws4redis"]) if each.id == "ws4redis.W001"]
    assert warning.msg.startswith("WS4REDIS_ALOWED_CHANNELS ")
    assert "WS4REDIS_ALLOWED_CHANNELS" in str(warning.hint)
