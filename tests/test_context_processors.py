from __future__ import annotations

import json
from typing import Any

import pytest
from django.template import engines
from django.test import RequestFactory, override_settings

import tests.django_setup  # noqa: F401
from ws4redis.context_processors import default

# options of the request, settings, URI
URIS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"secure": False}, {}, "ws://example.com/ws/"),
    ({"secure": True}, {}, "wss://example.com/ws/"),
    ({"HTTP_HOST": "example.com:8000"}, {}, "ws://example.com:8000/ws/"),
    ({"HTTP_HOST": "[::1]:8000"}, {}, "ws://[::1]:8000/ws/"),
    ({}, {"WEBSOCKET_URL": "/sockets/v1/"}, "ws://example.com/sockets/v1/"),
    ({}, {"WEBSOCKET_URL": "/ws"}, "ws://example.com/ws"),
    ({}, {"WEBSOCKET_URL": "ws/"}, "ws://example.com/ws/"),
    (
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
        "wss://example.com/ws/",
    ),
    ({"HTTP_X_FORWARDED_HOST": "example.org"}, {"USE_X_FORWARDED_HOST": True}, "ws://example.org/ws/"),
]


@pytest.mark.contract(
    "13.1 templates: WEBSOCKET_URI: scheme by the request's, host, WEBSOCKET_URL",
    "13.1 templates: SECURE_PROXY_SSL_HEADER counts",
)
@pytest.mark.parametrize(("options", "settings", "uri"), URIS)
def test_websocket_uri(options: dict[str, Any], settings: dict[str, Any], uri: str) -> None:
    with override_settings(ALLOWED_HOSTS=["*"], **settings):
        request = RequestFactory().get("/page", **{"HTTP_HOST": "example.com", **options})
        assert default(request)["WEBSOCKET_URI"] == uri


# heartbeat, JavaScript
HEARTBEATS = [
    (None, "null"),
    ("--heartbeat--", '"--heartbeat--"'),
    ("", '""'),
    ('"; alert(1)', r'"\"; alert(1)"'),
    ("back\\slash\n", r'"back\\slash\n"'),
    ("'", '"\'"'),
    ("</script>", r'"\u003C/script\u003E"'),
    ("<!--&", r'"\u003C!--\u0026"'),
    ("\u2028\u2029", r'"\u2028\u2029"'),
    ("♥", r'"\u2665"'),
]


@pytest.mark.contract("13.1 templates: WS4REDIS_HEARTBEAT is a literal of JavaScript, or null; decided: escaped")
@pytest.mark.parametrize(("heartbeat", "javascript"), HEARTBEATS)
def test_heartbeat_is_a_javascript_literal(heartbeat: str | None, javascript: str) -> None:
    with override_settings(ALLOWED_HOSTS=["*"], WS4REDIS_HEARTBEAT=heartbeat):
        request = RequestFactory().get("/")
        literal = default(request)["WS4REDIS_HEARTBEAT"]
        template = engines["django"].from_string("heartbeat_msg: {{ WS4REDIS_HEARTBEAT }},")
        assert template.render({}, request) == f"heartbeat_msg: {javascript},", "not escaped again as HTML"
    assert literal == javascript
    assert json.loads(literal) == heartbeat
