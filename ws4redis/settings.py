"""The settings of ws4redis: what they are, and two ways to read them.

Those of django-websocket-redis are attributes that follow Django's settings: ``ws4redis.settings.WS4REDIS_PREFIX`` is
looked up at each use, so ``override_settings`` works. An attribute that is assigned wins until it is deleted again.

All others a server reads once, when it starts, and hands down (``read_options``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.core.signals import setting_changed

#: a name of django-websocket-redis
settings = django_settings


class Setting(NamedTuple):
    default: Any
    accepts: Callable[[Any], bool]
    #: the end of the sentence "It must be ..."
    expected: str


def _optional_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _hook(value: Any) -> bool:
    return value is None or callable(value) or (isinstance(value, str) and "." in value)


def _path_prefix(value: Any) -> bool:
    """Accepts one without the slashes, too, of which check_slashes() warns."""
    return isinstance(value, str) and value != ""


def _class_or_path(value: Any) -> bool:
    return isinstance(value, type) or (isinstance(value, str) and "." in value)


def _seconds_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _connection(value: Any) -> bool:
    return isinstance(value, dict) or callable(value) or (isinstance(value, str) and ("://" in value or "." in value))


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


def _names(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(name, str) for name in value)


def _names_or_hook(value: Any) -> bool:
    return _hook(value) or _names(value)


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

#: those of django-websocket-redis
_HISTORIC = {
    "WEBSOCKET_URL": Setting("/ws/", _path_prefix, "a path that starts and ends with a slash"),
    "WS4REDIS_CONNECTION": Setting(
        {"host": "localhost", "port": 6379, "db": 0, "password": None},
        _connection,
        "a dict of redis-py's keyword arguments, a URL such as redis://localhost:6379/0, or a function (or its dotted "
        "path) that returns a redis.Redis",
    ),
    "WS4REDIS_PREFIX": Setting(None, _optional_text, "a string or None"),
    "WS4REDIS_EXPIRE": Setting(3600, _seconds_or_none, "a number of seconds, 0 or None"),
    "WS4REDIS_SUBSCRIBER": Setting(
        "ws4redis.subscriber.RedisSubscriber", _class_or_path, "a class or the dotted path of one"
    ),
    "WS4REDIS_HEARTBEAT": Setting(None, _optional_text, "a string or None"),
    "WS4REDIS_ALLOWED_CHANNELS": Setting(None, _hook, _HOOK),
    "WS4REDIS_PROCESS_REQUEST": Setting(None, _hook, _HOOK),
}


#: the first words of our settings' names
PREFIX = "WS4REDIS_"


def _option(*row: Any) -> Any:
    setting = Setting(*row)
    return field(default=setting.default, metadata={"setting": setting})


@dataclass(frozen=True)
class Options:
    """One attribute for each setting of ours: ``WS4REDIS_TIMEOUT`` is ``timeout``. Without arguments: the defaults.

    Args:
        given: the names of the settings that the site has, also where the value is the default.
    """

    allowed_origins: Collection[str] = _option(
        (), _names, "a list of origins or hosts such as https://example.com or .example.com"
    )
    health_path: str | None = _option(None, _optional_text, "a string or None")
    subprotocol: Collection[str] | Callable[..., Any] | str | None = _option(  # noqa: RUF009
        None, _names_or_hook, "None, a list of names by preference, a callable or the dotted path of one"
    )
    deflate: bool | Mapping[str, Any] = _option(
        True, _deflate, f"True, False or a dict of {', '.join(_DEFLATE_RANGES)} (see RFC 7692)"
    )
    max_message_size: int = _option(1 << 20, _positive_int, "a number of bytes")
    outbox_size: int = _option(4 << 20, _positive_int, "a number of bytes")
    slow_browser: str = _option("close", ("close", "conflate", "drop").__contains__, "'close', 'conflate' or 'drop'")
    max_messages_per_second: int | None = _option(100, _positive_int_or_none, _LIMIT)
    max_bytes_per_second: int | None = _option(1 << 20, _positive_int_or_none, _LIMIT)
    max_channels: int = _option(1000, _positive_int, "a number of channels")
    max_websockets: int | None = _option(None, _positive_int_or_none, _LIMIT)
    max_websockets_per_user: int | None = _option(2000, _positive_int_or_none, _LIMIT)
    max_websockets_per_address: int | None = _option(None, _positive_int_or_none, _LIMIT)
    trusted_proxies: Collection[str] | None = _option(
        None, _networks_or_none, "None or a list of networks such as 10.0.0.0/8; 'unix' is a Unix socket"
    )
    timeout: float = _option(5, _positive, "a number of seconds")
    drain_seconds: float = _option(5, _not_negative, "a number of seconds")
    max_connections: int = _option(16, _positive_int, "a number of connections")
    io_uring: bool = _option(True, _boolean, "True or False")
    threads: int = _option(16, _positive_int, "a number of threads")
    given: frozenset[str] = frozenset()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """From the settings that the site has, by their names."""
        values = {name.removeprefix(PREFIX).lower(): value for name, value in given.items()}
        return cls(**values, given=frozenset(given))

    def is_set(self, name: str) -> bool:
        """Whether the site has set ``name``, such as ``WS4REDIS_TIMEOUT``, also to the default."""
        return name in self.given


#: by the names that they have in Django's settings
_OURS: dict[str, Setting] = {
    PREFIX + each.name.upper(): each.metadata["setting"] for each in fields(Options) if each.metadata
}

SETTINGS = _HISTORIC | _OURS

#: what was read already: for a name that is not set Django takes long, and publishing reads several
_read: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    read = _read  # another thread may replace it meanwhile
    if name not in read:
        if name not in SETTINGS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        read[name] = getattr(django_settings, name, SETTINGS[name].default)
    return read[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *SETTINGS})


def _forget(**_: Any) -> None:
    global _read
    _read = {}


setting_changed.connect(_forget, dispatch_uid=__name__)


def is_set(name: str) -> bool:
    """Whether the site has set it, also where the value is the default."""
    return name in globals() or hasattr(django_settings, name)


def read_options() -> Options:
    """The options of a server that starts, from the current settings."""
    module = sys.modules[__name__]
    return Options.of({name: getattr(module, name) for name in _OURS if is_set(name)})
