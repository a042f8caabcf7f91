"""Every public name of django-websocket-redis can be imported; those without a meaning say what to use."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import warnings
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import BadHeaderError

import tests.django_setup  # noqa: F401
from tests.servers import ROOT, Valkey
from ws4redis import exceptions
from ws4redis.broker import client as redis_client

#: module -> names that mean here what they meant there
NAMES: dict[str, str] = {
    "ws4redis": "__version__",
    "ws4redis.settings": (
        "WEBSOCKET_URL WS4REDIS_CONNECTION WS4REDIS_PREFIX WS4REDIS_EXPIRE WS4REDIS_SUBSCRIBER WS4REDIS_HEARTBEAT "
        "WS4REDIS_ALLOWED_CHANNELS WS4REDIS_PROCESS_REQUEST"
    ),
    "ws4redis.redis_store": "SELF RedisMessage RedisStore",
    "ws4redis.publisher": "RedisPublisher",
    "ws4redis.subscriber": "RedisSubscriber RedisStore SELF",
    "ws4redis.store": "RedisStore RedisSubscriber",
    "ws4redis.wsgi_server": (
        "WebsocketWSGIServer WebSocketError FrameTooLargeException HandshakeError UpgradeRequiredError RedisMessage"
    ),
    "ws4redis.django_runserver": "application _websocket_app _django_app _websocket_url WebsocketRunServer",
    "ws4redis.websocket": "WebSocket",
    "ws4redis.exceptions": "WebSocketError FrameTooLargeException HandshakeError UpgradeRequiredError",
    "ws4redis.context_processors": "default",
    "ws4redis.models": "store_groups_in_session",
    "ws4redis._compat": "is_authenticated",
}

#: class -> its names
MEMBERS: dict[str, str] = {
    "ws4redis.redis_store.RedisStore": (
        "_expire publish_message pipeline_publish_message get_prefix _get_message_channels"
    ),
    "ws4redis.publisher.RedisPublisher": "publish_message pipeline_publish_message fetch_message",
    "ws4redis.subscriber.RedisSubscriber": (
        "subscription_channels publish_channels set_pubsub_channels get_file_descriptor send_persisted_messages "
        "send_persited_messages parse_response publish_message release"
    ),
    "ws4redis.wsgi_server.WebsocketWSGIServer": (
        "websockets _websockets _redis_connection assure_protocol_requirements process_request process_subscriptions "
        "upgrade_websocket __call__"
    ),
    "ws4redis.websocket.WebSocket": "closed get_file_descriptor send flush close",
}

#: callable -> the names by which its arguments may be passed
ARGUMENTS: dict[str, str] = {
    "ws4redis.redis_store.RedisStore": "connection",
    "ws4redis.redis_store.RedisStore.publish_message": "message expire",
    "ws4redis.redis_store.RedisStore.pipeline_publish_message": "message expire transaction",
    "ws4redis.redis_store.RedisStore._get_message_channels": "request facility broadcast groups users sessions",
    "ws4redis.publisher.RedisPublisher.fetch_message": "request facility audience",
    "ws4redis.subscriber.RedisSubscriber": "connection",
    "ws4redis.subscriber.RedisSubscriber.set_pubsub_channels": "request channels",
    "ws4redis.subscriber.RedisSubscriber.send_persisted_messages": "websocket",
    "ws4redis.subscriber.RedisSubscriber.publish_message": "message expire",
    "ws4redis.wsgi_server.WebsocketWSGIServer": "redis_connection",
    "ws4redis.wsgi_server.WebsocketWSGIServer.assure_protocol_requirements": "environ",
    "ws4redis.wsgi_server.WebsocketWSGIServer.process_request": "request",
    "ws4redis.wsgi_server.WebsocketWSGIServer.process_subscriptions": "request",
    "ws4redis.wsgi_server.WebsocketWSGIServer.upgrade_websocket": "environ start_response",
    "ws4redis.wsgi_server.WebsocketWSGIServer.__call__": "environ start_response",
    "ws4redis.websocket.WebSocket.send": "message binary",
    "ws4redis.websocket.WebSocket.close": "code message",
    "ws4redis.context_processors.default": "request",
    "ws4redis.models.store_groups_in_session": "sender user request",
    "ws4redis._compat.is_authenticated": "request",
}

#: exception -> what it also is, for those who catch that
ERRORS: dict[str, list[type[Exception]]] = {
    "WebSocketError": [OSError],
    "FrameTooLargeException": [OSError, exceptions.WebSocketError],
    "HandshakeError": [ValueError, BadHeaderError],
    "UpgradeRequiredError": [ValueError, BadHeaderError, exceptions.HandshakeError],
}

#: what is no longer what it was -> a word of the warning
WITHOUT_MEANING: dict[str, str] = {
    "ws4redis.redis_store._wrap_users": "_get_message_channels",
    "ws4redis.redis_store._wrap_groups": "_get_message_channels",
    "ws4redis.redis_store._wrap_sessions": "_get_message_channels",
    "ws4redis.publisher.redis_connection_pool": "broker.client",
    "ws4redis.django_runserver.run": "basehttp.run",
    "ws4redis.django_runserver.ServerHandler": "basehttp.ServerHandler",
    "ws4redis.django_runserver.WSGIRequestHandler": "basehttp.WSGIRequestHandler",
    "ws4redis.websocket.Stream": "protocol.frames",
    "ws4redis.websocket.Header": "protocol.frames",
    "ws4redis.utf8validator.Utf8Validator": "incrementaldecoder",
}


#: module -> all that its 0.6 let one import, its own imports included
OFFERED: dict[str, str] = {
    "ws4redis": "__version__",
    "ws4redis._compat": "is_authenticated",
    "ws4redis.context_processors": "default mark_safe settings",
    "ws4redis.django_runserver": (
        "HandshakeError ServerHandler UpgradeRequiredError WSGIRequestHandler WSGIServer WebSocket "
        "WebsocketRunServer WebsocketWSGIServer _ServerHandler _WSGIRequestHandler _django_app _websocket_app "
        "_websocket_url application base64 django force_str get_wsgi_application logger logging run runserver "
        "select settings sha1 six socketserver util"
    ),
    "ws4redis.exceptions": (
        "BadHeaderError FrameTooLargeException HandshakeError UpgradeRequiredError WebSocketError socket_error"
    ),
    "ws4redis.models": "receiver store_groups_in_session user_logged_in",
    "ws4redis.publisher": (
        "ConnectionPool RedisPublisher RedisStore StrictRedis UnixDomainSocketConnection conn_args "
        "is_authenticated redis_connection_pool settings"
    ),
    "ws4redis.redis_store": (
        "RedisMessage RedisStore SELF _wrap_groups _wrap_sessions _wrap_users is_authenticated settings six warnings"
    ),
    "ws4redis.settings": (
        "WEBSOCKET_URL WS4REDIS_ALLOWED_CHANNELS WS4REDIS_CONNECTION WS4REDIS_EXPIRE WS4REDIS_HEARTBEAT "
        "WS4REDIS_PREFIX WS4REDIS_PROCESS_REQUEST WS4REDIS_SUBSCRIBER settings"
    ),
    "ws4redis.subscriber": "RedisStore RedisSubscriber SELF settings",
    "ws4redis.utf8validator": "Utf8Validator six xrange",
    "ws4redis.websocket": (
        "FrameTooLargeException Header Stream Utf8Validator WebSocket WebSocketError logger logging six "
        "socket_error struct xrange"
    ),
    "ws4redis.wsgi_server": (
        "HandshakeError PermissionDenied RedisMessage SimpleLazyObject StrictRedis UpgradeRequiredError "
        "WSGIRequest WebSocketError WebsocketWSGIServer django force_str get_user http http_client "
        "import_module import_string logger logging private_settings settings six sys"
    ),
}


@pytest.mark.contract(
    "2 package: the modules, and what may be imported from them",
    "2 package: decided: ws4redis.store, which its manual had invented",
    "14 manual: 4 ws4redis.store exists",
)
@pytest.mark.parametrize(("module", "name"), [(key, name) for key, names in NAMES.items() for name in names.split()])
def test_names(module: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(import_module(module), name)


@pytest.mark.parametrize(("module", "name"), [(key, name) for key, names in OFFERED.items() for name in names.split()])
def test_all_that_was_offered(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "six", SimpleNamespace())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(f"from {module} import {name}")
    assert [each.category for each in caught] == [DeprecationWarning] * len(caught)
    assert all(f"{module}.{name} is a name of django-websocket-redis; use " in str(each.message) for each in caught)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "six", None)
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(ImportError, match=r"ws4redis\.redis_store\.six .*; use six: "),
    ):
        exec("from ws4redis.redis_store import six")


@pytest.mark.contract(
    "2 package: methods and attributes of their classes",
    "8.1 server: a subscriber may send to its websocket, and close it",
    "8.6 websocket: closed and get_file_descriptor()",
)
@pytest.mark.parametrize(("path", "name"), [(key, name) for key, names in MEMBERS.items() for name in names.split()])
def test_members(path: str, name: str) -> None:
    module, _, owner = path.rpartition(".")
    inspect.getattr_static(getattr(import_module(module), owner), name)


@pytest.mark.contract(
    "2 package: arguments may be passed by their names",
    "8.1 server: a subscriber may send to its websocket, and close it",
    "8.6 websocket: close(code, message)",
)
@pytest.mark.parametrize(("path", "names"), ARGUMENTS.items())
def test_arguments(path: str, names: str) -> None:
    parts = path.split(".")
    found = import_module(".".join(parts[:2]))
    for part in parts[2:]:
        found = getattr(found, part)
    assert set(names.split()) <= set(inspect.signature(found).parameters)


@pytest.mark.contract("2.1 exceptions: WebSocketError is an OSError, HandshakeError a BadHeaderError, and so on")
@pytest.mark.parametrize(("name", "kinds"), ERRORS.items())
def test_errors(name: str, kinds: list[type[Exception]]) -> None:
    assert all(issubclass(getattr(exceptions, name), kind) for kind in kinds)


@pytest.mark.contract("2 package: decided: what has no meaning any more says what to use")
@pytest.mark.parametrize(("path", "advice"), WITHOUT_MEANING.items())
def test_names_without_a_meaning(path: str, advice: str) -> None:
    module, _, name = path.rpartition(".")
    with pytest.warns(DeprecationWarning, match=advice) as caught:
        found = getattr(import_module(module), name)
    assert caught[0].filename == __file__
    if type(found).__name__ == "_Nothing":
        with pytest.raises(RuntimeError, match=advice):
            found("anything")
        with pytest.raises(AttributeError, match=advice):
            found.anything  # noqa: B018


def test_a_client_is_made_of_the_pool(redis_server: Valkey, settings_of_redis: None) -> None:
    with pytest.warns(DeprecationWarning):
        from ws4redis.publisher import StrictRedis, redis_connection_pool

        client = StrictRedis(connection_pool=redis_connection_pool)
    assert client.ping()
    assert client.connection_pool is redis_client.client().connection_pool


@pytest.mark.contract("2 package: redis_connection_pool is that with which all publish")
def test_the_pool_is_that_of_our_client() -> None:
    from ws4redis import publisher

    with pytest.warns(DeprecationWarning):
        assert publisher.redis_connection_pool is redis_client.client().connection_pool


@pytest.mark.contract("2 package: what never existed does not")
@pytest.mark.parametrize("module", ["publisher", "redis_store", "django_runserver", "websocket", "utf8validator"])
def test_other_names_do_not_exist(module: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        import_module(f"ws4redis.{module}").no_such_name  # noqa: B018


@pytest.mark.contract(
    "2 package: uWSGIWebsocketServer; decided: uWSGIWebSocketServer, too",
    "14 manual: 3 both spellings of uWSGIWebsocketServer",
)
def test_the_names_of_the_door_to_uwsgi() -> None:
    """Within uWSGI, for which a module with the little that an import needs stands in."""
    code = (
        "import sys, types; sys.modules['uwsgi'] = types.SimpleNamespace(opt={})\n"
        "from ws4redis.uwsgi_runserver import uWSGIWebsocketServer, uWSGIWebSocketServer\n"
        "from ws4redis.uwsgi_runserver import uWSGIWebsocket, uWSGIWebSocket\n"
        "assert uWSGIWebsocketServer is uWSGIWebSocketServer and uWSGIWebsocket is uWSGIWebSocket\n"
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        "from ws4redis.uwsgi_runserver import WebSocketError, WebsocketWSGIServer, gevent, uwsgi\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.contract("2 package: uwsgi_runserver can be imported inside uWSGI only")
def test_the_door_to_uwsgi_is_inside_uwsgi() -> None:
    with pytest.raises(ImportError, match=r"works inside uWSGI only.*ws4redis\.django_runserver"):
        import_module("ws4redis.uwsgi_runserver")


@pytest.mark.contract("asks deployment: #271: settings that are not configured when wsgi.py imports")
def test_settings_must_be_named_before_the_door_patches() -> None:
    """With gevent's loop, and nothing patched yet."""
    code = (
        "import sys, types; sys.modules['uwsgi'] = types.SimpleNamespace(opt={'gevent': b'100'})\n"
        "import ws4redis.uwsgi_runserver\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    failed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert "ImproperlyConfigured: Set DJANGO_SETTINGS_MODULE in wsgi.py before" in failed.stderr


REQUESTS: list[tuple[Any, bool]] = [
    (None, False),
    (SimpleNamespace(), False),
    (SimpleNamespace(user=None), False),
    (SimpleNamespace(user=SimpleNamespace(is_authenticated=False)), False),
    (SimpleNamespace(user=SimpleNamespace(is_authenticated=True)), True),
]


@pytest.mark.contract("2 package: is_authenticated() is false where nobody can be")
@pytest.mark.parametrize(("request_", "expected"), REQUESTS)
def test_is_authenticated(request_: Any, expected: bool) -> None:
    from ws4redis._compat import is_authenticated

    assert is_authenticated(request_) is expected
