"""Who it is, and from where: the headers Cookie, Origin and Host, X-Forwarded-Host, X-Forwarded-For and -Proto.

The parts of an input are their values, in this order; those at the end may be missing.
"""

from __future__ import annotations

import re
from functools import cache
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.backends import BaseBackend
from django.contrib.sessions.backends.cache import KEY_PREFIX
from django.core.cache import caches
from django.test import override_settings

from tests.fuzz import SEPARATOR
from tests.fuzz.application import answer
from ws4redis.auth.client_address import client_address
from ws4redis.auth.identity import identity_of
from ws4redis.core.identity import Identity

#: the one session that there is
KNOWN = "0123456789abcdefghijklmnopqrstuv"


class OneUser(BaseBackend):
    """john, without a database."""

    def get_user(self, user_id: Any) -> Any:
        return john() if user_id == 1 else None


@cache
def john() -> Any:
    from django.contrib.auth.models import User  # needs the app registry

    return User(pk=1, username="john", password="secret")


SETTINGS: dict[str, Any] = {
    "DEBUG": False,
    "ALLOWED_HOSTS": ["testserver", ".example.com", "[2001:db8::1]"],
    "CSRF_TRUSTED_ORIGINS": ["https://*.shop.example:8443"],
    "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
    "WS4REDIS_TRUSTED_PROXIES": ["unix", "10.0.0.0/8", "2001:db8::/32"],
    "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
    "AUTHENTICATION_BACKENDS": ["tests.fuzz.cookies.OneUser"],
    "CACHES": {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "fuzz", "TIMEOUT": None}
    },
}

HEADERS = (
    "HTTP_COOKIE",
    "HTTP_ORIGIN",
    "HTTP_HOST",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
)

#: a page's scheme, name and port
ORIGIN = re.compile(r"(https?|wss?)://([a-z0-9_.~-]+|\[[0-9a-f:.]+\])(?::([0-9]+))?")

#: whose pages may connect: those of ALLOWED_HOSTS, and those of CSRF_TRUSTED_ORIGINS
OURS = re.compile(r"testserver|(.+\.)?example\.com|\[2001:db8::1\]")
SHOP = re.compile(r"(.+\.)?shop\.example")


def check(data: bytes) -> None:
    parts = (data + (len(HEADERS) - 1) * SEPARATOR).decode("latin-1").split(chr(SEPARATOR[0]))
    environ = {name: value for name, value in zip(HEADERS, parts, strict=False) if value}
    cookie, origin, host, forwarded, _, proto = parts[: len(HEADERS)]
    with override_settings(USE_X_FORWARDED_HOST=bool(forwarded)):
        check_answer(environ, cookie, origin, forwarded or host or "testserver", proto)
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        assert answer({"HTTP_COOKIE": cookie}).status == 101


def check_answer(environ: dict[str, str], cookie: str, origin: str, host: str, proto: str) -> None:
    caches["default"].set(KEY_PREFIX + KNOWN, session())
    status, body, request = answer(environ)
    assert status in (101, 403)
    if status == 403:
        assert cookie and origin and "WS4REDIS_ALLOWED_ORIGINS" in body
        return
    secure = proto.split(",")[0].strip() == "https"
    trusted = is_trusted(origin, host, secure)
    assert not (cookie and origin) or trusted, f"{origin!r} is a page of another site than {host!r}"
    assert request is not None
    address = client_address(request, SETTINGS["WS4REDIS_TRUSTED_PROXIES"])
    assert address in ("", "unknown") or str(ip_address(address)) == address
    assert not address or "HTTP_X_FORWARDED_FOR" in environ
    if request.COOKIES.get(settings.SESSION_COOKIE_NAME) == KNOWN:
        assert (request.user, request.session.session_key) == (john(), KNOWN)
    else:
        assert identity_of(request) == Identity(), "whose session is this?"
    assert len(caches["default"]._cache) == 1, "something is stored for a stranger"


@cache
def session() -> dict[str, Any]:
    return {
        SESSION_KEY: "1",
        BACKEND_SESSION_KEY: "tests.fuzz.cookies.OneUser",
        HASH_SESSION_KEY: john().get_session_auth_hash(),
    }


def is_trusted(origin: str, host: str, secure: bool) -> bool:
    """What must hold of each page that gets in; some get in only if ``host`` is none of ours."""
    found = ORIGIN.fullmatch(origin.lower())
    if not found:
        return False
    page_secure, name = found[1] in ("https", "wss"), re.sub(r"\.$", "", found[2])
    default = "443" if page_secure else "80"
    port = found[3] or default
    if SHOP.fullmatch(name):
        return found[1] == "https" and port == "8443"
    if not OURS.fullmatch(name):
        return False
    own = re.sub(r"\.(?=:|$)", "", host.lower())
    if page_secure == secure and own in (f"{name}:{port}", *([name] if port == default else [])):
        return True
    return port == default and (page_secure or not secure)


def made_of(cookie: str = f"sessionid={KNOWN}", origin: str = "", host: str = "testserver", *forwarded: str) -> bytes:
    return SEPARATOR.join(part.encode("latin-1") for part in (cookie, origin, host, *forwarded))


def seeds() -> dict[str, bytes]:
    return {
        "known": made_of(origin="http://testserver"),
        "no-cookie": made_of("", "https://evil.example"),
        "no-origin": made_of(),
        "unknown": made_of(f"sessionid={KNOWN[::-1]}"),
        "quoted": made_of(f'a=b; sessionid="{KNOWN}"; sessionid=x;;=;  é=\\012'),
        "signed": made_of("sessionid=.eJxVjDsOwjAQBe_iGlm2Y3sJJT1nsPbjxQGUSHFSIe6OI6WA:1tXyZ0:aaaa"),
        "path": made_of("sessionid=../../etc/passwd"),
        "split": made_of(
            "sessionid=a\r\nInjected: yes\x00\x1b[31m", "https://e\r\nInjected: yes", "a\r\nInjected: yes"
        ),
        "long": made_of("sessionid=" + 300 * "x", "https://" + 300 * "x", 300 * "x"),
        "other-site": made_of(origin="https://evil.example"),
        "null": made_of(origin="null"),
        "subdomain": made_of(origin="https://www.example.com:8443"),
        "lookalike": made_of(origin="https://evilexample.com"),
        "prefix": made_of(origin="http://testserver.evil.example"),
        "suffix": made_of(origin="http://eviltestserver"),
        "shop": made_of(origin="https://a.b.SHOP.example:8443"),
        "user": made_of(origin="https://evil.example@testserver"),
        "ipv6": made_of(origin="http://[2001:db8::1]:8000", host="[2001:db8::1]"),
        "port": made_of(origin="http://localhost:99999", host="localhost:99999"),
        "forwarded": made_of("a=b", "http://public.site", "upstream", "public.site"),
        "proxies": made_of("", "", "testserver", "", "1.2.3.4, x\x1b[31m, 192.0.2.1 ,10.0.0.1, 2001:DB8::2"),
        "secure": made_of("a=b", "https://testserver", "testserver", "", "", "https"),
        "another-port": made_of("a=b", "https://testserver:8443", "testserver", "", "", "https"),
        "another-scheme": made_of("a=b", "http://testserver", "testserver", "", "", "https"),
        "no-host": made_of("a=b", "https://www.example.com", "localhost:9090", "", "", "https"),
        "backslash": made_of(origin="https://evil.example\\@testserver/"),
    }
