from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory, override_settings

import tests.django_setup  # noqa: F401
from ws4redis import settings
from ws4redis.auth.origin import check_origin
from ws4redis.exceptions import UpgradeRefused

SITE: dict[str, Any] = {
    "DEBUG": False,
    "ALLOWED_HOSTS": ["*"],
    "CSRF_TRUSTED_ORIGINS": [],
    "WS4REDIS_ALLOWED_ORIGINS": [],
    "USE_X_FORWARDED_HOST": False,
    "USE_X_FORWARDED_PORT": False,
    "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
}


def refusal(
    origin: str | None, cookie: str | None = "sessionid=x", hooked: bool = False, **headers: str
) -> UpgradeRefused | None:
    values = {"HTTP_ORIGIN": origin, "HTTP_COOKIE": cookie, **headers}
    request = RequestFactory().get("/ws/a")
    request.META.pop("HTTP_COOKIE", None)
    request.META.update({name: value for name, value in values.items() if value is not None})
    try:
        check_origin(request, hooked, settings.read_options().allowed_origins)
    except UpgradeRefused as error:
        return error
    return None


def report(
    origin: str | None, host: str | None, cookie: str | None = "sessionid=x", scheme: str = "http", **settings: Any
) -> str:
    with override_settings(**{**SITE, **settings}):
        headers = {"HTTP_X_FORWARDED_PROTO": scheme} | ({} if host is None else {"HTTP_HOST": host})
        return "refused" if refusal(origin, cookie, **headers) else "accepted"


# Origin, scheme of the request, Host
OWN_PLACE = [
    ("https://example.com", "https", "example.com", "accepted"),
    ("http://example.com", "http", "example.com", "accepted"),
    ("https://other.com", "https", "example.com", "refused"),
    ("https://www.example.com", "https", "example.com", "refused"),
    ("https://example.com", "https", "www.example.com", "refused"),
    ("https://example.com.evil.net", "https", "example.com", "refused"),
    ("https://evilexample.com", "https", "example.com", "refused"),
    ("https://example.com@evil.net", "https", "example.com", "refused"),
    ("http://[2001:db8::1]z8000", "http", "[2001:db8::1]", "refused"),
    ("http://evil.net[2001:db8::1];e", "http", "[2001:db8::1]", "refused"),
    ("http://evil.net\\@example.com", "http", "example.com", "refused"),
    ("https://example.com", "https", "", "refused"),
    ("https://example.com", "https", None, "refused"),
    # the scheme must agree
    ("http://example.com", "https", "example.com", "refused"),
    ("https://example.com", "http", "example.com", "refused"),
    ("ftp://example.com", "http", "example.com", "refused"),
    # so must the port
    ("https://example.com:8443", "https", "example.com", "refused"),
    ("http://example.com:8080", "https", "example.com", "refused"),
    ("http://example.com:8080", "http", "example.com", "refused"),
    ("https://example.com:8443", "https", "example.com:8443", "accepted"),
    ("https://example.com", "https", "example.com:8443", "refused"),
    ("https://example.com:8443", "https", "example.com:8444", "refused"),
    ("http://127.0.0.1:8000", "http", "127.0.0.1:8000", "accepted"),
    ("http://127.0.0.1:3000", "http", "127.0.0.1:8000", "refused"),
    ("http://127.0.0.2:8000", "http", "127.0.0.1:8000", "refused"),
    ("https://example.com:0", "https", "example.com", "refused"),
    # default ports
    ("https://example.com", "https", "example.com:443", "accepted"),
    ("http://example.com", "http", "example.com:80", "accepted"),
    ("http://example.com", "http", "example.com:443", "refused"),
    ("https://example.com:443", "https", "example.com", "accepted"),
    # what some clients say that are no browsers
    ("ws://example.com", "http", "example.com", "accepted"),
    ("wss://example.com", "https", "example.com", "accepted"),
    ("ws://example.com", "https", "example.com", "refused"),
    # IPv6
    ("http://[2001:db8::1]:8000", "http", "[2001:db8::1]:8000", "accepted"),
    ("http://[2001:db8::1]", "http", "[2001:db8::1]", "accepted"),
    ("http://[2001:DB8::1]", "http", "[2001:db8::1]", "accepted"),
    ("http://[2001:db8::2]", "http", "[2001:db8::1]", "refused"),
    # upper case
    ("HTTPS://EXAMPLE.com", "https", "Example.COM", "accepted"),
    # trailing dots
    ("https://example.com.", "https", "example.com.", "accepted"),
    ("https://example.com", "https", "example.com.", "accepted"),
    ("https://example.com.", "https", "example.com", "accepted"),
    ("https://example.com.:8443", "https", "example.com.:8443", "accepted"),
    # international names travel as ASCII
    ("https://xn--bcher-kva.example", "https", "xn--bcher-kva.example", "accepted"),
]


