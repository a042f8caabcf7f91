"""System checks: what is wrong with the settings, before anybody connects."""

from __future__ import annotations

import difflib
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ws4redis import settings
from ws4redis.auth.hook_source import asks_for_none, may_return_none
from ws4redis.core import channels

_DOTTED_PATHS = (
    "WS4REDIS_CONNECTION",
    "WS4REDIS_SUBSCRIBER",
    "WS4REDIS_PROCESS_REQUEST",
    "WS4REDIS_ALLOWED_CHANNELS",
    "WS4REDIS_SUBPROTOCOL",
)


def check_predecessor() -> list[CheckMessage]:
    try:
        distribution("django-websocket-redis")
    except PackageNotFoundError:
        return []
    return [
        Error(
            "django-websocket-redis is installed beside its successor: both bring a package ws4redis, their files mix.",
            hint="pip uninstall django-websocket-redis, then pip install --force-reinstall ws4redis",
            id="ws4redis.E001",
        )
    ]


def check_values() -> list[CheckMessage]:
    return [
        Error(f"{name} is {value!r}.", hint=f"It must be {setting.expected}.", id="ws4redis.E002")
        for name, setting in settings.SETTINGS.items()
        if not setting.accepts(value := getattr(settings, name))
    ]


def assure_prefix() -> None:
    """
    Raises:
        ImproperlyConfigured: with this prefix our channels would be those of another site's audiences.
    """
    taken = [part for part in str(settings.WS4REDIS_PREFIX or "").split(":") if part in channels.AUDIENCES]
    if taken:
        raise ImproperlyConfigured(
            f"WS4REDIS_PREFIX is {settings.WS4REDIS_PREFIX!r}: a site whose prefix is what stands before {taken[0]!r}, "
            "or that has none, would get messages of this site. Choose a prefix in which no part between colons is "
            f"{', '.join(channels.AUDIENCES[:-1])} or {channels.AUDIENCES[-1]}."
        )


def check_prefix() -> list[CheckMessage]:
    try:
        assure_prefix()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="Until then no websocket server starts.", id="ws4redis.E005")]
    return []


def check_slashes() -> list[CheckMessage]:
    url = settings.WEBSOCKET_URL
    if not url or not isinstance(url, str) or (url.startswith("/") and url.endswith("/")):
        return []
    hint = f"Make it {'/' + url.strip('/') + '/'!r}; a slash that it lacks begins the facility of each websocket."
    return [Warning(f"WEBSOCKET_URL is {url!r}, without a slash at both ends.", hint=hint, id="ws4redis.W003")]


def check_connection() -> list[CheckMessage]:
    from ws4redis.broker.client import GONE  # here, because beside the predecessor it cannot be imported

    given = settings.WS4REDIS_CONNECTION
    return [
        Warning(f"WS4REDIS_CONNECTION: {name} is left out.", hint=f"Remove it: {reason}.", id="ws4redis.W004")
        for name, reason in GONE.items()
        if isinstance(given, dict) and name in given
    ]


def check_hooks() -> list[CheckMessage]:
    """A hook that rejects a user who is None would let everybody in."""
    return [
        Warning(
            f"{name} only looks whether request.{attribute} is None, which it never is.",
            hint=f"A client that has not logged in has an AnonymousUser and an empty session: ask {better}.",
            id="ws4redis.W005",
        )
        for name in ("WS4REDIS_ALLOWED_CHANNELS", "WS4REDIS_SUBSCRIBER")
        for attribute, better in asks_for_none(_code_of(_imported(name))).items()
    ]


def _code_of(found: Any) -> Any:
    """Of a hook, or of a subscriber's method that knows the request."""
    return getattr(found, "set_pubsub_channels", found)


