from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory, override_settings

import tests.django_setup  # noqa: F401
from ws4redis.auth.origin import check_origin
from ws4redis.exceptions import UpgradeRefused

SITE: dict[str, Any] = {
    "DEBUG": False,
    "ALLOWED_HOSTS": [],
    "CSRF_TRUSTED_ORIGINS": [],
    "WS4REDIS_ALLOWED_ORIGINS": [],
    "USE_X_FORWARDED_HOST": False,
}


def refusal(origin: str | None, cookie: str | None = "sessionid=x", **headers: str) -> UpgradeRefused | None:
    values = {"HTTP_ORIGIN": origin, "HTTP_COOKIE": cookie, **headers}
    request = RequestFactory().get("/ws/a")
    request.META.pop("HTTP_COOKIE", None)
    request.META.update({name: value for name, value in values.items() if value is not None})
    try:
        check_origin(request)
    except UpgradeRefused as error:
        return error
    return None


def verdict(origin: str | None, host: str | None, cookie: str | None = "sessionid=x", **settings: Any) -> str:
    with override_settings(**{**SITE, **settings}):
        headers = {} if host is None else {"HTTP_HOST": host}
        return "refused" if refusal(origin, cookie, **headers) else "accepted"


# Origin, Host
OWN_HOST = [
    # the same host, whatever the scheme
    ("https://example.com", "example.com", "accepted"),
    ("http://example.com", "example.com", "accepted"),
    ("https://other.com", "example.com", "refused"),
    ("https://www.example.com", "example.com", "refused"),
    ("https://example.com", "www.example.com", "refused"),
    ("https://example.com.evil.net", "example.com", "refused"),
    ("https://evilexample.com", "example.com", "refused"),
    ("https://example.com@evil.net", "example.com", "refused"),
    ("http://[2001:db8::1]z8000", "[2001:db8::1]", "refused"),
    ("http://evil.net[2001:db8::1];e", "[2001:db8::1]", "refused"),
    ("http://evil.net\\@example.com", "example.com", "refused"),
    ("https://example.com", "", "refused"),
    ("https://example.com", None, "refused"),
    # the port must agree where Host carries one
    ("https://example.com:8443", "example.com", "accepted"),
    ("https://example.com:8443", "example.com:8443", "accepted"),
    ("https://example.com", "example.com:8443", "refused"),
    ("https://example.com:8443", "example.com:8444", "refused"),
    ("http://127.0.0.1:8000", "127.0.0.1:8000", "accepted"),
    ("http://127.0.0.1:3000", "127.0.0.1:8000", "refused"),
    ("http://127.0.0.2:8000", "127.0.0.1:8000", "refused"),
    # default ports
    ("https://example.com", "example.com:443", "accepted"),
    ("http://example.com", "example.com:80", "accepted"),
    ("http://example.com", "example.com:443", "refused"),
    ("https://example.com:443", "example.com", "accepted"),
    # IPv6
    ("http://[2001:db8::1]:8000", "[2001:db8::1]:8000", "accepted"),
    ("http://[2001:db8::1]", "[2001:db8::1]", "accepted"),
    ("http://[2001:DB8::1]", "[2001:db8::1]", "accepted"),
    ("http://[2001:db8::2]", "[2001:db8::1]", "refused"),
    # upper case
    ("HTTPS://EXAMPLE.com", "Example.COM", "accepted"),
    # trailing dots
    ("https://example.com.", "example.com.", "accepted"),
    ("https://example.com", "example.com.", "accepted"),
    ("https://example.com.", "example.com", "accepted"),
    ("https://example.com.:8443", "example.com.:8443", "accepted"),
    # international names travel as ASCII
    ("https://xn--bcher-kva.example", "xn--bcher-kva.example", "accepted"),
]


@pytest.mark.parametrize(("origin", "host", "expected"), OWN_HOST)
def test_the_requests_own_host(origin: str, host: str | None, expected: str) -> None:
    assert verdict(origin, host) == expected


def test_a_browser_without_cookies_may_come_from_anywhere() -> None:
    assert verdict("https://evil.net", "example.com", cookie=None) == "accepted"
    assert verdict("https://evil.net", "example.com", cookie="") == "accepted"
    assert verdict("null", "example.com", cookie=None) == "accepted"


@pytest.mark.parametrize("cookie", ["sessionid=x", "unknown=1", "broken"])
def test_any_cookie_counts(cookie: str) -> None:
    assert verdict("https://evil.net", "example.com", cookie) == "refused"


def test_what_is_no_browser_sends_no_origin() -> None:
    assert verdict(None, "example.com") == "accepted"


