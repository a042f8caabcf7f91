"""Cross-site check: a browser sends our cookies along with any page's websocket (RFC 6455, section 10.2).

A page is of this site if scheme, host and port are, as for Django's CSRF protection.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.http.request import is_same_domain, split_domain_port, validate_host

from ws4redis.exceptions import UpgradeRefused

_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "[::1]"})

#: what Django allows with DEBUG where ALLOWED_HOSTS is empty
_DEBUG_HOSTS = [".localhost", "127.0.0.1", "[::1]"]

#: RFC 6454, section 6.2
_SERIALIZED = re.compile(r"[a-z]+://([\w.~-]+|\[[\da-f:.]+\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)

_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}

#: some clients name the websocket's scheme in place of the page's
_PAGE_SCHEMES = {"ws": "http", "wss": "https"}

#: what identifies a user, besides what hooks find in the URL; browsers add each of them to any page's request
_AUTHORITY = (
    "HTTP_COOKIE",
    "HTTP_AUTHORIZATION",
    # a web server or a proxy that has logged the user in
    "REMOTE_USER",
    "HTTP_REMOTE_USER",
    "HTTP_X_REMOTE_USER",
    "HTTP_X_FORWARDED_USER",
    # client certificates: uWSGI's https, RFC 9440, Envoy
    "HTTPS_DN",
    "HTTPS_CC",
    "HTTP_CLIENT_CERT",
    "HTTP_X_CLIENT_CERT",
    "HTTP_X_FORWARDED_CLIENT_CERT",
)

#: of Apache and nginx, as variables (SSL_CLIENT_S_DN) and as the headers that proxies make of them (X-SSL-Client-DN)
_CERTIFICATE = "SSL_CLIENT_"

#: their value where a browser has shown no certificate
_NO_CERTIFICATE = ("", "NONE", "(null)")


class Place(NamedTuple):
    """The origin of a page or the host of a request; name in lower case, without a final dot, IPv6 in brackets."""

    scheme: str
    name: str
    port: str

    @property
    def has_default_port(self) -> bool:
        return self.port == _DEFAULT_PORTS.get(self.scheme)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}" + ("" if self.has_default_port else f":{self.port}")


def check_origin(request: HttpRequest, hooked: bool, allowed: Collection[str]) -> None:
    """Reject a page of another site whose request carries any authority.

    Args:
        hooked: the site's own code checks permissions, by anything that it finds in the request.
        allowed: further pages that may connect (``WS4REDIS_ALLOWED_ORIGINS``).

    Raises:
        UpgradeRefused: 403, with what to change.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None or not (hooked or carries_authority(request)):
        return
    parts, own = _parsed(origin), _own_place(request)
    page = _page(parts) if parts is not None else None
    if parts is not None and page is not None and (_is_own(page, own) or _is_allowed(parts, page, allowed)):
        return
    answered = str(own) if own.name else _host(request)
    raise UpgradeRefused(
        403,
        f"The page's origin {_shown(origin)} is not this site ({_shown(answered)}). {_advice(page, own)}"
        "If it is a page of yours elsewhere, name it in WS4REDIS_ALLOWED_ORIGINS or CSRF_TRUSTED_ORIGINS.",
    )


def carries_authority(request: HttpRequest) -> bool:
    """Whether anything that a browser adds by itself identifies the user."""
    meta = request.META
    if any(map(meta.get, _AUTHORITY)):
        return True
    # one search, where a look at each name would take longer than the rest of this module
    return _CERTIFICATE in " ".join(meta) and any(
        _CERTIFICATE in name and value not in _NO_CERTIFICATE for name, value in meta.items()
    )


def _parsed(origin: str) -> SplitResult | None:
    """None for what is no origin; urlsplit would take it for something else."""
    if not _SERIALIZED.fullmatch(origin):
        return None
    try:
        parts = urlsplit(origin)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _page(parts: SplitResult) -> Place | None:
    name = (parts.hostname or "").removesuffix(".")
    if not name or parts.scheme not in _DEFAULT_PORTS or ("[" in parts.netloc) != (":" in name):
        return None
    scheme = _PAGE_SCHEMES.get(parts.scheme, parts.scheme)
    port = _DEFAULT_PORTS[scheme] if parts.port is None else str(parts.port)
    return Place(scheme, f"[{name}]" if ":" in name else name, port)


