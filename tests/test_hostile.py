"""What strangers may send, to the real servers: nobody else is to notice, and nothing is to be taken for our words."""

from __future__ import annotations

import json
import re
import socket
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

import pytest
import websocket

import tests.django_setup  # noqa: F401
from tests.browsers import counts, plain_socket
from tests.fuzz import TARGETS, corpus_of
from tests.fuzz.application import surroundings
from tests.protocol.client import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, frame, header
from tests.servers import UWSGI, RunServer, Site, Valkey, wait_for

NO_MASK = bytes(4)
MIB = 1 << 20


@pytest.fixture(scope="module")
def site(door: type[Site], redis_server: Valkey, database: Path) -> Iterator[Site]:
    """Logs all that it has to tell, and lets a browser send as much as it likes."""
    settings = {"WS4REDIS_MAX_MESSAGES_PER_SECOND": "null", "WS4REDIS_MAX_BYTES_PER_SECOND": "null"}
    with door(redis_server.url, DATABASE=str(database), LOG_LEVEL="DEBUG", **settings) as server:
        yield server


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


# what the fuzzer has found worth keeping


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_of_the_fuzzer(name: str) -> None:
    target = import_module(f"tests.fuzz.{name}")
    inputs = {path.name: path.read_bytes() for path in corpus_of(name).iterdir()}
    assert inputs
    with surroundings(target):
        for data in [*target.seeds().values(), *inputs.values()]:
            target.check(data)


# slow ones


def half_request(site: Site) -> socket.socket:
    browser = socket.create_connection(("127.0.0.1", site.port), timeout=60)
    browser.sendall(b"GET /ws/foobar HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgr")
    return browser


def test_half_requests_under_uwsgi(redis_server: Valkey, database: Path, facility: str) -> None:
    """Each holds one of gevent's cores for socket-timeout; those who are connected do not need one."""
    options = {"gevent": 10, "socket-timeout": 1}
    with UWSGI(redis_server.url, options, DATABASE=str(database)) as site, ExitStack() as slow:
        early = site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast&echo")
        for _ in range(15):
            slow.enter_context(half_request(site))
        early.send("while no core is free")
        assert early.recv() == "while no core is free"
        site.connect(f"/ws/{facility}?publish-broadcast").send("one was given up")
        assert early.recv() == "one was given up"


def test_half_requests_under_runserver(redis_server: Valkey, database: Path, facility: str) -> None:
    """Each holds a thread, for as long as it likes."""
    with RunServer(redis_server.url, DATABASE=str(database)) as site:
        before = counts(site)["threads"]
        with ExitStack() as slow:
            for _ in range(100):
                slow.enter_context(half_request(site))
                counts(site)  # it lets no more than ten wait to be accepted
            browser = site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast&echo")
            browser.send("hi")
            assert browser.recv() == "hi"
            wait_for(lambda: counts(site)["threads"] > before + 100, "a thread for each")
        site.close_browsers()
        wait_for(lambda: counts(site)["threads"] <= before + 5, "they end with their connections")


def memory(site: Site) -> int:
    """What the process has in memory, in bytes."""
    status = Path(f"/proc/{counts(site)['pid']}/status").read_text()
    return 1024 * int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


def test_half_frames(site: Site, redis_server: Valkey, facility: str) -> None:
    """What a frame announces costs nothing before it is there."""
    before, whole = memory(site), header(TEXT, MIB, mask=NO_MASK) + MIB * b"x"
    with ExitStack() as slow:
        for number in range(200):
            browser = slow.enter_context(plain_socket(site, f"/ws/{facility}?subscribe-broadcast&publish-broadcast"))
            browser.sendall(whole[: 1 + number % 30])
        heard = site.connect(f"/ws/{facility}?subscribe-broadcast")
        assert redis_server.client().publish(f"broadcast:{facility}", "hi") == 1
        assert heard.recv() == browser.recv(100)[2:].decode() == "hi"
        assert memory(site) - before < 50 * MIB
        browser.sendall(whole[1 + number % 30 :])
        assert heard.recv() == MIB * "x"


def byte_by_byte(connected: socket.socket, data: bytes) -> None:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(len(data)):
        connected.sendall(data[start : start + 1])