# ALLOWED_HOSTS, Origin, Host
ALLOWED_HOSTS = [
    # the proxy passes the name of its upstream
    (["example.com"], "https://example.com", "websockets", "accepted"),
    (["example.com"], "https://example.com", "127.0.0.1:9090", "accepted"),
    (["example.com"], "https://example.com:8443", "127.0.0.1:9090", "accepted"),
    (["example.com"], "https://example.com", None, "accepted"),
    (["example.com", "www.example.com"], "https://www.example.com", "example.com", "accepted"),
    (["Example.COM"], "https://example.com", "websockets", "accepted"),
    (["example.com"], "https://EXAMPLE.com", "websockets", "accepted"),
    (["example.com"], "https://example.com.", "websockets", "accepted"),
    (["[2001:db8::1]"], "http://[2001:db8::1]:8000", "websockets", "accepted"),
    (["example.com"], "https://www.example.com", "example.com", "refused"),
    (["example.com"], "https://evil.net", "example.com", "refused"),
    # subdomains
    ([".example.com"], "https://www.example.com", "websockets", "accepted"),
    ([".example.com"], "https://a.b.example.com", "websockets", "accepted"),
    ([".example.com"], "https://example.com", "websockets", "accepted"),
    ([".example.com"], "https://evilexample.com", "websockets", "refused"),
    # a bare * says nothing about pages
    (["*"], "https://evil.net", "example.com", "refused"),
    (["*"], "https://example.com", "example.com", "accepted"),
    (["*", "example.org"], "https://example.org", "example.com", "accepted"),
    ([""], "https://evil.net", "example.com", "refused"),
]


@pytest.mark.parametrize(("allowed", "origin", "host", "expected"), ALLOWED_HOSTS)
def test_allowed_hosts(allowed: list[str], origin: str, host: str | None, expected: str) -> None:
    assert verdict(origin, host, ALLOWED_HOSTS=allowed) == expected


# entry, Origin; the same in CSRF_TRUSTED_ORIGINS and in WS4REDIS_ALLOWED_ORIGINS
ENTRIES = [
    ("https://shop.example", "https://shop.example", "accepted"),
    ("https://shop.example", "https://shop.example:443", "accepted"),
    ("https://SHOP.example", "https://shop.EXAMPLE", "accepted"),
    ("https://shop.example", "http://shop.example", "refused"),
    ("https://shop.example", "https://shop.example:8443", "refused"),
    ("https://shop.example", "https://www.shop.example", "refused"),
    ("https://shop.example", "https://evilshop.example", "refused"),
    ("https://shop.example:8443", "https://shop.example:8443", "accepted"),
    ("https://shop.example:8443", "https://shop.example", "refused"),
    ("http://127.0.0.1:3000", "http://127.0.0.1:3000", "accepted"),
    ("http://[::1]:3000", "http://[::1]:3000", "accepted"),
    ("https://*.shop.example", "https://www.shop.example", "accepted"),
    ("https://*.shop.example", "https://a.b.shop.example", "accepted"),
    ("https://*.shop.example", "https://evilshop.example", "refused"),
    ("https://*.shop.example", "http://www.shop.example", "refused"),
    ("https://*.shop.example", "https://www.shop.example:8443", "refused"),
    ("https://*.shop.example:8443", "https://www.shop.example:8443", "accepted"),
    ("https://*.shop.example:8443", "https://www.shop.example", "refused"),
]

# entry, Origin; hosts without a scheme, which CSRF_TRUSTED_ORIGINS does not know
BARE_ENTRIES = [
    ("shop.example", "https://shop.example", "accepted"),
    ("shop.example", "http://shop.example:8080", "accepted"),
    ("shop.example", "https://www.shop.example", "refused"),
    ("shop.example:8080", "http://shop.example:8080", "accepted"),
    ("shop.example:8080", "http://shop.example", "refused"),
    (".shop.example", "https://www.shop.example", "accepted"),
    (".shop.example", "https://shop.example", "accepted"),
    ("*.shop.example", "https://www.shop.example", "accepted"),
    (".shop.example", "https://evilshop.example", "refused"),
    ("", "https://evil.net", "refused"),
]


@pytest.mark.parametrize(("entry", "origin", "expected"), ENTRIES)
@pytest.mark.parametrize("setting", ["CSRF_TRUSTED_ORIGINS", "WS4REDIS_ALLOWED_ORIGINS"])
def test_trusted_origins(setting: str, entry: str, origin: str, expected: str) -> None:
    assert verdict(origin, "example.com", **{setting: ["https://other.example", entry]}) == expected


