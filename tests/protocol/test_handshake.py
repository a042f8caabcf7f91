import re

import pytest

from ws4redis.protocol import (
    Handshake,
    InvalidHandshake,
    UpgradeRequired,
    accept_key,
    accept_response,
    read_handshake,
    select_subprotocol,
)

# RFC 6455, section 1.3
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

HEADERS = {
    "host": "server.example.com",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-key": KEY,
    "sec-websocket-version": "13",
}


def headers_with(**changes):
    """The headers of a good request with some changed, or taken away by None."""
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in {**HEADERS, **changed}.items() if value is not None}


@pytest.mark.contract("9.1 answers: versions 13, 8 and 7 are accepted; decided: others are a 426")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"upgrade": "WebSocket"},
        {"upgrade": "h2c, websocket"},
        {"upgrade": " websocket "},
        {"connection": "upgrade"},
        {"connection": "keep-alive, Upgrade"},
        {"connection": "keep-alive,\tUPGRADE ,"},
        {"connection": None},
        {"sec_websocket_version": "8"},
        {"sec_websocket_version": "7"},
        {"sec_websocket_version": " 13 "},
        {"sec_websocket_key": f" {KEY} "},
        {"sec_websocket_protocol": ""},
        {"sec_websocket_protocol": " , "},
    ],
)
def test_accepted(changes):
    assert read_handshake("GET", "HTTP/1.1", headers_with(**changes)) == Handshake(KEY, ())


@pytest.mark.contract("9.1 answers: 400: not HTTP/1.1")
@pytest.mark.parametrize(
    ("method", "http_version", "words"),
    [
        ("POST", "HTTP/1.1", "with GET, not with 'POST'"),
        ("get", "HTTP/1.1", "with GET"),
        ("GET", "HTTP/1.0", "came as 'HTTP/1.0'"),
        ("GET", "HTTP/2", "came as 'HTTP/2'"),
        ("GET", "HTTP/2.0", "came as 'HTTP/2.0'"),
        ("GET", "", "came as ''"),
    ],
)
def test_refused_request_line(method, http_version, words):
    with pytest.raises(InvalidHandshake, match=words) as caught:
        read_handshake(method, http_version, HEADERS)

    assert caught.value.status == 400


@pytest.mark.contract(
    "9.1 answers: 400: no Upgrade, or another one; the body speaks of an upgrade to a websocket",
    "9.1 answers: 400: no key (decided: under uWSGI, too), or not of 16 bytes",
    "9.1 answers: 400, decided: a key that is no base64",
)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"upgrade": None}, "upgrade to a websocket: there is no Upgrade header"),
        ({"upgrade": ""}, "upgrade to a websocket"),
        ({"upgrade": "h2c"}, "upgrade to a websocket: Upgrade is 'h2c'"),
        ({"upgrade": "websockets"}, "upgrade to a websocket"),
        ({"connection": "keep-alive"}, "Connection header must contain 'upgrade', but it is 'keep-alive'"),
        ({"connection": ""}, "Connection header must contain 'upgrade'"),
        ({"connection": "notupgrade"}, "Connection header must contain 'upgrade'"),
        ({"sec_websocket_key": None}, "Sec-WebSocket-Key is missing"),
        ({"sec_websocket_key": ""}, "Sec-WebSocket-Key is missing"),
        ({"sec_websocket_key": "not base64 at all"}, "16 bytes in base64, but it is 'not base64 at all'"),
        ({"sec_websocket_key": "dGhlIHNhbXBsZSBub24="}, "16 bytes in base64"),
        ({"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZSE="}, "16 bytes in base64"),
        ({"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ"}, "16 bytes in base64"),
        ({"sec_websocket_key": f"{KEY}\n"}, "16 bytes in base64"),
        ({"sec_websocket_key": f"{KEY}, {KEY}"}, "16 bytes in base64"),
        ({"sec_websocket_key": "é" * 22 + "=="}, "16 bytes in base64"),
        ({"sec_websocket_protocol": "chat, bad name"}, "'bad name', which is not a token"),
        ({"sec_websocket_protocol": "a/b"}, "not a token"),
        ({"sec_websocket_protocol": "chat\r"}, "not a token"),
        ({"sec_websocket_protocol": "ché"}, "not a token"),
    ],
)
def test_refused_headers(changes, words):
    with pytest.raises(InvalidHandshake, match=words) as caught:
        read_handshake("GET", "HTTP/1.1", headers_with(**changes))

    assert caught.value.status == 400
    assert caught.value.headers == ()