def test_byte_by_byte(site: Site, facility: str) -> None:
    request = made_of(f"/ws/{facility}?subscribe-broadcast&publish-broadcast&echo".encode(), {})
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as browser:
        byte_by_byte(browser, request)
        assert head_of(browser).startswith(b"HTTP/1.1 101 ")
        byte_by_byte(browser, frame(TEXT, b"hi") + frame(BINARY, b"\xff" * 200) + frame(PING, b"?") + close_frame(1000))
        answer = b"".join(iter(lambda: browser.recv(4096), b""))
    # what comes from Redis may come before or after the pong
    for each in (b"\x8a\x01?", b"\x88\x02\x03\xe8"):
        assert each in answer
    assert answer.endswith(b"\x88\x02\x03\xe8")


# too much of everything

ONE_BYTE = frame(CONTINUATION, b"x", fin=False, mask=NO_MASK)

# what is sent, what the neighbour hears, how it is closed; None: it stays open
FLOODS: dict[str, tuple[bytes, list[int], int | None]] = {
    "pings": (20_000 * frame(PING, b"?"), [], None),
    "large pings": (20_000 * frame(PING, 125 * b"?", mask=NO_MASK), [], None),
    "pongs": (20_000 * frame(PONG, b"?"), [], None),
    "empty messages": (1_000 * frame(TEXT), 1_000 * [0], None),
    "fragments of one byte": (
        frame(TEXT, fin=False) + 20_000 * ONE_BYTE + frame(CONTINUATION),
        [20_000],
        None,
    ),
    "fragments without end": (frame(TEXT, fin=False) + 300_000 * ONE_BYTE, [], 1008),
    "empty fragments without end": (
        frame(TEXT, fin=False) + 300_000 * frame(CONTINUATION, fin=False, mask=NO_MASK),
        [],
        1008,
    ),
    "close frames": (20_000 * close_frame(1000), [], 1000),
    "a message without end": (header(BINARY, MIB + 1) + bytes(8 * MIB), [], 1009),
    "garbage": (b"\xff" * MIB, [], 1002),
}