def _own_place(request: HttpRequest) -> Place:
    """The host to which the request was sent, as far as the proxies tell; without a name where Host is none."""
    scheme = "https" if request.is_secure() else "http"
    name, port = split_domain_port(_host(request))
    if not port and django_settings.USE_X_FORWARDED_PORT:
        port = str(request.META.get("HTTP_X_FORWARDED_PORT", ""))
    return Place(scheme, name, port or _DEFAULT_PORTS[scheme])


def _host(request: HttpRequest) -> str:
    forwarded = request.META.get("HTTP_X_FORWARDED_HOST") if django_settings.USE_X_FORWARDED_HOST else None
    return str(forwarded or request.META.get("HTTP_HOST", ""))


def _is_own(page: Place, own: Place) -> bool:
    if page == own or _is_this_machine(page, own):
        return bool(validate_host(own.name, _allowed_hosts()))
    if page.name == own.name:
        # an HTTPS page connects over TLS only: a proxy has taken that off, and Django is not told
        return page.scheme == "https" and page.has_default_port and own == Place("http", own.name, "80") and _named(own)
    if _named(own):
        return False
    # a proxy passes no Host: what arrives is the name of its upstream, or nothing
    return page.has_default_port and (page.scheme == "https" or own.scheme == "http") and _is_in_allowed_hosts(page)


def _is_this_machine(page: Place, own: Place) -> bool:
    """In development one machine has three names."""
    names = {page.name, own.name}
    return bool(django_settings.DEBUG) and names <= _THIS_MACHINE and page == own._replace(name=page.name)


def _allowed_hosts() -> list[str]:
    hosts = list(django_settings.ALLOWED_HOSTS)
    return hosts or (_DEBUG_HOSTS if django_settings.DEBUG else [])


def _is_in_allowed_hosts(place: Place) -> bool:
    """By its name: ``*`` tells nothing."""
    return bool(validate_host(place.name, [host for host in _allowed_hosts() if host not in ("*", "")]))


def _named(own: Place) -> bool:
    """Whether this is surely the host that the browser named, and not the address of a proxy's upstream."""
    return own.name != "localhost" and not _is_address(own.name) and _is_in_allowed_hosts(own)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_allowed(parts: SplitResult, page: Place, allowed: Collection[str]) -> bool:
    return any(_matches(parts, page, each) for each in [*django_settings.CSRF_TRUSTED_ORIGINS, *allowed])


def _matches(origin: SplitResult, page: Place, allowed: str) -> bool:
    """``allowed`` is https://host, https://*.host, https://host:port, or a bare host or .host."""
    scheme, separator, place = allowed.rpartition("://")
    if separator and scheme != origin.scheme:
        return False
    allowed_name, allowed_port = split_domain_port(place.removeprefix("*"))
    if separator and (allowed_port or _DEFAULT_PORTS.get(scheme)) != page.port:
        return False
    if not separator and allowed_port and allowed_port != page.port:
        return False
    return bool(allowed_name) and is_same_domain(page.name, allowed_name)


def _advice(page: Place | None, own: Place) -> str:
    """Advice for a page that may well be this site's; empty for others."""
    if page is None:
        return ""
    if page.name != own.name:
        if _named(own):
            return ""
        name_it = f", or name {_shown(page.name)} in ALLOWED_HOSTS, where '*' names nothing" * page.has_default_port
        return f"If it is, let the proxy pass the host on: for nginx 'proxy_set_header Host $http_host;'{name_it}. "
    if page.scheme != own.scheme and own.scheme == "http":
        return (
            "If it is, TLS ends at a proxy: let it set X-Forwarded-Proto, and set SECURE_PROXY_SSL_HEADER = "
            '("HTTP_X_FORWARDED_PROTO", "https"). '
        )
    if page.port != own.port:
        return (
            "If it is, the proxy drops the port from the host: for nginx 'proxy_set_header Host $http_host;', or let "
            "it set X-Forwarded-Port, and set USE_X_FORWARDED_PORT = True. "
        )
    if page == own:
        return f"If it is, name {_shown(page.name)} in ALLOWED_HOSTS. "
    return ""


def _shown(text: str) -> str:
    return ascii(text[:200])[1:-1]