@pytest.mark.contract(
    "9.1 answers: 426: no version; decided: with the headers of RFC 6455",
    "9.1 answers: versions 13, 8 and 7 are accepted; decided: others are a 426",
)
@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, "must be 13, but it is missing"),
        ("", "is missing"),
        ("0", "is '0'"),
        ("12", "is '12'"),
        ("14", "is '14'"),
        ("13, 8", "is '13, 8'"),
        ("thirteen", "is 'thirteen'"),
    ],
)
def test_refused_version(version, words):
    with pytest.raises(UpgradeRequired, match=words) as caught:
        read_handshake("GET", "HTTP/1.1", headers_with(sec_websocket_version=version))

    assert caught.value.status == 426
    assert dict(caught.value.headers) == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
    }


NASTY = "x\r\nSet-Cookie: a=b\x00\x1b[31m\x7f\x85\u2028é" + "y" * 10_000


@pytest.mark.parametrize(
    ("method", "http_version", "changes"),
    [
        (NASTY, "HTTP/1.1", {}),
        ("GET", NASTY, {}),
        *(
            ("GET", "HTTP/1.1", {name: NASTY})
            for name in (
                "upgrade",
                "connection",
                "sec_websocket_key",
                "sec_websocket_version",
                "sec_websocket_protocol",
            )
        ),
    ],
)
def test_refusal_quotes_nothing_but_a_little_printable_ascii(method, http_version, changes):
    with pytest.raises(InvalidHandshake) as caught:
        read_handshake(method, http_version, headers_with(**changes))

    assert re.fullmatch(r"[ -~]{1,300}", str(caught.value))
    assert "..." in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("chat", ("chat",)),
        ("chat, superchat", ("chat", "superchat")),
        ("b,a", ("b", "a")),
        ("a,,b,", ("a", "b")),
        ("a, b, a", ("a", "b")),
        ("v1.json+x!#$%&'*-^_`|~", ("v1.json+x!#$%&'*-^_`|~",)),
    ],
)
def test_offered_subprotocols(value, expected):
    handshake = read_handshake("GET", "HTTP/1.1", headers_with(sec_websocket_protocol=value))

    assert handshake.subprotocols == expected


def call_for_nothing(offered):
    raise AssertionError("called although nothing is offered")


@pytest.mark.parametrize(
    ("offered", "preference", "expected"),
    [
        ((), None, None),
        ((), ["a"], None),
        ((), call_for_nothing, None),
        (("a",), None, "a"),
        (("a", "b"), None, None),
        (("a", "b"), ["b", "a"], "b"),
        (("a", "b"), ("c", "a"), "a"),
        (("a", "b"), ["c"], None),
        (("a", "b"), [], None),
        (("a",), ["A"], None),
        (("a", "b"), lambda offered: offered[-1], "b"),
        (("a", "b"), lambda offered: None, None),
    ],
)
def test_select_subprotocol(offered, preference, expected):
    assert select_subprotocol(offered, preference) == expected


def test_selected_subprotocol_must_be_offered():
    with pytest.raises(ValueError, match="'c' was selected, but the client offers only a, b"):
        select_subprotocol(("a", "b"), lambda offered: "c")


def test_accept_key():
    assert accept_key(KEY) == ACCEPT


@pytest.mark.contract(
    "8.4 runserver: 101 with the accepted key, in HTTP/1.1",
    "asks deployment: #206, #248: Safari wants HTTP/1.1 of runserver",
)
@pytest.mark.parametrize(
    ("subprotocol", "line"),
    [(None, ""), ("chat", "Sec-WebSocket-Protocol: chat\r\n")],
)
def test_accept_response(subprotocol, line):
    assert accept_response(KEY, subprotocol).decode() == (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {ACCEPT}\r\n"
        f"{line}"
        "\r\n"
    )