def check_dotted_paths() -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for name in _DOTTED_PATHS:
        value = getattr(settings, name)
        if isinstance(value, str) and "://" not in value:
            try:
                import_string(value)
            except Exception as error:
                errors.append(
                    Error(f"{name}: {error}", hint="Until it can be imported, nobody can connect.", id="ws4redis.E003")
                )
    return errors


def check_bounds() -> list[CheckMessage]:
    problems: list[CheckMessage] = []
    if settings.WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS is not None and settings.WS4REDIS_TRUSTED_PROXIES is None:
        hint = "Set WS4REDIS_TRUSTED_PROXIES to the proxies in front of uWSGI, or to [] where there are none."
        text = "WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS would count all clients of a proxy as one."
        problems.append(Error(text, hint=hint, id="ws4redis.E004"))
    sizes = settings.WS4REDIS_OUTBOX_SIZE, settings.WS4REDIS_MAX_MESSAGE_SIZE
    if all(isinstance(each, int) for each in sizes) and sizes[0] < 4 * sizes[1]:
        hint = "Make WS4REDIS_OUTBOX_SIZE at least four times WS4REDIS_MAX_MESSAGE_SIZE."
        text = "A few large messages at once would close clients that are not slow."
        problems.append(Warning(text, hint=hint, id="ws4redis.W002"))
    return problems


def check_names() -> list[CheckMessage]:
    """A hook with a misspelt name would never be asked."""
    unknown = [
        name for name in dir(django_settings) if name.startswith(settings.PREFIX) and name not in settings.SETTINGS
    ]
    return [
        Warning(
            f"{name} is no setting of ws4redis.",
            hint=f"Known are {', '.join(difflib.get_close_matches(name, settings.SETTINGS) or settings.SETTINGS)}.",
            id="ws4redis.W001",
        )
        for name in unknown
    ]


def check_authorisation() -> list[CheckMessage]:
    """What a public site must decide; only for ``--deploy``, for a demonstration may do without."""
    problems: list[CheckMessage] = []
    callback = _imported("WS4REDIS_ALLOWED_CHANNELS")
    if callable(callback) and may_return_none(callback):
        name = f"{callback.__module__}.{getattr(callback, '__qualname__', type(callback).__qualname__)}"
        hint = "Let each of its ends return a list, [] for nothing, or raise PermissionDenied."
        text = f"WS4REDIS_ALLOWED_CHANNELS: {name} may return None, which leaves all requested channels allowed."
        problems.append(Warning(text, hint=hint, id="ws4redis.W010"))
    if _everybody_may_publish():
        hint = "Let WS4REDIS_ALLOWED_CHANNELS name a function that decides, or silence this where it is meant so."
        text = "Every client may publish on every facility, without logging in."
        problems.append(Warning(text, hint=hint, id="ws4redis.W011"))
    return problems


def _everybody_may_publish() -> bool:
    """A subscriber or a request's processing of the site's own may decide, too."""
    # here, because beside the predecessor it may be that one's
    from ws4redis.subscriber import RedisSubscriber, decides_nothing

    return decides_nothing(_imported("WS4REDIS_SUBSCRIBER")) and bool(RedisSubscriber.publish_channels)


def _imported(name: str) -> Any:
    """What a setting names; None where it leads nowhere, which check_dotted_paths reports."""
    value = getattr(settings, name)
    try:
        return import_string(value) if isinstance(value, str) else value
    except Exception:
        return None


@register("ws4redis")
def check(**kwargs: Any) -> list[CheckMessage]:
    return all_problems()


@register("ws4redis", deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    return [] if check_predecessor() else check_authorisation()


def all_problems() -> list[CheckMessage]:
    """Also called at a server's start, which does not run ``manage.py check``.

    Beside the predecessor nothing else is looked at: settings.py may be either's.
    """
    return check_predecessor() or [
        problem
        for each in (
            check_values,
            check_prefix,
            check_slashes,
            check_connection,
            check_hooks,
            check_dotted_paths,
            check_bounds,
            check_names,
        )
        for problem in each()
    ]
