"""What a stranger can cost: plays the attacker, and tells what others lose beside what the attack has cost.

    python stress-tests/abuse.py                                  # all attacks on this package, about four minutes
    python stress-tests/abuse.py --against ../older               # and on another checkout's, in the same run
    python stress-tests/abuse.py --only B1 --only B3 --json figures.json

Each attack has a Valkey and a uWSGI of its own, on free ports of 127.0.0.1. The exit code is 1 where this package
misses a bar, and 2 where the attacks cannot be run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import select
import selectors
import signal
import socket
import statistics
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import redis
import websocket

STRESS_TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(STRESS_TESTS), str(STRESS_TESTS.parent)]

from fanout import processes  # noqa: E402
from fanout.pace import paced  # noqa: E402
from fanout.progress import Progress  # noqa: E402
from fanout.results import columns, number  # noqa: E402
from fanout.subjects import running  # noqa: E402
from soak.stopping import Stopped, stop_on_signals  # noqa: E402

from tests.recipes.servers import Apache, Instance, Machine, program  # noqa: E402
from tests.servers import UWSGI, Valkey, wait_for  # noqa: E402

_DESCRIPTORS = 2000
_MEGABYTE = 1 << 20
#: the longest that anybody waits
_PATIENCE_SECONDS = 30.0

_TEXT, _PONG, _CLOSE = 0x81, 0x8A, 0x88
_COMPRESSED = 0x40
_DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


class Size(NamedTuple):
    """How large the attacks are; seconds are the length of each."""

    publishers: int = 300
    tiny: int = 1000
    readers: int = 200
    reader_seconds: float = 45
    seconds: float = 10


FULL = Size()
QUICK = Size(publishers=10, tiny=10, readers=5, reader_seconds=2, seconds=1)


class Figure(NamedTuple):
    """
    Args:
        bar: the most that it may be; None where it is no loss of others'.
    """

    what: str
    value: float
    bar: float | None = None

    @property
    def met(self) -> bool:
        return self.bar is None or self.value <= self.bar


# -- the site --


class Site(UWSGI):
    """One worker that serves pages and websockets, with the package of any checkout."""

    def __init__(self, valkey: Valkey, package: Path, **settings: str) -> None:
        # the folder of the package comes before the one in which uWSGI is started
        options: dict[str, Any] = {
            "module": "abuse_site:application()",
            "pythonpath": str(package),
            "listen": min(1024, processes.listen_limit()),
            "disable-logging": True,
        }
        super().__init__(valkey.url, options, **environment(package), **settings)

    @property
    def worker(self) -> int:
        assert self.process is not None
        return wait_for(lambda: processes.children(self.process.pid), "a worker of uWSGI")[0]

    @property
    def memory(self) -> int:
        return processes.memory_bytes(self.worker)

    @property
    def websockets(self) -> int:
        """That the worker has open."""
        mine, listening, none = f":{self.port:04X}", "0A", "0"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(line[1].endswith(mine) and line[3] != listening and line[9] != none for line in lines)


def kernel_memory() -> int:
    """What the kernel holds for TCP, of the whole machine, in bytes."""
    [pages] = re.findall(r"(?m)^TCP: .* mem (\d+)$", Path("/proc/net/sockstat").read_text())
    return int(pages) * resource.getpagesize()


def environment(package: Path) -> dict[str, str]:
    path = os.pathsep.join([str(package), str(STRESS_TESTS)])
    return {"DJANGO_SETTINGS_MODULE": "abuse_site", "PACKAGE": str(package), "PYTHONPATH": path}


@contextmanager
def attacked(package: Path, **settings: str) -> Iterator[tuple[Valkey, Site, Attacker]]:
    with (
        running(Valkey()) as valkey,
        running(Site(valkey, package, **settings)) as site,
        Attacker(site.port) as attacker,
    ):
        try:
            yield valkey, site, attacker
        finally:
            # one that is stopped would not hear that it shall end
            if valkey.process is not None:
                valkey.send_signal(signal.SIGCONT)


# -- the attacker --


class Refused(Exception):
    """No 101."""


class Attacker:
    """Raw sockets, and what they have cost whoever opened them."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._port = port
        self._host = host
        self._counting = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.connections = self.bytes = 0

    def __enter__(self) -> Attacker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.leave_all()

    def leave_all(self) -> None:
        """Whoever waits in a send or a receive is released."""
        while self._sockets:
            gone = self._sockets.pop()
            with suppress(OSError):
                gone.shutdown(socket.SHUT_RDWR)
            gone.close()

    def ask(self, path: str, headers: str = "", receive_buffer: int | None = None) -> socket.socket:
        """Begin an upgrade, and read nothing."""
        opening = socket.socket()
        self._sockets.append(opening)
        opening.settimeout(_PATIENCE_SECONDS)
        if receive_buffer is not None:
            opening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opening.connect(("127.0.0.1", self._port))
        self.connections += 1
        self.send(
            opening,
            f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n".encode(),
        )
        return opening

    def open(self, path: str, headers: str = "", receive_buffer: int | None = None) -> socket.socket:
        """A websocket.

        Raises:
            Refused: the server's first line says something else.
        """
        opened = self.ask(path, headers, receive_buffer)
        status = first_line(opened)
        if " 101 " not in status:
            raise Refused(status)
        return opened

    def open_all(
        self, paths: Iterable[str], headers: str = "", receive_buffer: int | None = None
    ) -> list[socket.socket]:
        """Those that the server does not refuse."""
        found = []
        for path in paths:
            with suppress(OSError, Refused):
                found.append(self.open(path, headers, receive_buffer))
        return found

    def send(self, to: socket.socket, data: bytes) -> None:
        to.sendall(data)
        self.count(len(data))

    def count(self, sent: int) -> None:
        with self._counting:
            self.bytes += sent

    def leave(self, leaving: socket.socket) -> None:
        self._sockets.remove(leaving)
        leaving.close()

    def figures(self) -> list[Figure]:
        return [Figure("connections of the attacker", self.connections), Figure("bytes that it sent", self.bytes)]


