"""Make the n-th call in the loop fail, for each n, and see whether the loop keeps its word: SQLite's way.

``python -m tests.breaking gevent MemoryError redis://127.0.0.1/0`` tries them all. Each try is a process of its own
with a loop, a few browsers and what happens to them. It prints what was wrong.
"""

from __future__ import annotations

import argparse
import inspect
import os
import signal
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from functools import wraps
from importlib import import_module
from typing import Any

BROKEN_MODULES = (
    "ws4redis.loop",
    "ws4redis.websocket",
    # not the names of channels, which a view asks for, too
    "ws4redis.core.channel_set",
    "ws4redis.core.echo",
    "ws4redis.core.encoding",
    "ws4redis.core.publication",
    "ws4redis.broker.pubsub",
    "ws4redis.broker.connection",
    "ws4redis.broker.probe",
    "ws4redis.runtime.outbox",
    "ws4redis.runtime.io_uring",
    "ws4redis.runtime.transport",
    "ws4redis.endpoints",
)

#: the loop cannot be begun again by itself where its very first frame cannot be made
_OUTERMOST = (
    "LoopProcess._keep_time",
    "_Selector.run",
    "ThreadRuntime.",
    "loop_process",
    "running_process",
    "__init__",
)

#: the story makes some thousands
LEAST_CALLS = 500

#: so many ticks are a second; what takes seconds takes less
TICK_SECONDS = 0.1


class Fault:
    """Raises at the n-th call, once."""

    def __init__(self, number: int, error: type[Exception]) -> None:
        self.number, self.error = number, error
        self.calls = 0
        self.armed = False
        self.place = ""

    def passed(self, place: str) -> None:
        if not self.armed:
            return
        self.calls += 1
        if self.calls == self.number:
            self.place = place
            raise self.error(f"on purpose, call {self.number}, {place}")


def break_all(fault: Fault) -> None:
    """Let all functions and methods of the loop pass the fault, before and after."""
    for name in ("ws4redis.loop.process", "ws4redis.endpoints.channels"):
        import_module(name)
    modules = [module for name, module in [*sys.modules.items()] if name.startswith("ws4redis")]
    replaced: dict[Any, Any] = {}
    for module in modules:
        if not module.__name__.startswith(BROKEN_MODULES):
            continue
        for name, value in [*vars(module).items()]:
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(value):
                break_class(fault, value)
            elif inspect.isfunction(value) and not name.startswith("__"):
                replaced[value] = breakable(fault, value)
    for module in modules:
        for name, value in [*vars(module).items()]:
            if isinstance(value, types.FunctionType) and value in replaced:
                setattr(module, name, replaced[value])


def break_class(fault: Fault, broken: type) -> None:
    for name, value in [*vars(broken).items()]:
        if name.startswith("__") and name != "__bool__":
            continue
        if inspect.isfunction(value):
            setattr(broken, name, breakable(fault, value))
        elif isinstance(value, property) and value.fget is not None:
            setattr(broken, name, property(breakable(fault, value.fget), value.fset))


def breakable(fault: Fault, function: Callable[..., Any]) -> Callable[..., Any]:
    place = function.__qualname__
    if place.startswith(_OUTERMOST):
        return function

    @wraps(function)
    def passing(*args: Any, **options: Any) -> Any:
        fault.passed(place)
        result = function(*args, **options)
        fault.passed(f"the end of {place}")
        return result

    return passing


class Socket:
    """One end of a pair; its calls may fail, too."""

    def __init__(self, sock: Any, fault: Fault) -> None:
        self._sock, self._fault = sock, fault
        self.fileno, self.shutdown, self.close = sock.fileno, sock.shutdown, sock.close

    def send(self, data: Any, flags: int = 0) -> int:
        self._fault.passed("socket.send")
        return int(self._sock.send(data, flags))

    def recv(self, size: int) -> bytes:
        self._fault.passed("socket.recv")
        return bytes(self._sock.recv(size))


