"""Cross-site check: a browser sends our cookies along with any page's websocket (RFC 6455, section 10.2)."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.http.request import is_same_domain, split_domain_port

from ws4redis import settings
from ws4redis.exceptions import UpgradeRefused

_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "[::1]"})

#: RFC 6454, section 6.2
_SERIALIZED = re.compile(r"[a-z]+://([\w.~-]+|\[[\da-f:.]+\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)

_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


def check_origin(request: HttpRequest) -> None:
    """Refuse a page of another site whose request carries a cookie.

    Raises:
        UpgradeRefused: 403, with what to change.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None and settings.WS4REDIS_REQUIRE_ORIGIN:
        raise UpgradeRefused(403, "The request has no Origin, so it comes from no browser (WS4REDIS_REQUIRE_ORIGIN).")
    if origin is None or not request.META.get("HTTP_COOKIE"):
        return
    host = _host(request)
    if not _is_trusted(origin, host):
        shown, answered = ascii(origin[:200])[1:-1], ascii(host[:200])[1:-1]
        raise UpgradeRefused(
            403,
            f"The page's origin {shown} is not this site ({answered}). If it is yours, name it in "
            "WS4REDIS_ALLOWED_ORIGINS, CSRF_TRUSTED_ORIGINS or ALLOWED_HOSTS; behind a proxy, let it pass the host: "
            "for nginx 'proxy_set_header Host $http_host;'.",
        )


def _host(request: HttpRequest) -> str:
    forwarded = request.META.get("HTTP_X_FORWARDED_HOST") if django_settings.USE_X_FORWARDED_HOST else None
    return str(forwarded or request.META.get("HTTP_HOST", ""))


def _is_trusted(origin: str, host: str) -> bool:
    if not _SERIALIZED.fullmatch(origin):
        return False  # urlsplit would take it for something else
    try:
        parts = urlsplit(origin)
        name, port = (parts.hostname or "").lower().removesuffix("."), parts.port
    except ValueError:
        return False
    if not name or parts.scheme not in _DEFAULT_PORTS or ("[" in parts.netloc) != (":" in name):
        return False
    if ":" in name:
        name = f"[{name}]"
    origin_port = str(port) if port else _DEFAULT_PORTS[parts.scheme]
    return (
        _is_own_host(name, origin_port, host)
        or any(is_same_domain(name, allowed) for allowed in django_settings.ALLOWED_HOSTS if allowed != "*")
        or any(_matches(parts, name, origin_port, allowed) for allowed in _allowed_origins())
    )


def _is_own_host(name: str, origin_port: str, host: str) -> bool:
    """The port must agree only where Host carries one: some proxies pass the bare name."""
    own_name, own_port = split_domain_port(host)
    if own_port and own_port != origin_port:
        return False
    if django_settings.DEBUG and name in _THIS_MACHINE and own_name in _THIS_MACHINE:
        return True
    return bool(own_name) and name == own_name


def _allowed_origins() -> list[str]:
    return [*django_settings.CSRF_TRUSTED_ORIGINS, *settings.WS4REDIS_ALLOWED_ORIGINS]


def _matches(origin: SplitResult, name: str, origin_port: str, allowed: str) -> bool:
    """``allowed`` is https://host, https://*.host, https://host:port, or a bare host or .host."""
    scheme, separator, place = allowed.rpartition("://")
    if separator and scheme != origin.scheme:
        return False
    allowed_name, allowed_port = split_domain_port(place.removeprefix("*"))
    if separator and (allowed_port or _DEFAULT_PORTS.get(scheme)) != origin_port:
        return False
    if not separator and allowed_port and allowed_port != origin_port:
        return False
    return bool(allowed_name) and is_same_domain(name, allowed_name)