@pytest.mark.contract(
    "9.5 origin: decided: a page of another site that comes with a cookie, or with other authority, is refused",
    "differs from 0.6: pages of other sites",
)
@pytest.mark.parametrize(("origin", "scheme", "host", "expected"), OWN_PLACE)
def test_the_requests_own_place(origin: str, scheme: str, host: str | None, expected: str) -> None:
    assert report(origin, host, scheme=scheme) == expected


# ALLOWED_HOSTS, with DEBUG or not
OWN_HOSTS = [
    (["example.com"], False, "accepted"),
    ([".example.com"], False, "accepted"),
    (["*"], False, "accepted"),
    (["example.org"], False, "refused"),
    ([], False, "refused"),
    ([], True, "refused"),
]


@pytest.mark.parametrize(("allowed", "debug", "expected"), OWN_HOSTS)
def test_the_requests_own_host_must_be_allowed(allowed: list[str], debug: bool, expected: str) -> None:
    """Else whoever points a name of their own at this address would be at home here."""
    assert report("http://example.com", "example.com", ALLOWED_HOSTS=allowed, DEBUG=debug) == expected


# variable of the request, its value, whether it tells who the visitor is
AUTHORITY = [
    ("HTTP_COOKIE", "a=b", True),
    ("HTTP_AUTHORIZATION", "Basic am9objpzZWNyZXQ=", True),
    ("HTTP_AUTHORIZATION", "", False),
    ("REMOTE_USER", "john", True),
    ("REMOTE_USER", "", False),
    ("HTTP_REMOTE_USER", "john", True),
    ("HTTP_X_REMOTE_USER", "john", True),
    ("HTTP_X_FORWARDED_USER", "john", True),
    ("SSL_CLIENT_S_DN", "CN=john", True),
    ("SSL_CLIENT_VERIFY", "SUCCESS", True),
    ("SSL_CLIENT_VERIFY", "NONE", False),
    ("HTTP_SSL_CLIENT_CERT", "-----BEGIN CERTIFICATE-----", True),
    ("HTTP_SSL_CLIENT_CERT", "(null)", False),
    ("HTTP_X_SSL_CLIENT_DN", "CN=john", True),
    ("HTTP_X_SSL_CLIENT_VERIFY", "NONE", False),
    ("HTTPS_DN", "CN=john", True),
    ("HTTPS_CC", "certificate", True),
    ("HTTP_CLIENT_CERT", ":MIIB:", True),
    ("HTTP_X_CLIENT_CERT", "MIIB", True),
    ("HTTP_X_FORWARDED_CLIENT_CERT", "Hash=1", True),
    ("HTTP_X_FORWARDED_FOR", "192.0.2.1", False),
    ("HTTP_X_CLIENT_IP", "192.0.2.1", False),
    ("HTTP_SEC_WEBSOCKET_PROTOCOL", "token", False),
]


@pytest.mark.contract(
    "9.5 origin: decided: a page of another site that comes with a cookie, or with other authority, is refused",
    "differs from 0.6: pages of other sites",
)
@pytest.mark.parametrize(("name", "value", "known"), AUTHORITY)
def test_whatever_tells_who_it_is_counts(name: str, value: str, known: bool) -> None:
    with override_settings(**SITE):
        for origin in ("https://evil.net", "null"):
            assert bool(refusal(origin, None, HTTP_HOST="example.com", **{name: value})) == known
        assert refusal("http://example.com", None, HTTP_HOST="example.com", **{name: value}) is None
        assert refusal(None, None, HTTP_HOST="example.com", **{name: value}) is None


def test_where_the_site_has_hooks_every_page_is_looked_at() -> None:
    """They may find authority in a query, in a subprotocol or in an address."""
    with override_settings(**SITE):
        assert refusal("https://evil.net", None, hooked=True, HTTP_HOST="example.com")
        assert refusal("http://example.com", None, hooked=True, HTTP_HOST="example.com") is None
        assert refusal(None, None, hooked=True, HTTP_HOST="example.com") is None


@pytest.mark.contract(
    "9.5 origin: decided: without cookie, authority and hooks, or without an origin, nothing is refused",
    "differs from 0.6: pages of other sites",
)
def test_a_browser_without_cookies_may_come_from_anywhere() -> None:
    assert report("https://evil.net", "example.com", cookie=None) == "accepted"
    assert report("https://evil.net", "example.com", cookie="") == "accepted"
    assert report("null", "example.com", cookie=None) == "accepted"


@pytest.mark.contract(
    "9.5 origin: decided: a page of another site that comes with a cookie, or with other authority, is refused",
)
@pytest.mark.parametrize("cookie", ["sessionid=x", "unknown=1", "broken"])
def test_any_cookie_counts(cookie: str) -> None:
    assert report("https://evil.net", "example.com", cookie) == "refused"