def story(kind: str, url: str, fault: Fault) -> None:
    """Raises AssertionError where a promise is broken."""
    import logging
    import socket
    import threading
    import uuid
    import zlib

    import redis
    from django.test import RequestFactory

    from ws4redis import settings
    from ws4redis.auth.groups import update_groups
    from ws4redis.auth.lookups import Lookups
    from ws4redis.broker import client as redis_client
    from ws4redis.endpoints.channels import ChannelEndpoint
    from ws4redis.loop import hub, process
    from ws4redis.loop.connection import Connection
    from ws4redis.protocol.deflate import Agreement, Options
    from ws4redis.subscriber import RedisSubscriber
    from ws4redis.websocket import WebSocket

    logging.disable(logging.CRITICAL)
    settings.WS4REDIS_CONNECTION, settings.WS4REDIS_TIMEOUT = url, 5
    process._TICK_SECONDS = TICK_SECONDS
    hub._LARGE = hub._WORTH_A_RING = 2
    if kind == "gevent":
        import gevent
        from gevent import monkey

        from ws4redis.runtime.gevent_runtime import GeventRuntime as Runtime

        gevent.get_hub().print_exception = lambda *args, **options: None
        pair = monkey.get_original("socket", "socketpair")
    else:
        from ws4redis.runtime.threads import ThreadRuntime as Runtime

        pair = socket.socketpair
        threading.excepthook = lambda args: None
    facility, user = uuid.uuid4().hex, uuid.uuid4().hex
    runtime, wrong = Runtime(), []
    lookups = Lookups(runtime, redis_client.client)
    released: list[int] = []

    class Subscriber(RedisSubscriber):
        def release(self) -> None:
            released.append(1)
            super().release()

        def publish_message(self, message: Any, expire: int | None = None) -> int:
            if message == b"/leave":
                self._subscription.unsubscribe(f"broadcast:{facility}")
                return 0
            if message == b"/join":
                self._subscription.subscribe(f"broadcast:{facility}")
                return 0
            return super().publish_message(message, expire)

    class Opening:
        def accept(self, subprotocol: str | None = None) -> bytes:
            return b"101\r\n\r\n"

        def reject(self, error: Exception) -> bytes:
            return b"503\r\n\r\n"

    class User:
        is_authenticated = True

        def get_username(self) -> str:
            return user

    class Browser:
        """Comes back whenever it was closed, as pages do."""

        def __init__(self, flags: str, agreement: Agreement | None = None) -> None:
            self.flags, self.agreement = flags.split(), agreement
            self.changes_rooms = agreement is not None
            self.heard: list[list[str]] = []
            self.left = False
            self.end: Any = None
            threading.Thread(target=self.live, daemon=True).start()

        def live(self) -> None:
            while not self.left:
                try:
                    self.visit()
                except (OSError, fault.error):
                    pass
                except AssertionError as error:
                    wrong.append(f"{error}"[:300])
                time.sleep(0.02)

        def visit(self) -> None:
            loop = process.loop_process(runtime, redis_client.client, settings.read_options())
            here, self.end = pair()
            request = RequestFactory().get(f"/ws/{facility}")
            request.user = User()
            request.session = type("Session", (dict,), {"session_key": "x"})({"ws4redis:memberof": ["g"]})
            here.setblocking(False)
            try:
                subscriber = Subscriber(redis_client.client())
                subscriber.set_pubsub_channels(request, self.flags)
                websocket = WebSocket(runtime, Socket(here, fault))
                if self.agreement is not None:
                    websocket.compress(self.agreement, Options())
                endpoint = ChannelEndpoint(subscriber, False, lookups)
                Connection(loop, websocket, endpoint, Opening()).open()
                self.read(inflater=zlib.decompressobj(-15) if self.agreement else None)
            finally:
                self.end.close()

        def read(self, inflater: Any) -> None:
            data, heard = b"", [""]
            while part := wait_readable(self.end):
                data += part
                if heard == [""]:
                    if not data.startswith(b"101\r\n\r\n"):
                        continue
                    data, heard = data[7:], []
                    self.heard.append(heard)
                while frame := first_frame(data):
                    head, payload, data = frame
                    if head & 0x40:
                        assert inflater is not None
                        payload = inflater.decompress(payload + b"\x00\x00\xff\xff")
                    if head & 0x0F == 1:
                        heard.append(payload.decode())
                        check_order(heard, self.changes_rooms)
                    elif head & 0x0F == 9:
                        self.end.sendall(b"\x8a" + bytes([0x80 | len(payload)]) + b"\0\0\0\0" + payload)

        def say(self, text: str) -> None:
            wait_a_moment(lambda: self.heard)
            with suppress(OSError):
                self.end.sendall(b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text.encode())

        def leave(self) -> None:
            self.left = True
            with suppress(OSError):
                self.end.shutdown(socket.SHUT_RDWR)

        def has_heard(self, text: str) -> bool:
            return bool(self.heard) and text in self.heard[-1]

    def wait_readable(end: Any) -> bytes:
        if kind == "gevent":
            from gevent.socket import wait_read

            wait_read(end.fileno(), timeout=20)
        else:
            end.settimeout(20)
        return bytes(end.recv(1 << 16))

    def first_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
        if len(data) < 2:
            return None
        assert data[0] & 0x30 == 0 and not data[1] & 0x80 and data[0] & 0x0F in (1, 8, 9, 10), f"no frame: {data[:9]!r}"
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        if len(data) < start + size:
            return None
        return data[0], data[start : start + size], data[start + size :]

    def check_order(heard: list[str], stays: bool) -> None:
        """A new stay begins with the last message."""
        channel, number = heard[-1].split()[:2]
        assert channel in ("all", "g", "h", "own"), f"a foreign message: {heard[-1]!r}"
        before = [int(each.split()[1]) for each in heard[:-1] if each.split()[0] == channel]
        assert not before or before[-1] < int(number) + stays, f"twice or out of order: {[each[:8] for each in heard]}"

    store = redis.Redis.from_url(url)
    numbers = iter(range(10**6))
    names = {"all": f"broadcast:{facility}", "g": f"group:g:{facility}", "h": f"group:h:{facility}"}

    def publish(channel: str) -> str:
        text = f"{channel} {next(numbers)} " + "x" * 300
        store.pipeline().set(names[channel], text, ex=60).publish(names[channel], text).execute()
        return text

    def until(done: Callable[[], Any], what: str, seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"waited in vain: {what}"
            time.sleep(0.01)

    def wait_a_moment(done: Callable[[], Any]) -> None:
        with suppress(AssertionError):
            until(done, "", 0.3)

    # the story
    fault.armed = True
    every = "subscribe-broadcast subscribe-group"
    browsers = [
        Browser(every),
        Browser("subscribe-broadcast", Agreement(True, False, 15, None)),
        Browser("subscribe-broadcast publish-broadcast"),
    ]
    wait_a_moment(lambda: all(each.heard for each in browsers))
    for channel in ("all", "g", "all", "h"):
        publish(channel)
    browsers[1].say("/leave")
    update_groups(User(), ["h"])
    browsers.append(Browser(every))
    for channel in ("all", "g", "h"):
        last = publish(channel)
    browsers[1].say("/join")
    browsers[2].say("own 1")
    wait_a_moment(lambda: browsers[0].has_heard(last))
    loop = process.running_process()
    if loop is not None and loop.pubsub._subscription is not None:
        with suppress(Exception):
            host, port = loop.pubsub._subscription._connection._sock.getsockname()
            store.client_kill_filter(addr=f"{host}:{port}")
    update_groups(User(), ["g"])
    for channel in ("g", "h", "all"):
        publish(channel)
    leaving = browsers.pop(0)
    leaving.leave()
    browsers.append(Browser(every))
    wait_a_moment(lambda: browsers[-1].heard)
    # afterwards
    fault.armed = False
    begin = time.monotonic()

    def all_hear(channel: str, which: list[Browser]) -> None:
        sent: list[str] = []

        def heard() -> bool:
            sent.append(publish(channel))
            time.sleep(0.03)
            return all(any(map(each.has_heard, sent[-8:])) for each in which)

        until(heard, f"{[not any(map(each.has_heard, sent)) for each in which]} hear no more of {channel}")

    all_hear("all", browsers)
    all_hear("g", [each for each in browsers if "subscribe-group" in each.flags])
    newcomer = Browser(every)
    browsers.append(newcomer)
    until(lambda: newcomer.heard, "a newcomer gets in")
    all_hear("all", browsers)
    assert time.monotonic() - begin < 15
    count = publish("h")
    last = publish("all")
    until(lambda: all(each.has_heard(last) for each in browsers), "the last message")
    assert not any(each.has_heard(count) for each in browsers), "a group that was left is heard"
    assert len(browsers[1].heard) > 1 or "own 1" not in browsers[1].heard[0], "an own message came back"
    for each in browsers:
        each.leave()
    loop = process.running_process()
    assert loop is not None
    until(lambda: not len(loop.connections), f"{len(loop.connections)} connections are left", 8)
    until(lambda: not loop.limits._counts, "connections are still counted")
    until(lambda: loop.hub.channels == [loop.probe.channel], f"channels are left: {loop.hub.channels}")
    assert not loop.hub.controls
    until(lambda: not loop.pubsub._pending or not loop.pubsub.pauses, "questions are left")
    assert not wrong, wrong


def attempt(kind: str, url: str, error: type[Exception], number: int) -> tuple[int, str]:
    """In a process of its own; returns how many calls there were, and what was wrong."""
    with tempfile.TemporaryFile() as told:
        pid = os.fork()
        if not pid:
            signal.alarm(90)
            calls, wrong = try_it(kind, url, Fault(number, error))
            os.write(told.fileno(), f"{calls} {wrong}".encode())
            os._exit(0)
        os.waitpid(pid, 0)
        told.seek(0)
        calls, _, wrong = told.read().decode().partition(" ")
    return int(calls or 0), wrong if calls else "it died, or hangs"


def try_it(kind: str, url: str, fault: Fault) -> tuple[int, str]:
    break_all(fault)
    try:
        story(kind, url, fault)
    except BaseException as failure:
        what = str(failure) if isinstance(failure, AssertionError) else traceback.format_exc()
        return fault.calls, f"{fault.place}: {what or failure!r}"
    return fault.calls, ""


def attempts(
    kind: str, url: str, error: type[Exception], numbers: Iterator[int], seconds: float
) -> tuple[int, list[str]]:
    """Until the story goes through without the fault, or the time is over; returns how many, and what was wrong."""
    end, tried, wrong = time.monotonic() + seconds, 0, []
    for number in numbers:
        calls, what = attempt(kind, url, error, number)
        tried += 1
        if not what and calls < LEAST_CALLS:
            what = f"the story makes {calls} calls only: is all of the loop broken?"
        if what:
            wrong.append(f"{error.__name__} at call {number}: {what}")
            print(wrong[-1], flush=True)
        if calls < number:
            break
        if time.monotonic() > end:
            break
    return tried, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["gevent", "threads"])
    parser.add_argument("error", choices=["MemoryError", "OSError"])
    parser.add_argument("url", nargs="?", help="of a Redis; by default there is one for this run")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    if options.kind == "gevent":
        from gevent import monkey

        monkey.patch_all()
    from tests.servers import Valkey

    error = {"MemoryError": MemoryError, "OSError": OSError}[options.error]
    numbers = iter(range(options.first, 10**9, options.step))
    with nullcontext(options) if options.url else Valkey() as server:
        tried, wrong = attempts(options.kind, server.url, error, numbers, options.seconds)
    print(f"{tried} tries, {len(wrong)} went wrong", flush=True)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