def first_line(answering: socket.socket) -> str:
    """Of the answer, whose head is read to its end; empty where there is none."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = answering.recv(1)
        if not byte:
            break
        head += byte
    return head.partition(b"\r\n")[0].decode("latin-1")


def frame(payload: bytes, first: int = _TEXT) -> bytes:
    """As a browser sends it; the mask is zero."""
    size = len(payload)
    assert size < 1 << 16
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([first]) + length + bytes(4) + payload


_GOODBYE = frame(b"\x03\xe8", _CLOSE)


def compressed(payload: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame(data.removesuffix(b"\x00\x00\xff\xff"), _TEXT | _COMPRESSED)


#: 1 MiB in 1 KB, and 16 KB in 40 bytes
LARGE, TINY = compressed(b"a" * _MEGABYTE), compressed(b"a" * (16 << 10))
#: 1 MiB in 8 KB: about a hundred of these a second are less than 1 MiB on the wire, and zlib finds them hard
_PERIOD = bytes(random.Random(1).choices(b"abcdefgh", k=4000))
HARD = compressed((_PERIOD * (_MEGABYTE // 4000 + 1))[:_MEGABYTE])


def read_to_the_end(closing: socket.socket) -> None:
    """Until the server has closed: what was said before is handled then."""
    with suppress(OSError):
        while closing.recv(1 << 16):
            pass


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs in a thread, until the event is set."""
    over = threading.Event()

    def guarded() -> None:
        with suppress(OSError, Refused):  # of sockets that are taken away, or closed by the server
            work(over)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_PATIENCE_SECONDS)


def read_all(sockets: Sequence[socket.socket]) -> Callable[[threading.Event], None]:
    """Like browsers that look at nothing."""

    def read(over: threading.Event) -> None:
        with selectors.DefaultSelector() as ready:
            for each in sockets:
                ready.register(each, selectors.EVENT_READ)
            while not over.is_set():
                for key, _ in ready.select(0.2):
                    with suppress(OSError):
                        if key.fileobj.recv(1 << 16):  # type: ignore[union-attr]
                            continue
                    ready.unregister(key.fileobj)

    return read


# -- who suffers --


class Waits(NamedTuple):
    #: seconds, of those who failed, too
    seconds: list[float]
    failures: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def worst(self) -> float:
        return max(self.seconds)