@pytest.mark.contract(
    "9.5 origin: decided: without cookie, authority and hooks, or without an origin, nothing is refused"
)
def test_what_is_no_browser_sends_no_origin() -> None:
    assert report(None, "example.com") == "accepted"


# ALLOWED_HOSTS, Origin, scheme of the request, Host
ALLOWED_HOSTS = [
    # the proxy passes the name of its upstream
    (["example.com"], "https://example.com", "https", "websockets", "accepted"),
    (["example.com"], "https://example.com", "https", "127.0.0.1:9090", "accepted"),
    (["example.com"], "https://example.com", "https", "localhost", "accepted"),
    (["example.com"], "https://example.com", "https", None, "accepted"),
    (["Example.COM"], "https://example.com", "https", "websockets", "accepted"),
    (["example.com"], "https://EXAMPLE.com", "https", "websockets", "accepted"),
    (["example.com"], "https://example.com.", "https", "websockets", "accepted"),
    (["[2001:db8::1]"], "http://[2001:db8::1]", "http", "websockets", "accepted"),
    (["example.com"], "https://evil.net", "https", "websockets", "refused"),
    # which many allow, too, for who looks after the server
    (["example.com", "localhost", "127.0.0.1"], "https://example.com", "https", "127.0.0.1:9090", "accepted"),
    (["example.com", "localhost", "127.0.0.1"], "https://example.com", "https", "localhost", "accepted"),
    (["example.com", "10.0.0.1"], "https://example.com", "https", "10.0.0.1:9090", "accepted"),
    # other ports are others' pages
    (["example.com"], "https://example.com:8443", "https", "127.0.0.1:9090", "refused"),
    (["example.com"], "http://example.com:8080", "http", "websockets", "refused"),
    # a proxy that passes no Host seldom tells of TLS; where it does, a plain page is another's
    (["example.com"], "http://example.com", "http", "websockets", "accepted"),
    (["example.com"], "https://example.com", "http", "websockets", "accepted"),
    (["example.com"], "http://example.com", "https", "websockets", "refused"),
    (["example.com"], "https://example.com", "http", "example.com", "accepted"),
    (["example.com"], "https://example.com", "http", "example.com:8000", "refused"),
    (["example.com"], "https://example.com:8443", "http", "example.com", "refused"),
    # where the proxy passes the host, that counts alone
    (["example.com", "www.example.com"], "https://www.example.com", "https", "example.com", "refused"),
    ([".example.com"], "https://users.example.com", "https", "www.example.com", "refused"),
    (["example.com"], "https://www.example.com", "https", "example.com", "refused"),
    (["example.com"], "https://evil.net", "https", "example.com", "refused"),
    # subdomains
    ([".example.com"], "https://www.example.com", "https", "websockets", "accepted"),
    ([".example.com"], "https://a.b.example.com", "https", "websockets", "accepted"),
    ([".example.com"], "https://example.com", "https", "websockets", "accepted"),
    ([".example.com"], "https://evilexample.com", "https", "websockets", "refused"),
    # a bare * says nothing about pages
    (["*"], "https://evil.net", "https", "example.com", "refused"),
    (["*"], "https://example.com", "https", "example.com", "accepted"),
    (["*"], "https://example.com", "https", "websockets", "refused"),
    (["*"], "https://example.com", "https", None, "refused"),
    (["*"], "https://example.com", "http", "example.com", "refused"),
    (["*", "example.org"], "https://example.org", "https", "example.com", "accepted"),
    ([""], "https://evil.net", "https", "example.com", "refused"),
]


@pytest.mark.contract("9.5 origin: decided: where a proxy passes no host, the pages of ALLOWED_HOSTS are the site's")
@pytest.mark.parametrize(("allowed", "origin", "scheme", "host", "expected"), ALLOWED_HOSTS)
def test_allowed_hosts(allowed: list[str], origin: str, scheme: str, host: str | None, expected: str) -> None:
    assert report(origin, host, scheme=scheme, ALLOWED_HOSTS=allowed) == expected


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
    assert report(origin, "example.com", **{setting: ["https://other.example", entry]}) == expected


@pytest.mark.parametrize(("entry", "origin", "expected"), BARE_ENTRIES)
def test_allowed_origins_without_a_scheme(entry: str, origin: str, expected: str) -> None:
    assert report(origin, "example.com", WS4REDIS_ALLOWED_ORIGINS=(entry,)) == expected


