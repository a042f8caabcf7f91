"""The settings of ws4redis, read late.

``ws4redis.settings.WS4REDIS_PREFIX`` follows Django's settings at each access, so ``override_settings`` works. An
attribute that is assigned (``ws4redis.settings.WS4REDIS_PREFIX = "x"``) wins until it is deleted again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from ipaddress import ip_network
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import Settings
from django.conf import settings as django_settings

#: a name of django-websocket-redis
settings = django_settings


class Setting(NamedTuple):
    default: Any
    accepts: Callable[[Any], bool]
    expected: str
    doc: str


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _optional_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _path_prefix(value: Any) -> bool:
    """Without the slashes, too; there is a warning."""
    return isinstance(value, str) and value != ""


def _hook(value: Any) -> bool:
    return value is None or callable(value) or (isinstance(value, str) and "." in value)


def _class_or_path(value: Any) -> bool:
    return isinstance(value, type) or (isinstance(value, str) and "." in value)


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _not_negative(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _positive_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _positive_int_or_none(value: Any) -> bool:
    return value is None or _positive_int(value)


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _networks_or_none(value: Any) -> bool:
    return value is None or (_names(value) and all(each == "unix" or _is_network(each) for each in value))


def _is_network(value: str) -> bool:
    try:
        ip_network(value, strict=False)
    except ValueError:
        return False
    return True


def _seconds_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _names(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(name, str) for name in value)


def _names_or_hook(value: Any) -> bool:
    return _hook(value) or _names(value)


def _connection(value: Any) -> bool:
    return isinstance(value, dict) or callable(value) or (isinstance(value, str) and ("://" in value or "." in value))


#: what each of deflate's options accepts
_DEFLATE_RANGES = {
    "context_takeover": (False, True),
    "window_bits": range(9, 16),
    "threshold": range(1 << 31),
    "level": range(1, 10),
}


def _deflate(value: Any) -> bool:
    if isinstance(value, dict):
        return all(each in _DEFLATE_RANGES.get(name, ()) for name, each in value.items())
    return isinstance(value, bool)


_LIMIT = "a number, or None for no limit"

_HOOK = "None, a callable or the dotted path of one"

SETTINGS: dict[str, Setting] = {
    "WEBSOCKET_URL": Setting(
        "/ws/",
        _path_prefix,
        "a path that starts and ends with a slash",
        "Path prefix of websockets; the facility follows.",
    ),
    "WS4REDIS_CONNECTION": Setting(
        {"host": "localhost", "port": 6379, "db": 0, "password": None},
        _connection,
        "a dict of redis-py's keyword arguments, a URL such as redis://localhost:6379/0, or a function (or its dotted "
        "path) that returns a redis.Redis",
        "Where Redis is.",
    ),
    "WS4REDIS_PREFIX": Setting(
        None, _optional_text, "a string or None", "Put before every channel name, with a colon."
    ),
    "WS4REDIS_EXPIRE": Setting(
        3600, _seconds_or_none, "a number of seconds, 0 or None", "How long the last message of a channel is kept."
    ),
    "WS4REDIS_SUBSCRIBER": Setting(
        "ws4redis.subscriber.RedisSubscriber",
        _class_or_path,
        "a class or the dotted path of one",
        "The class that decides what one browser may hear and say.",
    ),
    "WS4REDIS_HEARTBEAT": Setting(
        None, _optional_text, "a string or None", "Text message sent to idle browsers at least every 4 seconds."
    ),
    "WS4REDIS_ALLOWED_CHANNELS": Setting(
        None, _hook, _HOOK, "f(request, channels) -> the channels of the URL that this visitor may use."
    ),
    "WS4REDIS_PROCESS_REQUEST": Setting(
        None, _hook, _HOOK, "f(request) that sets request.user and request.session in place of the session cookie's."
    ),
    "WS4REDIS_ALLOWED_ORIGINS": Setting(
        (),
        _names,
        "a list of origins or hosts such as https://example.com or .example.com",
        "Further pages that may connect.",
    ),
    "WS4REDIS_REQUIRE_ORIGIN": Setting(
        False, _boolean, "True or False", "Refuse requests without an Origin: they do not come from a browser."
    ),
    "WS4REDIS_HEALTH_PATH": Setting(
        None,
        _optional_text,
        "a string or None",
        "A path below WEBSOCKET_URL that tells whether this process delivers: 200 or 503, with figures.",
    ),
    "WS4REDIS_SUBPROTOCOL": Setting(
        None,
        _names_or_hook,
        "None, a list of names by preference, a callable or the dotted path of one",
        "Which of the subprotocols that a browser offers is chosen.",
    ),
    "WS4REDIS_DEFLATE": Setting(
        True,
        _deflate,
        f"True, False or a dict of {', '.join(_DEFLATE_RANGES)} (see RFC 7692)",
        "Compress messages for browsers that can (permessage-deflate).",
    ),
    "WS4REDIS_MAX_MESSAGE_SIZE": Setting(
        1 << 20, _positive_int, "a number of bytes", "The largest message that a browser may send, inclusive."
    ),
    "WS4REDIS_OUTBOX_SIZE": Setting(
        4 << 20, _positive_int, "a number of bytes", "What may wait for one slow browser before it is closed with 1013."
    ),
    "WS4REDIS_SLOW_BROWSER": Setting(
        "close",
        ("close", "conflate", "drop").__contains__,
        "'close', 'conflate' or 'drop'",
        "What happens when the outbox is full: it is closed, keeps the latest of each channel, or loses the oldest.",
    ),
    "WS4REDIS_MAX_MESSAGES_PER_SECOND": Setting(
        100, _positive_int_or_none, _LIMIT, "What a browser may send on average; ten times as much at once."
    ),
    "WS4REDIS_MAX_BYTES_PER_SECOND": Setting(
        1 << 20, _positive_int_or_none, _LIMIT, "What a browser may send on average; ten times as much at once."
    ),
    "WS4REDIS_MAX_CHANNELS": Setting(
        1000, _positive_int, "a number of channels", "How many channels one websocket may hear or publish to."
    ),
    "WS4REDIS_MAX_WEBSOCKETS": Setting(
        None, _positive_int_or_none, _LIMIT, "Websockets of one process; None lets the open files decide."
    ),
    "WS4REDIS_MAX_WEBSOCKETS_PER_USER": Setting(
        2000, _positive_int_or_none, _LIMIT, "Websockets of one logged-in user in one process."
    ),
    "WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS": Setting(
        None, _positive_int_or_none, _LIMIT, "Websockets of one client address in one process."
    ),
    "WS4REDIS_TRUSTED_PROXIES": Setting(
        None,
        _networks_or_none,
        "None or a list of networks such as 10.0.0.0/8; 'unix' is a Unix socket",
        "Proxies whose X-Forwarded-For tells the client's address.",
    ),
    "WS4REDIS_TIMEOUT": Setting(
        5, _positive, "a number of seconds", "The longest that a publisher or a new websocket waits for Redis."
    ),
    "WS4REDIS_DRAIN_SECONDS": Setting(
        5,
        _not_negative,
        "a number of seconds",
        "Over which an ending worker sends its browsers to the others; where none is left they go at once.",
    ),
    "WS4REDIS_MAX_CONNECTIONS": Setting(
        16, _positive_int, "a number of connections", "Redis connections with which one process publishes."
    ),
    "WS4REDIS_IO_URING": Setting(
        True,
        _boolean,
        "True or False",
        "Send to many browsers with one call, where the kernel allows io_uring (Linux 5.18).",
    ),
    "WS4REDIS_THREADS": Setting(
        16, _positive_int, "a number of threads", "Threads in which the loop looks up sessions and runs the hooks."
    ),
}


class _Value:
    """One setting as an attribute of this module.

    Twice as quick as a ``__getattr__`` of the module, and each websocket asks for some twenty. As it is no data
    descriptor, what is assigned to the module wins.
    """

    def __init__(self, name: str, default: Any) -> None:
        self._name = name
        self._default = default

    def __get__(self, module: Any, owner: Any = None) -> Any:
        plain = object.__getattribute__(django_settings, "_wrapped")
        # it takes Django long to say that it does not know a name
        if type(plain) is Settings:
            return plain.__dict__.get(self._name, self._default)
        return getattr(django_settings, self._name, self._default)


class _Module(ModuleType):
    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *SETTINGS})


for _name, _setting in SETTINGS.items():
    setattr(_Module, _name, _Value(_name, _setting.default))

sys.modules[__name__].__class__ = _Module

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