def waits(ask: Callable[[], bool], go_on: Callable[[int], bool]) -> Waits:
    """Ask one time after the other; ``ask`` tells whether it worked."""
    seconds: list[float] = []
    failures = 0
    while go_on(len(seconds)):
        begin = time.monotonic()
        failures += not ask()
        seconds.append(time.monotonic() - begin)
        time.sleep(0.02)
    return Waits(seconds, failures)


def so_often(times: int) -> Callable[[int], bool]:
    return lambda done: done < times


def quiet_waits(ask: Callable[[], bool], size: Size) -> Waits:
    """For as long as the attack, for the worst of many is worse than the worst of few."""
    waits(ask, so_often(3))  # the first ones import and connect
    return waits(ask, for_seconds(size.seconds))


def for_seconds(seconds: float) -> Callable[[int], bool]:
    end = time.monotonic() + seconds
    return lambda done: not done or time.monotonic() < end


def wait_figures(who: str, quiet: Waits, attacked: Waits) -> list[Figure]:
    return [
        Figure(f"{who}'s median wait, quiet, ms", quiet.median * 1000),
        Figure(f"{who}'s median wait, ms", attacked.median * 1000),
        Figure(f"{who}'s worst wait, quiet, ms", quiet.worst * 1000),
        Figure(f"{who}'s worst wait, ms", attacked.worst * 1000),
    ]


class Stranger:
    """Somebody else's websocket on another facility: says something, and hears it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._said = 0
        self._websocket: websocket.WebSocket | None = None

    def ask(self) -> bool:
        self._said += 1
        try:
            if self._websocket is None:
                flags = "subscribe-broadcast&publish-broadcast&echo"
                self._websocket = self._site.connect(f"/ws/stranger?{flags}")
            self._websocket.send(f"{self._said}")
            while self._websocket.recv() != f"{self._said}":
                pass  # what was kept, and what came too late
            return True
        except (OSError, websocket.WebSocketException):
            self._websocket = None
            return False


def view(site: Site) -> Callable[[], bool]:
    """The site's own view, that publishes."""
    request = b"GET /publish HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

    def ask() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", site.port), timeout=_PATIENCE_SECONDS) as asking:
                asking.sendall(request)
                return " 204 " in first_line(asking)
        except OSError:
            return False

    return ask


# -- the attacks --


def b1(package: Path, size: Size) -> list[Figure]:
    """Many connections each publish one small message, that inflates, on a facility of its own."""
    return [
        *_told_apart("messages of 1 MiB", _flood(package, size.publishers, LARGE)),
        *_told_apart("messages of 16 KB", _flood(package, size.tiny, TINY)),
        *_foreign_keys(package),
    ]


def _told_apart(what: str, figures: list[Figure]) -> list[Figure]:
    return [each._replace(what=f"{what}: {each.what}") for each in figures]


def _flood(package: Path, connections: int, message: bytes) -> list[Figure]:
    with attacked(package) as (valkey, site, attacker):
        _chat(site, "before")
        publishers = attacker.open_all((f"/ws/flood{n}?publish-broadcast" for n in range(connections)), _DEFLATE)
        for each in publishers:
            with suppress(OSError):
                attacker.send(each, message + _GOODBYE)
        for each in publishers:
            read_to_the_end(each)
        _chat(site, "after")
        client = valkey.client()
        kept = sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter("*flood*", count=1000))
        chats = sum(client.exists(f"broadcast:chat-{when}-{n}") for when in ("before", "after") for n in range(10))
        return [
            *attacker.figures(),
            Figure("bytes kept in Redis", kept, 5 * _MEGABYTE),
            Figure("bytes kept for each that was sent", kept / attacker.bytes, 20),
            Figure("last messages of others that are not kept, of 20", 20 - chats, 0),
        ]


def _chat(site: Site, when: str) -> None:
    """Ten others say something, each in a room."""
    for each in range(10):
        browser = site.connect(f"/ws/chat-{when}-{each}?publish-broadcast&subscribe-broadcast&echo")
        browser.send("x" * 100)
        assert browser.recv() == "x" * 100
    site.close_browsers()