def flood(connected: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # it was closed meanwhile
        connected.sendall(data)


class Flooding(threading.Thread):
    """Sends, and reads what comes back, to the close frame or the end."""

    def __init__(self, connected: socket.socket, data: bytes) -> None:
        super().__init__()
        self.connected = connected
        self.sender = threading.Thread(target=flood, args=(connected, data + frame(PING, b"the end", mask=NO_MASK)))
        self.received = b""
        self.start()

    def run(self) -> None:
        self.sender.start()
        try:
            while b"the end" not in self.received[-500:] and (data := self.connected.recv(1 << 16)):
                self.received += data
        except OSError:
            pass
        self.connected.close()
        self.sender.join()


@pytest.mark.parametrize(("data", "heard", "code"), FLOODS.values(), ids=FLOODS)
def test_floods(
    site: Site, redis_server: Valkey, facility: str, data: bytes, heard: list[int], code: int | None
) -> None:
    neighbour = site.connect(f"/ws/{facility}?subscribe-broadcast")
    before = memory(site)
    flooding = Flooding(plain_socket(site, f"/ws/{facility}?publish-broadcast"), data)
    other = site.connect(f"/ws/{facility}-other?subscribe-broadcast")
    redis_server.client().publish(f"broadcast:{facility}-other", "hi")
    assert other.recv() == "hi"
    flooding.join()
    assert memory(site) - before < 50 * MIB
    assert [len(neighbour.recv()) for _ in heard] == heard
    assert close_code(flooding.received) == code
    redis_server.client().publish(f"broadcast:{facility}", "nothing else")
    assert neighbour.recv() == "nothing else"


def close_code(received: bytes | bytearray) -> int | None:
    """Of the last frame, after pongs and nothing else."""
    start = 0
    while start < len(received):
        opcode, length = received[start : start + 2]
        assert opcode in (0x8A, 0x88) and length < 126
        if opcode == 0x88:
            assert len(received) == start + 2 + length, "something follows the close frame"
            return int.from_bytes(received[start + 2 : start + 4], "big")
        start += 2 + length
    return None


def test_pings_by_one_who_does_not_read(site: Site, facility: str) -> None:
    """Pongs wait in the outbox like all else."""
    before = memory(site)
    browser = plain_socket(site, f"/ws/{facility}")
    flood(browser, 20 * MIB // 131 * frame(PING, 125 * b"?", mask=NO_MASK))
    assert memory(site) - before < 50 * MIB
    received = bytearray()
    while not received.endswith(b"too slow") and (data := browser.recv(1 << 16)):
        received += data
    assert close_code(received) == 1013
    browser.close()


# sizes of the message, how it is closed
BOMBS = [(MIB, None), (MIB + 1, 1009), (50 * MIB, 1009)]


@pytest.mark.parametrize(("size", "code"), BOMBS)
def test_compression_bombs(site: Site, facility: str, size: int, code: int | None) -> None:
    headers = {b"Sec-WebSocket-Extensions": b"permessage-deflate"}
    compressor = zlib.compressobj(wbits=-15)
    payload = b"".join(compressor.compress(bytes(MIB)) for _ in range(size // MIB)) + compressor.compress(
        bytes(size % MIB)
    )
    payload += compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]
    neighbour = site.connect(f"/ws/{facility}?subscribe-broadcast")
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as browser:
        browser.sendall(made_of(f"/ws/{facility}?publish-broadcast".encode(), headers))
        assert b"permessage-deflate" in head_of(browser)
        before = memory(site)
        flood(browser, header(TEXT | 0x40, len(payload), mask=NO_MASK) + payload + frame(PING, b"?"))
        received = browser.recv(4096)
        assert memory(site) - before < 50 * MIB
    if code is None:
        assert received == b"\x8a\x01?"
        assert len(neighbour.recv()) == size
    else:
        assert close_code(received) == code


# what is echoed

GOOD = {
    b"Host": b"127.0.0.1",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
}


def made_of(path: bytes, headers: dict[bytes, bytes], method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    lines = [name + b": " + value for name, value in {**GOOD, **headers}.items()]
    return b"\r\n".join([b"%b %b %b" % (method, path, version), *lines, b"", b""])


def head_of(connected: socket.socket) -> bytes:
    """What is received up to the blank line; less where the server just hangs up."""
    received = b""
    while b"\r\n\r\n" not in received and (data := connected.recv(1)):
        received += data
    return received


def answer(site: Site, request: bytes) -> tuple[str, dict[str, str], str]:
    """Status, headers and body; empty where the server just hangs up."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as browser:
        browser.sendall(request)
        try:
            head = head_of(browser).decode("ascii")
            status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = b""
            while len(body) < int(headers.get("Content-Length", 0)):
                body += browser.recv(1 << 16)
        except ConnectionResetError:
            return "", {}, ""
    return status_line.partition(" ")[2], headers, body.decode("ascii")


#: the bytes that must not come through
STRANGE = {
    "CR": b"a\rInjected: yes",
    "folded": b"a\r\n Injected: yes",
    "CR CR LF": b"a\r\r\n Injected: yes",
    "NUL": b"a\0b",
    "escape": b"a\x1b[31m",
    "quoted": b"%0d%0aInjected:%20yes",
    "tag": b"<script>alert(1)</script>",
    "Latin-1": b"\xe9\x85",
    "UTF-8": "\u2028\u202e€".encode(),
    "long": 3000 * b"x",
    "spaces": b"a b\tc",
}

#: the only headers of an answer
HEADERS = {
    *("Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol"),
    *("Content-Type", "Content-Length", "Date", "Server"),
}

NAMES = [
    *("Host", "Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"),
    *("Sec-WebSocket-Extensions", "Cookie", "User-Agent", "X-Forwarded-For"),
]


def with_header(name: str, value: bytes) -> bytes:
    return made_of(b"/ws/foobar", {name.encode(): value})


#: where the strange bytes are put: the path, the request's other parts
PLACES: dict[str, Callable[[bytes], bytes]] = {
    **{name: partial(with_header, name) for name in NAMES},
    "Origin": lambda value: made_of(b"/ws/foobar", {b"Origin": value, b"Cookie": b"a=b"}),
    "Host of another site": lambda value: made_of(
        b"/ws/foobar", {b"Host": value, b"Origin": b"https://evil.example", b"Cookie": b"a=b"}
    ),
    "several subprotocols": lambda value: made_of(b"/ws/foobar", {b"Sec-WebSocket-Protocol": b"chat, " + value}),
    "method": lambda value: made_of(b"/ws/foobar", {}, method=value),
    # a space would end them
    "path": lambda value: made_of(b"/ws/" + value.replace(b" ", b"+"), {}),
    "quoted path": lambda value: made_of(b"/ws/" + quote(value).encode(), {}),
    "query": lambda value: made_of(b"/ws/a?subscribe-broadcast&" + value.replace(b" ", b"+"), {}),
}


def test_the_http_version_is_quoted(site: Site) -> None:
    """uWSGI begins its own answer with the version that it was asked with; ours follows the blank line."""
    for value in STRANGE.values():
        with socket.create_connection(("127.0.0.1", site.port), timeout=20) as browser:
            browser.sendall(made_of(b"/ws/foobar", {}, version=b"HTTP/" + value))
            browser.shutdown(socket.SHUT_WR)
            body = b"".join(iter(lambda: browser.recv(4096), b"")).partition(b"\r\n\r\n")[2].decode("ascii")
        assert len(body) < 1000 and body.replace("\n", "").isprintable()


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_injected_into_an_answer(site: Site, place: str) -> None:
    for name, value in STRANGE.items():
        status, headers, body = answer(site, PLACES[place](value))
        if not status or not headers or headers.get("Content-Type", "").startswith("text/html"):
            continue  # the server itself has refused it
        assert status[:3] in ("101", "400", "403", "404", "426"), (name, status)
        assert set(headers) <= HEADERS, name
        assert all(each.isprintable() for each in (status, *headers.values())), name
        if status.startswith("101"):
            assert not body
        else:
            assert headers["Content-Type"] == "text/plain; charset=utf-8"
            assert body.endswith("\n") and body[:-1].isprintable() and len(body) < 1000, (name, body)


# what is logged


def lines_since(site: Site, before: int) -> list[str]:
    """Those of the application; access logs are the server's own."""
    return [line for line in site.log()[before:].split("\n") if not re.match(r"\[pid: |django\.server ", line)]


def assert_one_line(site: Site, before: int, marker: str) -> None:
    for line in lines_since(site, before):
        assert line.isprintable(), line
        assert not line.startswith("forged"), line
        assert marker not in line or line.startswith(("django.request ", "ws4redis ")), line


FORGED = "\r\nforged \x1b[31m\x00\x85\u2028\u202e"

#: what is asked of the site, and a part of the line that tells of it
LOGGED: dict[str, tuple[Callable[[str], bytes], str]] = {
    "path": (lambda text: made_of(b"/ws/" + quote(text).encode(), {}), "INFO websocket on"),
    "channel": (
        lambda text: made_of(f"/ws/{quote(text)}?subscribe-broadcast".encode(), {}),
        "subscribes to ['broadcast:",
    ),
    "origin": (
        lambda text: made_of(b"/ws/a", {b"Origin": raw(text), b"Cookie": b"a=b"}),
        "WARNING websocket rejected with 403",
    ),
    "host": (
        lambda text: made_of(b"/ws/a", {b"Host": raw(text), b"Origin": b"https://evil.example", b"Cookie": b"a=b"}),
        "WARNING websocket rejected with 403",
    ),
    "user agent": (
        lambda text: made_of(b"/ws/" + quote(text[:32]).encode(), {b"User-Agent": raw(text)}),
        "INFO websocket on",
    ),
    "subprotocol": (
        lambda text: made_of(b"/ws/" + quote(text[:32]).encode(), {b"Sec-WebSocket-Protocol": text[:32].encode()}),
        "INFO websocket on",
    ),
}


def raw(text: str) -> bytes:
    """As far as a header can carry it."""
    return re.sub("[\r\n\0]", "", text).encode()


@pytest.mark.parametrize(("request_of", "words"), LOGGED.values(), ids=LOGGED)
def test_nothing_is_injected_into_the_log(
    site: Site, facility: str, request_of: Callable[[str], bytes], words: str
) -> None:
    before = len(site.log())
    status, _, _ = answer(site, request_of(facility + FORGED))
    assert status[:3] in ("101", "403")
    wait_for(lambda: any(facility in each and words in each for each in lines_since(site, before)), words)
    assert_one_line(site, before, facility)


def test_the_reason_of_a_close_frame_is_one_line(site: Site, facility: str) -> None:
    before = len(site.log())
    site.connect(f"/ws/{facility}").send(b"\x03\xe8" + (facility + FORGED).encode(), websocket.ABNF.OPCODE_CLOSE)
    wait_for(lambda: f"closed with 1000 '{facility}" in site.log()[before:], "the closing line")
    assert_one_line(site, before, facility)


@pytest.fixture(scope="module")
def named_site(door: type[Site], redis_server: Valkey, database: Path) -> Iterator[Site]:
    """Users have any name, and one websocket each."""
    settings = {
        "WS4REDIS_PROCESS_REQUEST": "tests.site.hooks.named_by_header",
        "WS4REDIS_ALLOWED_CHANNELS": "tests.site.hooks.denied_by_name",
        "WS4REDIS_MAX_WEBSOCKETS_PER_USER": 1,
        "WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS": 1,
        "WS4REDIS_TRUSTED_PROXIES": ["127.0.0.0/8"],
    }
    environment = {name: json.dumps(value) for name, value in settings.items()}
    with door(redis_server.url, DATABASE=str(database), LOG_LEVEL="DEBUG", **environment) as server:
        yield server


def test_a_users_name_is_one_line(named_site: Site, redis_server: Valkey, facility: str) -> None:
    before, name = len(named_site.log()), facility + FORGED
    path = "/ws/a?subscribe-user&publish-user&subscribe-group"
    browser = named_site.connect(path, header={"X-Name": quote(name)})
    assert redis_server.client().publish(f"user:{name}:a", "hi") == 1
    assert browser.recv() == "hi"
    redis_server.client().publish(f"ws4redis:memberof:{name}", f"wrong {FORGED}")
    wait_for(lambda: "cannot read the groups" in named_site.log()[before:], "the warning about groups")
    wait_for(lambda: f"user:{facility}" in named_site.log()[before:], "the line about channels")
    assert_one_line(named_site, before, facility)


# the header with the name, the path, the status; what a hook says is logged, too
REFUSED = {
    "a hook": ("X-Name", "/ws/secret", "403"),
    "too many of a user": ("X-Name", "/ws/a", "429"),
    "too many of an address": ("X-Forwarded-For", "/ws/a", "429"),
}


@pytest.mark.parametrize(("header", "path", "status"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_one_line(named_site: Site, facility: str, header: str, path: str, status: str) -> None:
    before, name = len(named_site.log()), facility + FORGED
    value = quote(name) if header == "X-Name" else raw(name).decode("ascii", "ignore")
    if status == "429":
        named_site.connect("/ws/a", header={header: value})
    request = made_of(path.encode() + quote(FORGED).encode(), {header.encode(): value.encode()})
    assert answer(named_site, request)[0][:3] == status
    wait_for(lambda: f"rejected with {status}" in named_site.log()[before:], "the warning")
    assert_one_line(named_site, before, facility)


# names of channels

#: what is hard in a facility
FACILITIES = {
    "CR LF": "\r\nPUBLISH broadcast:a injected\r\n",
    "NUL": "a\0b",
    "spaces": " a  b\t ",
    "wildcards": "*?[a-z]\\*",
    "colons": ":a::b:",
    "quoted twice": "%0d%0a%00",
    "signs": "#;&=+\"'<>",
    "far away": "größer €\U0001f600\u202e\ufeff",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028",
    # uWSGI, as nginx, resolves /./ and /../
    "nested": "/a//b/",
    # with what is put before it, as long as one may be
    "long": (1024 - len(uuid.uuid4().hex)) * "x",
}


@pytest.mark.parametrize("name", FACILITIES)
def test_facilities_are_taken_literally(site: Site, redis_server: Valkey, facility: str, name: str) -> None:
    redis, channel = redis_server.client(), f"broadcast:{facility}{FACILITIES[name]}"
    path = f"/ws/{facility}{quote(FACILITIES[name])}?subscribe-broadcast&publish-broadcast&echo"
    browser = site.connect(path)
    assert [each for each in redis.pubsub_channels() if facility.encode() in each] == [channel.encode()]
    browser.send("said")
    assert browser.recv() == "said"
    assert redis.get(channel) == b"said"
    assert site.connect(path).recv() == "said"
    assert [each for each in redis.scan_iter(count=1000) if facility.encode() in each] == [channel.encode()]


def test_a_facility_that_is_no_utf8(site: Site, redis_server: Valkey, facility: str) -> None:
    """Django quotes what it cannot decode."""
    browser = site.connect(f"/ws/{facility}%ff%ed%a0%80?subscribe-broadcast")
    assert redis_server.client().publish(f"broadcast:{facility}%FF%ED%A0%80", "hi") == 1
    assert browser.recv() == "hi"


def test_wildcards_match_nothing(site: Site, redis_server: Valkey, facility: str) -> None:
    names = [f"{facility}{each}" for each in ("*", "?", "[ab]", "a", "b")]
    browsers = [site.connect(f"/ws/{quote(each)}?subscribe-broadcast") for each in names]
    for name in names:
        assert redis_server.client().publish(f"broadcast:{name}", name) == 1
    assert [browser.recv() for browser in browsers] == names
    for name in names:
        redis_server.client().publish(f"broadcast:{name}", "nothing else")
    assert {browser.recv() for browser in browsers} == {"nothing else"}
