"""Many websockets connect, then one message is published; each of them must get it, once.

What the two historic stress tests share. They differ in what waits at a websocket: a greenlet or a thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import websocket
from fanout.processes import raise_descriptor_limit

#: how many connect at the same time: more than wait to be accepted are lost, and come late
CONNECTING = 50
#: for Python and its libraries
SPARE_DESCRIPTORS = 100
_WIDTH = 24


class Wanted(NamedTuple):
    """What is tried."""

    url: str
    sockets: int
    #: seconds, for one websocket to connect or to get the message
    timeout: float


class Kind(NamedTuple):
    """What waits at a websocket.

    Args:
        each: calls a function for each item, so many at the same time, and starts at once; the results come as they
            are ready.
        connect: opens a websocket on which only the caller waits.
    """

    name: str
    each: Callable[[Callable[..., object], Iterable[object], int], Iterator[object]]
    connect: Callable[[str, float], websocket.WebSocket]


class Failed(Exception):
    """Not every websocket got the message."""


def run(kind: Kind, wanted: Wanted) -> str:
    """What was achieved, in a line.

    Raises:
        OSError: too few files may be open.
        Failed: see there.
    """
    raise_descriptor_limit(wanted.sockets + SPARE_DESCRIPTORS)
    text = f"Hello, World {uuid.uuid4()}"
    begin = time.monotonic()

    def connect(_: object) -> object:
        return _caught(lambda: kind.connect(f"{wanted.url}?subscribe-broadcast", wanted.timeout))

    def listen(browser: object) -> object:
        return _caught(lambda: times_heard(browser, text))

    opening = kind.each(connect, range(wanted.sockets), CONNECTING)
    browsers = list(progress(f"{kind.name} connected", opening, is_open, wanted))
    try:
        check(browsers, "could not connect", is_open)
        hearing = kind.each(listen, browsers, wanted.sockets)
        publisher = kind.connect(f"{wanted.url}?publish-broadcast", wanted.timeout)
        publisher.send(text)
        check(list(progress("got the message", hearing, is_one, wanted)), "did not get the message once", is_one)
        publisher.close()
    finally:
        for each in filter(is_open, browsers):
            each.shutdown()
    return f"{wanted.sockets} {kind.name}, each with a websocket: all got the message, {time.monotonic() - begin:.1f} s"


def is_open(result: object) -> bool:
    return isinstance(result, websocket.WebSocket)


def is_one(result: object) -> bool:
    return result == 1


def times_heard(browser: websocket.WebSocket, text: str) -> int:
    """How often the text arrives, until the server confirms that we leave. Anything else is not counted."""
    count = 0
    while True:
        opcode, data = browser.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return count
        if data == text.encode():
            count += 1
            if count == 1:
                browser.send_close()


def _caught(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def check(results: list[object], what: str, good: Callable[[object], bool]) -> None:
    """
    Raises:
        Failed: some results are not good.
    """
    bad = Counter(str(each) for each in results if not good(each))
    if bad:
        reasons = "; ".join(f"{number} x {each}" for each, number in bad.most_common(3))
        raise Failed(f"{bad.total()} of {len(results)} {what}: {reasons}")


def progress(what: str, results: Iterator[object], good: Callable[[object], bool], wanted: Wanted) -> Iterator[object]:
    """The same results. How many of them are good is shown: by a bar on a terminal, and in a line at the end."""
    begin, terminal, count = time.monotonic(), sys.stderr.isatty(), 0
    for each in results:
        count += good(each)
        if terminal:
            print(f"\r{_bar(count, wanted.sockets)} {what}", end="", file=sys.stderr, flush=True)
        yield each
    seconds = time.monotonic() - begin
    print(f"{chr(13) * terminal}{_bar(count, wanted.sockets)} {what}, {seconds:.1f} s", file=sys.stderr, flush=True)


def _bar(count: int, total: int) -> str:
    return f"[{'#' * (count * _WIDTH // max(total, 1)):.<{_WIDTH}}] {count}"


def from_environment() -> Wanted:
    """Where nothing is said: 1,000 websockets of the server on port 8000."""
    return Wanted(
        os.environ.get("STRESS_URL", "ws://127.0.0.1:8000/ws/foobar"),
        int(os.environ.get("STRESS_SOCKETS", "1000")),
        float(os.environ.get("STRESS_TIMEOUT", "30")),
    )


def main(kind: Kind) -> int:
    """The exit code: 0, 1 where a message was lost, 2 where the limit of open files is too low."""
    default = from_environment()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=default.sockets, help=f"how many ({default.sockets})")
    parser.add_argument("--url", default=default.url, help=f"of the server ({default.url})")
    parser.add_argument("--timeout", type=float, default=default.timeout, help=f"seconds ({default.timeout:g})")
    options = parser.parse_args()
    try:
        print(run(kind, Wanted(options.url, options.sockets, options.timeout)))
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0