def _foreign_keys(package: Path) -> list[Figure]:
    """Keys that are no messages, and have the name of a channel."""
    with attacked(package, WS4REDIS_PROCESS_REQUEST='"abuse_site.identify"') as (valkey, _, attacker):
        client = valkey.client()
        client.hset("user:1:profile", "name", "John")
        client.set("user:1:credit", "100")
        client.rpush("broadcast:queue", "a job")
        for facility, flag in (("profile", "publish-user"), ("credit", "publish-user"), ("queue", "publish-broadcast")):
            publisher = attacker.open(f"/ws/{facility}?{flag}&user=1")
            attacker.send(publisher, frame(b"mine") + _GOODBYE)
            read_to_the_end(publisher)
        whole = [
            _of(lambda: client.hget("user:1:profile", "name")) == b"John",
            _of(lambda: client.get("user:1:credit")) == b"100",
            _of(lambda: client.lrange("broadcast:queue", 0, -1)) == [b"a job"],
        ]
        return [Figure("keys of others that are overwritten, of 3", whole.count(False), 0)]


def _of(read: Callable[[], Any]) -> Any:
    """None where the key has another type now."""
    try:
        return read()
    except redis.ResponseError:
        return None


def b2(package: Path, size: Size) -> list[Figure]:
    """Browsers never read, but send a pong now and then; what is published to them is little on the wire."""
    with attacked(package) as (_, site, attacker):
        Stranger(site).ask()
        site.close_browsers()
        before = site.memory + kernel_memory()

        def memory() -> int:
            """Of the worker, and what the kernel holds for it."""
            return site.memory + kernel_memory() - before

        # what each says itself makes what it is sent its own copy
        flags = "subscribe-broadcast&publish-broadcast"
        # one half is sent less than may wait for a browser, the other as much as the kernel's part lets it bear
        paths = [f"/ws/flood{messages}?{flags}" for messages in (3, 5)]
        readers = attacker.open_all(paths * (size.readers // 2), receive_buffer=1024)
        publishers = attacker.open_all((f"/ws/flood{messages}?publish-broadcast" for messages in (3, 5)), _DEFLATE)
        for messages, each in zip((3, 5), publishers, strict=False):
            attacker.send(each, LARGE * messages + _GOODBYE)
        for each in readers:
            attacker.send(each, frame(b"x") * 3)
        for each in publishers:
            read_to_the_end(each)
            attacker.leave(each)
        height = 0
        begin, next_pong = time.monotonic(), 10.0
        while (elapsed := time.monotonic() - begin) < size.reader_seconds:
            if elapsed > next_pong:
                next_pong += 10
                for each in readers:
                    with suppress(OSError):
                        attacker.send(each, frame(b"", _PONG))
            height = max(height, memory())
            time.sleep(0.2)
        return [
            *attacker.figures(),
            Figure("bytes of memory, at the height", height),
            Figure(f"websockets that are open after {size.reader_seconds:.0f} s", site.websockets, 0),
            Figure("bytes of memory then", memory(), 30 * _MEGABYTE),
        ]


def b3(package: Path, size: Size) -> list[Figure]:
    """One publishes what inflates, as fast as it may, to listeners that each want a window of another size."""
    with attacked(package) as (_, site, attacker):
        stranger = Stranger(site)
        quiet = quiet_waits(stranger.ask, size)
        offers = [f"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={n}\r\n" for n in range(9, 16)]
        listeners = [attacker.open("/ws/flood?subscribe-broadcast", each) for each in offers]
        sent = 0

        def publish(over: threading.Event) -> None:
            """A hundred a second; whom this gets closed comes back, and sends 1 MiB a second when it is inflated."""
            nonlocal sent
            for rate in (100, 1):
                publisher = attacker.open("/ws/flood?publish-broadcast", _DEFLATE)
                for _ in paced(10_000, rate):
                    if over.is_set() or _is_closed(publisher):
                        break
                    attacker.send(publisher, HARD)
                    sent += 1
                if over.is_set():
                    return

        with meanwhile(read_all(listeners)), meanwhile(publish):
            attacked_waits = waits(stranger.ask, for_seconds(size.seconds))
            attacker.leave_all()
        return [
            *attacker.figures(),
            Figure("messages of 1 MiB that it sent", sent),
            *wait_figures("a stranger", quiet, attacked_waits),
            Figure("a stranger's median wait, times the quiet one", attacked_waits.median / quiet.median, 10),
            Figure("a stranger's messages that got lost", attacked_waits.failures, 0),
        ]


def _is_closed(publisher: socket.socket) -> bool:
    """By the server, or it has begun to."""
    if not select.select([publisher], [], [], 0)[0]:
        return False
    data = publisher.recv(1 << 12)
    return not data or data[0] == _CLOSE


def b4(package: Path, size: Size) -> list[Figure]:
    """Newcomers come and give up while Redis is killed, or hangs."""
    return [
        *_told_apart("Redis killed", _newcomers(package, size, signal.SIGKILL)),
        *_told_apart("Redis hangs", _newcomers(package, size, signal.SIGSTOP)),
    ]


def _newcomers(package: Path, size: Size, signal_to_redis: int) -> list[Figure]:
    with attacked(package) as (valkey, site, attacker):
        Stranger(site).ask()
        before = site.memory
        if signal_to_redis == signal.SIGKILL:
            valkey.stop(signal.SIGKILL)
        else:
            valkey.send_signal(signal.SIGSTOP)

        def come_and_go(over: threading.Event) -> None:
            """Every second one has as long a name as uWSGI takes, the others one of 1,000 bytes."""
            for each in range(1_000_000):
                if over.is_set():
                    return
                name = f"{threading.get_native_id()}-{each}-".ljust(15_000 if each % 2 else 1000, "x")
                with suppress(OSError):
                    attacker.leave(attacker.ask(f"/ws/{name}?subscribe-broadcast"))

        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(meanwhile(come_and_go))
            time.sleep(size.seconds)
        grown = site.memory - before
        figures = attacker.figures()
        refused = waits(lambda: _is_refused(attacker), so_often(3))
        if signal_to_redis == signal.SIGKILL:
            valkey.start()
        else:
            valkey.send_signal(signal.SIGCONT)
        back = time.monotonic()
        wait_for(lambda: Stranger(site).ask(), "a newcomer gets in", timeout=60)
        return [
            *figures,
            Figure("bytes by which the worker's memory grew", grown, 10 * _MEGABYTE),
            Figure("a newcomer's worst wait until it is refused, ms", refused.worst * 1000, 1000),
            Figure("newcomers that are not refused, of 3", refused.failures, 0),
            Figure("ms until newcomers get in when Redis is back", (time.monotonic() - back) * 1000),
        ]


def _is_refused(attacker: Attacker) -> bool:
    newcomer = attacker.ask("/ws/newcomer?subscribe-broadcast")
    try:
        return " 503 " in first_line(newcomer)
    except OSError:
        return False


def b5(package: Path, size: Size) -> list[Figure]:
    """Many browsers publish, each half of what it may, and the site's own view wants to publish, too."""
    with attacked(package) as (_, site, attacker):
        ask = view(site)
        quiet = quiet_waits(ask, size)
        publishers = attacker.open_all(f"/ws/talk{n}?publish-broadcast" for n in range(size.publishers))
        some = frame(b"x" * 100) * 10

        def publish(over: threading.Event) -> None:
            rest = dict.fromkeys(publishers, b"")
            for each in publishers:
                each.setblocking(False)
            for _ in paced(10_000, 5):
                for each in publishers:
                    if over.is_set():
                        return
                    with suppress(OSError):  # the server does not read, or has closed
                        data = rest[each] or some
                        rest[each] = data[(gone := each.send(data)) :]
                        attacker.count(gone)

        with meanwhile(publish):
            attacked_waits = waits(ask, for_seconds(size.seconds))
        return [
            *attacker.figures(),
            *wait_figures("the view", quiet, attacked_waits),
            Figure("the view's worst wait, times the quiet worst", attacked_waits.worst / quiet.worst, 10),
            Figure("the view's answers that are no 204", attacked_waits.failures, 0),
        ]


def b6(package: Path, size: Size) -> list[Figure]:
    """One client forges X-Forwarded-For behind the shipped Apache, where an address may have 5 websockets."""
    if program("apache2") is None:
        return [Figure("apache2 is not installed", 0)]

    class ShippedApache(Apache):
        """With the recipe that came with the package."""

        sites = (package / "examples" / "deploy" / "apache.conf",)

    settings = {
        **environment(package),
        "WS4REDIS_TRUSTED_PROXIES": '["unix"]',
        "WS4REDIS_MAX_WEBSOCKETS_PER_ADDRESS": "5",
    }
    with ExitStack() as stack:
        valkey, machine = stack.enter_context(running(Valkey())), Machine()
        stack.callback(machine.remove)
        settings["REDIS_URL"] = valkey.url
        stack.enter_context(running(Instance(machine, "websocket", settings)))
        apache = stack.enter_context(running(ShippedApache(machine)))
        attacker = stack.enter_context(Attacker(apache.port, "chat.example.com"))
        refused = 0
        for last in range(15):
            address = f"198.51.100.{last}"
            for names in ((), ("X-Forwarded-For",), ("X_Forwarded_For",), ("X-Forwarded-For", "X_Forwarded_For")):
                headers = "".join(f"{name}: {address}\r\n" for name in names)
                try:
                    attacker.open("/ws/flood?subscribe-broadcast", headers)
                except Refused:
                    refused += 1
        # the recipe has two workers, and each of them counts for itself
        return [
            *attacker.figures(),
            Figure(
                "websockets of one address, of which each of 2 workers allows 5", attacker.connections - refused, 10
            ),
        ]


ATTACKS: dict[str, Callable[[Path, Size], list[Figure]]] = {
    "B1": b1,
    "B2": b2,
    "B3": b3,
    "B4": b4,
    "B5": b5,
    "B6": b6,
}

# -- the options, and the outcome --


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    packages = {"before": options.against, "now": options.package} if options.against else {"now": options.package}
    try:
        processes.raise_descriptor_limit(_DESCRIPTORS)
        for each in packages.values():
            (each / "ws4redis" / "__init__.py").stat()
    except OSError as error:
        print(f"abuse: {error}", file=sys.stderr)
        return 2
    names = options.only or list(ATTACKS)
    measured: dict[str, dict[str, list[Figure]]] = {}
    progress = Progress(len(names) * len(packages))
    stop_on_signals()
    try:
        for name in names:
            for column, package in packages.items():
                progress.begin(f"{name} {column}")
                measured.setdefault(name, {})[column] = ATTACKS[name](package, QUICK if options.quick else FULL)
    except Stopped:
        print("abuse: stopped by a signal", file=sys.stderr)
        return 130
    finally:
        progress.end()
    print(report(measured, list(packages)))
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(measured), indent=1) + "\n")
    return 0 if options.quick or all(each.met for row in measured.values() for each in row["now"]) else 1


