"""What compression costs and saves: uWSGI's CPU, memory and bytes, with permessage-deflate and without, in one run.

    python stress-tests/deflate.py [--sockets 300] [--messages 100] [--repeat 3]

Each line is the median of several rounds, in which the settings take turns; the memory is measured once, first. A ratio
is to the same without compression.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from fanout import processes  # noqa: E402
from fanout.pace import paced  # noqa: E402
from fanout.subjects import Website, running  # noqa: E402

from tests.servers import Valkey, wait_for  # noqa: E402

SETTINGS: dict[str, Any] = {"off": False, "on": True, "with contexts": {"context_takeover": True}}
SIZES = (300, 1_000, 10_000)

#: slow enough that each is delivered by itself
_MESSAGES_A_SECOND = 40

_HANDSHAKE = (
    "GET /ws/stress?{flags} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)


class Cost(NamedTuple):
    microseconds: float
    bytes: float


def text(size: int, seed: int) -> bytes:
    """JSON as a page would get it: the same keys again and again, other values."""
    values = random.Random(seed)
    rows: list[dict[str, Any]] = []
    while len(json.dumps(rows)) < size:
        rows.append({"id": values.randrange(10**6), "user": f"user{values.randrange(100)}", "price": values.random()})
    return json.dumps(rows)[:size].encode()


def connect(site: Website, flags: str) -> socket.socket:
    browser = socket.create_connection(("127.0.0.1", site.port), timeout=60)
    browser.sendall(_HANDSHAKE.format(flags=flags).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += browser.recv(1)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return browser


def read_to_the_end(browser: socket.socket, end: bytes, counts: list[int]) -> None:
    """The last frame is short and thus not compressed."""
    received, last = 0, b""
    while not last.endswith(end):
        data = browser.recv(1 << 16)
        assert data, "the server has closed"
        received += len(data)
        last = last[-len(end) :] + data[-len(end) :]
    counts.append(received)


def publish(site: Website, browsers: list[socket.socket], messages: list[bytes]) -> list[int]:
    """What each browser has received when it has all of them, in bytes."""
    counts: list[int] = []
    readers = [threading.Thread(target=read_to_the_end, args=(each, b"the end", counts)) for each in browsers]
    for each in readers:
        each.start()
    for number in paced(len(messages), _MESSAGES_A_SECOND):
        site._redis.publish("broadcast:stress", messages[number])
    site._redis.publish("broadcast:stress", b"the end")
    for each in readers:
        each.join()
    return counts


def deliveries(site: Website, sockets: int, count: int, size: int) -> Cost:
    """CPU and bytes for one message to one browser."""
    messages = [text(size, seed) for seed in range(count)]
    site._redis.delete("broadcast:stress")
    browsers = [connect(site, "subscribe-broadcast") for _ in range(sockets)]
    before = cpu(site)
    counts = publish(site, browsers, messages)
    used = cpu(site) - before
    for each in browsers:
        each.close()
    assert len(counts) == sockets and len(set(counts)) == 1, "all have got the same"
    return Cost(used / sockets / len(messages) * 1e6, counts[0] / len(messages))


def inbound(site: Website, count: int, size: int, compressed: bool) -> Cost:
    """CPU and bytes for one message of a browser, which is published."""
    message = text(size, 1)
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    payload = (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4] if compressed else message
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    frame = bytes([0xC1 if compressed else 0x81]) + length + bytes(4) + payload
    with connect(site, "publish-broadcast") as browser, site._redis.pubsub() as ear:
        ear.subscribe("broadcast:stress")
        ear.get_message(timeout=10)
        before = cpu(site)
        sender = threading.Thread(target=browser.sendall, args=(frame * count,))
        sender.start()
        for _ in range(count):
            heard = ear.get_message(timeout=60)
            assert heard is not None and heard["data"] == message
        sender.join()
        return Cost((cpu(site) - before) / count * 1e6, len(frame))


def memory(site: Website, sockets: int) -> Cost:
    """Bytes of memory for one browser that has heard something."""
    before = sum(map(processes.memory_bytes, site.pids()))
    browsers = [connect(site, "subscribe-broadcast") for _ in range(sockets)]
    publish(site, browsers, [text(2000, 1)])
    used = sum(map(processes.memory_bytes, site.pids())) - before
    for each in browsers:
        each.close()
    return Cost(0, used / sockets)


def cpu(site: Website) -> float:
    return sum(map(processes.cpu_seconds, site.pids()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=300)
    parser.add_argument("--messages", type=int, default=100, help="to each browser; one browser says 20 times as many")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    measured: dict[tuple[str, str], list[Cost]] = {}
    with ExitStack() as stack:
        valkey = stack.enter_context(running(Valkey()))
        sites = {}
        for name, setting in SETTINGS.items():
            site = Website(valkey)
            site.settings["WS4REDIS_DEFLATE"] = json.dumps(setting)
            sites[name] = stack.enter_context(running(site))
        for name, site in sites.items():  # once, while there is no memory that others have left
            measured["memory of a browser", name] = [memory(site, 4 * options.sockets)]
            _wait_until_idle(site)
        for _ in range(options.repeat):
            for what, measure in _scenarios(options.sockets, options.messages).items():
                for name, site in sites.items():
                    print(f"{what}, {name}", file=sys.stderr)
                    measured.setdefault((what, name), []).append(measure(site, name))
                    _wait_until_idle(site)
    for (what, name), costs in measured.items():
        middle = Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))
        base = Cost(*(statistics.median(column) for column in zip(*measured[what, "off"], strict=True)))
        figures = [f"{middle.bytes:9.0f} bytes ({middle.bytes / base.bytes:.2f} x)"]
        if middle.microseconds:
            figures.insert(0, f"{middle.microseconds:7.1f} us ({middle.microseconds / base.microseconds:.2f} x)")
        print(f"{what:32} {name:14} {'  '.join(figures)}")


def _scenarios(sockets: int, messages: int) -> dict[str, Callable[[Website, str], Cost]]:
    found: dict[str, Callable[[Website, str], Cost]] = {}
    for size in SIZES:
        found[f"delivery of {size} bytes"] = lambda site, name, size=size: deliveries(site, sockets, messages, size)
        found[f"browser's {size} bytes"] = lambda site, name, size=size: inbound(
            site, 20 * messages, size, name != "off"
        )
    return found


def _wait_until_idle(site: Website) -> None:
    wait_for(lambda: sum(map(processes.descriptors, site.pids())) < 150, "the browsers have left")


if __name__ == "__main__":
    main()