# Origin, Host, with DEBUG, without
THIS_MACHINE = [
    ("http://localhost:8000", "127.0.0.1:8000", "accepted", "refused"),
    ("http://127.0.0.1:8000", "localhost:8000", "accepted", "refused"),
    ("http://[::1]:8000", "localhost:8000", "accepted", "refused"),
    ("http://localhost:8000", "[::1]:8000", "accepted", "refused"),
    ("http://LOCALHOST:8000", "127.0.0.1:8000", "accepted", "refused"),
    ("http://localhost", "127.0.0.1", "accepted", "refused"),
    ("http://localhost:8000", "127.0.0.1", "refused", "refused"),
    ("https://localhost:8000", "127.0.0.1:8000", "refused", "refused"),
    ("http://localhost:8000", "localhost:8000", "accepted", "accepted"),
    ("http://localhost:3000", "127.0.0.1:8000", "refused", "refused"),
    ("http://evil.net:8000", "127.0.0.1:8000", "refused", "refused"),
    ("http://localhost:8000", "example.com:8000", "refused", "refused"),
    ("http://evil.net:8000", "example.com:8000", "refused", "refused"),
]


@pytest.mark.parametrize(("origin", "host", "with_debug", "without"), THIS_MACHINE)
def test_one_machine_has_three_names_in_development(origin: str, host: str, with_debug: str, without: str) -> None:
    for allowed in (["*"], []):
        assert report(origin, host, DEBUG=True, ALLOWED_HOSTS=allowed) == with_debug
    assert report(origin, host, DEBUG=False) == without


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
        assert ("refused" if refusal("http://example.com", **headers) else "accepted") == expected


# whether the setting is on, X-Forwarded-Port, Host
FORWARDED_PORTS = [
    (True, "8443", "example.com", "accepted"),
    (True, "8443", "example.com:8443", "accepted"),
    (True, "8443", "example.com:9090", "refused"),
    (True, "443", "example.com", "refused"),
    (True, "8443, 443", "example.com", "refused"),
    (True, None, "example.com", "refused"),
    (False, "8443", "example.com", "refused"),
]


@pytest.mark.parametrize(("use", "port", "host", "expected"), FORWARDED_PORTS)
def test_forwarded_port(use: bool, port: str | None, host: str, expected: str) -> None:
    with override_settings(**{**SITE, "USE_X_FORWARDED_PORT": use}):
        headers = {"HTTP_HOST": host, "HTTP_X_FORWARDED_PROTO": "https"}
        headers |= {"HTTP_X_FORWARDED_PORT": port} if port else {}
        assert ("refused" if refusal("https://example.com:8443", **headers) else "accepted") == expected


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
    assert report(origin, "example.com", DEBUG=debug, ALLOWED_HOSTS=["example.com", "*"]) == "refused"


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


# who worked once: ALLOWED_HOSTS, Origin, scheme of the request, Host; what the refusal says to write
ADVICE: dict[str, tuple[list[str], str, str, str | None, str]] = {
    "any host, and a proxy without": (
        ["*"],
        "https://a.example",
        "https",
        "upstream",
        "name a.example in ALLOWED_HOSTS",
    ),
    "the same without any": (["*"], "https://a.example", "https", None, "proxy_set_header Host $http_host;"),
    "a port, and a proxy without": (["*"], "https://a.example:8443", "https", "upstream", "Host $http_host;"),
    "TLS of which nobody tells": (["*"], "https://a.example", "http", "a.example", "SECURE_PROXY_SSL_HEADER"),
    "a port that is dropped": (["a.example"], "https://a.example:8443", "https", "a.example", "Host $http_host;"),
    "or sent elsewhere": (["a.example"], "https://a.example:8443", "https", "a.example", "USE_X_FORWARDED_PORT"),
    "a host that is not allowed": (["b.example"], "https://a.example", "https", "a.example", "a.example in ALLOWED"),
}


@pytest.mark.parametrize(("allowed", "origin", "scheme", "host", "words"), ADVICE.values(), ids=ADVICE)
def test_the_refusal_says_what_to_write(
    allowed: list[str], origin: str, scheme: str, host: str | None, words: str
) -> None:
    headers = {"HTTP_X_FORWARDED_PROTO": scheme} | ({"HTTP_HOST": host} if host else {})
    with override_settings(**{**SITE, "ALLOWED_HOSTS": allowed}):
        text = str(refusal(origin, **headers))
    assert words in text
    assert origin in text


def test_the_refusal_of_a_page_elsewhere_names_the_setting_for_it_alone() -> None:
    with override_settings(**{**SITE, "ALLOWED_HOSTS": ["example.com"]}):
        text = str(refusal("https://evil.net", HTTP_HOST="example.com:8000"))
    for part in ("https://evil.net", "http://example.com:8000", "WS4REDIS_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS"):
        assert part in text
    assert "ALLOWED_HOSTS" not in text and "proxy" not in text
