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
    expected: str
    doc: str


def _optional_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _hook(value: Any) -> bool:
    return value is None or callable(value) or (isinstance(value, str) and "." in value)


def _path_prefix(value: Any) -> bool:
    """Without the slashes, too; there is a warning."""
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
        (),
        _names,
        "a list of origins or hosts such as https://example.com or .example.com",
        "Further pages that may connect.",
    )
    health_path: str | None = _option(
        None,
        _optional_text,
        "a string or None",
        "A path below WEBSOCKET_URL that tells whether this process delivers: 200 or 503, with figures.",
    )
    subprotocol: Collection[str] | Callable[..., Any] | str | None = _option(  # noqa: RUF009
        None,
        _names_or_hook,
        "None, a list of names by preference, a callable or the dotted path of one",
        "Which of the subprotocols that a browser offers is chosen.",
    )
    deflate: bool | Mapping[str, Any] = _option(
        True,
        _deflate,
        f"True, False or a dict of {', '.join(_DEFLATE_RANGES)} (see RFC 7692)",
        "Compress messages for browsers that can (permessage-deflate).",
    )
    max_message_size: int = _option(
        1 << 20, _positive_int, "a number of bytes", "The largest message that a browser may send, inclusive."
    )
    outbox_size: int = _option(
        4 << 20, _positive_int, "a number of bytes", "What may wait for one slow browser before it is closed with 1013."
    )
    slow_browser: str = _option(
        "close",
        ("close", "conflate", "drop").__contains__,
        "'close', 'conflate' or 'drop'",
        "What happens when the outbox is full: it is closed, keeps the latest of each channel, or loses the oldest.",
    )
    max_messages_per_second: int | None = _option(
        100, _positive_int_or_none, _LIMIT, "What a browser may send on average; ten times as much at once."
    )
    max_bytes_per_second: int | None = _option(
        1 << 20, _positive_int_or_none, _LIMIT, "What a browser may send on average; ten times as much at once."
    )
    max_channels: int = _option(
        1000, _positive_int, "a number of channels", "How many channels one websocket may hear or publish to."
    )
    max_websockets: int | None = _option(
        None, _positive_int_or_none, _LIMIT, "Websockets of one process; None lets the open files decide."
    )
    max_websockets_per_user: int | None = _option(
        2000, _positive_int_or_none, _LIMIT, "Websockets of one logged-in user in one process."
    )
    max_websockets_per_address: int | None = _option(
        None, _positive_int_or_none, _LIMIT, "Websockets of one client address in one process."
    )
    trusted_proxies: Collection[str] | None = _option(
        None,
        _networks_or_none,
        "None or a list of networks such as 10.0.0.0/8; 'unix' is a Unix socket",
        "Proxies whose X-Forwarded-For tells the client's address.",
    )
    timeout: float = _option(
        5, _positive, "a number of seconds", "The longest that a publisher or a new websocket waits for Redis."
    )
    drain_seconds: float = _option(
        5,
        _not_negative,
        "a number of seconds",
        "Over which an ending worker sends its browsers to the others; where none is left they go at once.",
    )
    max_connections: int = _option(
        16, _positive_int, "a number of connections", "Redis connections with which one process publishes."
    )
    io_uring: bool = _option(
        True,
        _boolean,
        "True or False",
        "Send to many browsers with one call, where the kernel allows io_uring (Linux 5.18).",
    )
    threads: int = _option(
        16, _positive_int, "a number of threads", "Threads in which the loop looks up sessions and runs the hooks."
    )
    given: frozenset[str] = frozenset()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """From the settings that the site has, by their names."""
        values = {name.removeprefix(PREFIX).lower(): value for name, value in given.items()}
        return cls(**values, given=frozenset(given))

    def is_set(self, name: str) -> bool:
        """Whether the site has set it, such as ``WS4REDIS_TIMEOUT``; a default may depend on another setting."""
        return name in self.given


#: by the names that they have in Django's settings
_OURS: dict[str, Setting] = {
    PREFIX + each.name.upper(): each.metadata["setting"] for each in fields(Options) if each.metadata
}

SETTINGS = _HISTORIC | _OURS

#: what was read already: it takes Django long to say that it does not know a name, and publishing asks for several
_read: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    read = _read  # of before a change that another thread makes meanwhile
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
    """What the settings of ours are now; for a server that starts."""
    module = sys.modules[__name__]
    return Options.of({name: getattr(module, name) for name in _OURS if is_set(name)})