@pytest.mark.parametrize(("entry", "origin", "expected"), BARE_ENTRIES)
def test_allowed_origins_without_a_scheme(entry: str, origin: str, expected: str) -> None:
    assert verdict(origin, "example.com", WS4REDIS_ALLOWED_ORIGINS=(entry,)) == expected


# Origin, Host, with DEBUG, without
THIS_MACHINE = [
    ("http://localhost:8000", "127.0.0.1:8000", "accepted", "refused"),
    ("http://127.0.0.1:8000", "localhost:8000", "accepted", "refused"),
    ("http://[::1]:8000", "localhost:8000", "accepted", "refused"),
    ("http://localhost:8000", "[::1]:8000", "accepted", "refused"),
    ("http://LOCALHOST:8000", "127.0.0.1", "accepted", "refused"),
    ("http://localhost:8000", "localhost:8000", "accepted", "accepted"),
    ("http://localhost:3000", "127.0.0.1:8000", "refused", "refused"),
    ("http://evil.net:8000", "127.0.0.1:8000", "refused", "refused"),
    ("http://localhost:8000", "example.com:8000", "refused", "refused"),
    ("http://evil.net:8000", "example.com:8000", "refused", "refused"),
]


@pytest.mark.parametrize(("origin", "host", "with_debug", "without"), THIS_MACHINE)
def test_one_machine_has_three_names_in_development(origin: str, host: str, with_debug: str, without: str) -> None:
    assert verdict(origin, host, DEBUG=True) == with_debug
    assert verdict(origin, host, DEBUG=False) == without


# whether the setting is on, X-Forwarded-Host, Host
FORWARDED = [
    (True, "example.com", "websockets", "accepted"),
    (True, None, "example.com", "accepted"),
    (True, "other.com", "example.com", "refused"),
    (False, "example.com", "websockets", "refused"),
]


@pytest.mark.parametrize(("use", "forwarded", "host", "expected"), FORWARDED)
def test_forwarded_host(use: bool, forwarded: str | None, host: str, expected: str) -> None:
    with override_settings(**{**SITE, "USE_X_FORWARDED_HOST": use}):
        headers = {"HTTP_HOST": host} | ({"HTTP_X_FORWARDED_HOST": forwarded} if forwarded else {})
        assert ("refused" if refusal("https://example.com", **headers) else "accepted") == expected


BAD_ORIGINS = [
    "",
    " ",
    "null",
    "example.com",
    "//example.com",
    "https://",
    "https:///example.com",
    "file://",
    "file://example.com",
    "javascript://example.com",
    "https://example.com:port",
    "https://example.com:99999",
    "https://[::1",
    "https://[example.com]",
    "https://exam\tple.com",
    "https://exam\r\nple.com",
    "\x00https://example.com",
    "\x1fhttps://example.com",
    "https://example.com\x00",
    "https://example.com\x7f",
    "https://example.com\n",
    "https://example.com evil.net",
    "https://example.com, https://evil.net",
    "https://ex\xe4mple.com",
    "https://пример.com",
    "https://example.com\u2028",
    "https://" + "a" * 100_000,
    "https://" + "a." * 50_000 + "com",
    "'\"<script>\\",
]


@pytest.mark.parametrize("origin", BAD_ORIGINS, ids=lambda origin: ascii(origin[:30]))
@pytest.mark.parametrize("debug", [False, True])
def test_what_is_no_origin_is_refused(origin: str, debug: bool) -> None:
    assert verdict(origin, "example.com", DEBUG=debug, ALLOWED_HOSTS=["example.com", "*"]) == "refused"


BAD_HOSTS = ["", "evil.net\r\nX: y", "b" * 100_000, "exa mple.com", "пример.com", "\x00", "[::1", ":80", ".", "*"]


@pytest.mark.parametrize("origin", [*BAD_ORIGINS, "https://evil.net"], ids=lambda origin: ascii(origin[:30]))
@pytest.mark.parametrize("host", BAD_HOSTS, ids=lambda host: ascii(host[:30]))
def test_the_refusal_is_clean_text(origin: str, host: str) -> None:
    with override_settings(**SITE):
        error = refusal(origin, HTTP_HOST=host)
    assert error is not None
    text = str(error)
    assert error.status == 403
    assert text.isascii()
    assert text.isprintable(), ascii(text)
    assert len(text) < 3000


def test_the_refusal_says_what_to_change() -> None:
    with override_settings(**SITE):
        text = str(refusal("https://evil.net", HTTP_HOST="example.com:8000"))
    for part in ("https://evil.net", "example.com:8000", "WS4REDIS_ALLOWED_ORIGINS"):
        assert part in text
