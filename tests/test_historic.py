"""Every public name of django-websocket-redis can be imported; those without a meaning say what to use."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

import tests.django_setup  # noqa: F401
from tests.servers import ROOT
from ws4redis import redis_client

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

#: what is no longer what it was -> a word of the warning
WITHOUT_MEANING: dict[str, str] = {
    "ws4redis.redis_store._wrap_users": "_get_message_channels",
    "ws4redis.redis_store._wrap_groups": "_get_message_channels",
    "ws4redis.redis_store._wrap_sessions": "_get_message_channels",
    "ws4redis.publisher.redis_connection_pool": "redis_client",
    "ws4redis.django_runserver.run": "basehttp.run",
    "ws4redis.django_runserver.ServerHandler": "basehttp.ServerHandler",
    "ws4redis.django_runserver.WSGIRequestHandler": "basehttp.WSGIRequestHandler",
    "ws4redis.websocket.Stream": "protocol.frames",
    "ws4redis.websocket.Header": "protocol.frames",
    "ws4redis.utf8validator.Utf8Validator": "incrementaldecoder",
}


@pytest.mark.parametrize(("module", "name"), [(key, name) for key, names in NAMES.items() for name in names.split()])
def test_names(module: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(import_module(module), name)


@pytest.mark.parametrize(("path", "name"), [(key, name) for key, names in MEMBERS.items() for name in names.split()])
def test_members(path: str, name: str) -> None:
    module, _, owner = path.rpartition(".")
    inspect.getattr_static(getattr(import_module(module), owner), name)


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


def test_the_pool_is_that_of_our_client() -> None:
    from ws4redis import publisher

    with pytest.warns(DeprecationWarning):
        assert publisher.redis_connection_pool is redis_client.client().connection_pool


@pytest.mark.parametrize("module", ["publisher", "redis_store", "django_runserver", "websocket", "utf8validator"])
def test_other_names_do_not_exist(module: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        import_module(f"ws4redis.{module}").no_such_name  # noqa: B018


def test_the_names_of_the_door_to_uwsgi() -> None:
    """Within uWSGI, for which a module with the little that an import needs stands in."""
    code = (
        "import sys, types; sys.modules['uwsgi'] = types.SimpleNamespace(opt={})\n"
        "from ws4redis.uwsgi_runserver import uWSGIWebsocketServer, uWSGIWebSocketServer\n"
        "from ws4redis.uwsgi_runserver import uWSGIWebsocket, uWSGIWebSocket\n"
        "assert uWSGIWebsocketServer is uWSGIWebSocketServer and uWSGIWebsocket is uWSGIWebSocket\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=60)


REQUESTS: list[tuple[Any, bool]] = [
    (None, False),
    (SimpleNamespace(), False),
    (SimpleNamespace(user=None), False),
    (SimpleNamespace(user=SimpleNamespace(is_authenticated=False)), False),
    (SimpleNamespace(user=SimpleNamespace(is_authenticated=True)), True),
]


@pytest.mark.parametrize(("request_", "expected"), REQUESTS)
def test_is_authenticated(request_: Any, expected: bool) -> None:
    from ws4redis._compat import is_authenticated

    assert is_authenticated(request_) is expected