def report(measured: dict[str, dict[str, list[Figure]]], heads: list[str]) -> str:
    lines = [["", *heads, "bar", ""]]
    for name, row in measured.items():
        lines.append([f"{name} {ATTACKS[name].__doc__}", *[""] * (len(heads) + 2)])
        for figures in zip(*(row[head] for head in heads), strict=True):
            last = figures[-1]
            bar, met = ("", "") if last.bar is None else (number(last.bar), "met" if last.met else "MISSED")
            lines.append([f"   {last.what}", *(number(each.value) for each in figures), bar, met])
    titles = {line[0] for line in lines if not line[0].startswith("   ")}
    widest = columns([line for line in lines if line[0] not in titles or not line[0]]).splitlines()
    return "\n".join(line[0] if line[0] in titles and line[0] else widest.pop(0) for line in lines)


def as_json(measured: dict[str, dict[str, list[Figure]]]) -> dict[str, Any]:
    return {
        name: {column: [each._asdict() | {"met": each.met} for each in figures] for column, figures in row.items()}
        for name, row in measured.items()
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="abuse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=ATTACKS, help="may be repeated; by default all")
    parser.add_argument("--package", type=_folder, default=STRESS_TESTS.parent, help="the checkout that is attacked")
    parser.add_argument("--against", type=_folder, metavar="DIR", help="another checkout, whose figures stand beside")
    parser.add_argument("--quick", action="store_true", help="small attacks: tries the machinery, no bar counts")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures, too")
    return parser.parse_args(arguments)


def _folder(text: str) -> Path:
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main())
