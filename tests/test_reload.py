"""Reloads and stops: browsers are told, the server serves again, and the log stays clean."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import websocket

from tests.browsers import all_counts, get, plain_socket
from tests.servers import UWSGI, Valkey, wait_for

PATH = "/ws/x?subscribe-broadcast"

#: no test waits for the default
BRIEF = {"WS4REDIS_LEAVING_TIME": "0.3"}

CLOSE_FRAMES = {b"\x88\x02\x03\xe9": 1001, b"\x88\x02\x03\xf4": 1012, b"": None}


class Reloadable(UWSGI):
    """With files to be touched, and a log that is read on where it was read last."""

    def __init__(self, redis_url: str, folder: Path, options: dict[str, Any], **settings: str) -> None:
        self.folder = folder
        touches = {f"touch-{name}": folder / name for name in ("reload", "chain-reload", "workers-reload")}
        super().__init__(redis_url, {**touches, "master-fifo": folder / "fifo", **options}, **settings)
        for path in touches.values():
            path.touch()
        self._read = 0

    def new_log(self) -> str:
        log = self.log()[self._read :]
        self._read += len(log)
        return log

    def is_at_rest(self) -> bool:
        """No chain reload is under way; a second one would be ignored."""
        log = self.log()
        return log.rfind("chain next victim") <= log.rfind("chain reloading complete")

    def touch(self, name: str) -> None:
        soon = time.time() + 5  # uWSGI compares whole seconds
        soon = max(soon, (self.folder / name).stat().st_mtime + 5)
        os.utime(self.folder / name, (soon, soon))

    def tell(self, command: str) -> None:
        (self.folder / "fifo").write_text(command)


@pytest.fixture
def start(redis_server: Valkey, tmp_path: Path) -> Iterator[Callable[..., Reloadable]]:
    with ExitStack() as started:

        def start(settings: dict[str, str] = BRIEF, **options: Any) -> Reloadable:
            names = {name.replace("_", "-"): value for name, value in options.items()}
            return started.enter_context(Reloadable(redis_server.url, tmp_path, names, **settings))

        yield start


# -- what is seen of a worker and of its browsers --


def pids(site: UWSGI) -> set[int]:
    return {each["pid"] for each in all_counts(site).values()}


def fullest(site: UWSGI) -> dict[str, Any]:
    return max(all_counts(site).values(), key=lambda each: each["connections"])


def has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def descriptors(pid: int | None) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def serves_again(site: UWSGI) -> websocket.WebSocket | None:
    try:
        return site.connect(PATH)
    except (OSError, websocket.WebSocketException):
        return None


def read_to_the_end(browser: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while data := browser.recv(1 << 16):
            received += data
    return received


def close_code(browser: socket.socket) -> int | None:
    """Of a browser to which nothing else is sent; 0 where it is left alone."""
    browser.settimeout(20)
    try:
        received = read_to_the_end(browser)
    except TimeoutError:
        return 0
    return CLOSE_FRAMES[received]


def code_of(browser: websocket.WebSocket) -> int | None:
    """None where the connection broke."""
    try:
        opcode, data = browser.recv_data()
    except (websocket.WebSocketException, OSError):
        return None
    assert opcode == 8, data
    return int.from_bytes(data[:2], "big")


def ask(site: UWSGI, seconds: float) -> Future[str]:
    """A plain request in flight."""
    executor = ThreadPoolExecutor(1)
    answer = executor.submit(get, site, f"/slow?seconds={seconds}")
    executor.shutdown(wait=False)
    wait_for(lambda: any(each["slow"] for each in all_counts(site).values()), "the request is in flight")
    return answer


def assert_quiet(log: str) -> None:
    for trouble in ("Traceback", "Error", " 500) ", "NO MERCY", "BOOOOOOM", "SIGSEGV", "DAMN"):
        assert trouble not in log, log


# -- the master --


class Trigger(NamedTuple):
    pull: Callable[[Reloadable], None]
    #: what browsers are told; None where nobody can
    code: int | None
    #: whether uWSGI lets requests that are in flight finish
    patient: bool


def to_master(number: signal.Signals) -> Callable[[Reloadable], None]:
    return lambda site: site.send_signal(number)


def touch(name: str) -> Callable[[Reloadable], None]:
    return lambda site: site.touch(name)


RELOADS = {
    "SIGHUP": Trigger(to_master(signal.SIGHUP), 1012, True),
    "SIGTERM": Trigger(to_master(signal.SIGTERM), 1012, False),
    "touch-reload": Trigger(touch("reload"), 1012, True),
    "touch-workers-reload": Trigger(touch("workers-reload"), 1012, True),
    "touch-chain-reload": Trigger(touch("chain-reload"), 1012, True),
}

STOPS = {
    "SIGINT": ({}, Trigger(to_master(signal.SIGINT), 1001, False)),
    "SIGQUIT": ({}, Trigger(to_master(signal.SIGQUIT), 1001, False)),
    "SIGTERM": ({"die_on_term": True}, Trigger(to_master(signal.SIGTERM), 1001, False)),
    # to a worker the same as a reload
    "fifo q": ({}, Trigger(lambda site: site.tell("q"), 1012, True)),
}

SITES: dict[str, dict[str, Any]] = {
    "1 worker": {},
    "2 lazy workers": {"workers": 2, "lazy-apps": True},
}


@pytest.fixture(scope="module", params=SITES)
def reloadable(
    request: pytest.FixtureRequest, redis_server: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reloadable]:
    folder = tmp_path_factory.mktemp("uwsgi")
    with Reloadable(redis_server.url, folder, SITES[request.param], **BRIEF) as site:
        yield site


def with_or_without_a_request(test: Any) -> Any:
    return pytest.mark.parametrize("in_flight", [False, True], ids=["idle", "request"])(test)


def check_answer(answer: Future[str], patient: bool) -> None:
    if patient:
        assert answer.result(20) == "slow"
    else:
        with pytest.raises(OSError):
            answer.result(20)


@with_or_without_a_request
@pytest.mark.parametrize("how", RELOADS)
def test_reload(reloadable: Reloadable, redis_server: Valkey, how: str, in_flight: bool) -> None:
    site, trigger = reloadable, RELOADS[how]
    assert site.process is not None
    old = pids(site)
    before = descriptors(site.process.pid)
    site.new_log()
    answer = ask(site, 1 if trigger.patient else 30) if in_flight else None
    browsers = [site.connect(PATH) for _ in range(10)]
    trigger.pull(site)
    assert {code_of(browser) for browser in browsers} == {trigger.code}
    if answer is not None:
        check_answer(answer, trigger.patient)
    wait_for(lambda: all(has_ended(pid) for pid in old), "the old workers end")
    again = wait_for(lambda: serves_again(site), "it serves again")
    wait_for(lambda: redis_server.client().publish("broadcast:x", "hi"), "somebody listens")
    assert again.recv() == "hi"
    site.close_browsers()
    assert pids(site).isdisjoint(old)
    wait_for(site.is_at_rest, "the chain reload is complete")
    assert descriptors(site.process.pid) == before, "the master has kept a descriptor"
    assert_quiet(site.new_log())


@with_or_without_a_request
@pytest.mark.parametrize("how", STOPS)
def test_stop(start: Callable[..., Reloadable], how: str, in_flight: bool) -> None:
    options, trigger = STOPS[how]
    site = start(workers=2 if in_flight else 1, **options)
    workers = pids(site)
    answer = ask(site, 1 if trigger.patient else 30) if in_flight else None
    browsers = [site.connect(PATH) for _ in range(10)]
    trigger.pull(site)
    assert {code_of(browser) for browser in browsers} == {trigger.code}
    if answer is not None:
        check_answer(answer, trigger.patient)
    assert site.process is not None
    assert site.process.wait(20) is not None
    assert all(has_ended(pid) for pid in workers)
    assert_quiet(site.log())


# -- one worker of two --


@pytest.fixture(scope="module")
def pair(redis_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloadable]:
    with Reloadable(redis_server.url, tmp_path_factory.mktemp("uwsgi"), {"workers": 2}, **BRIEF) as site:
        yield site


class Ending(NamedTuple):
    number: signal.Signals
    code: int | None
    patient: bool
    expected_in_log: str = ""


ENDINGS = [
    Ending(signal.SIGHUP, 1012, True),
    Ending(signal.SIGTERM, 1012, False),
    Ending(signal.SIGINT, 1012, False),
    Ending(signal.SIGKILL, None, False, "DAMN ! worker"),
]


@with_or_without_a_request
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.number.name)
def test_a_worker_ends(pair: Reloadable, redis_server: Valkey, ending: Ending, in_flight: bool) -> None:
    end_a_worker(pair, redis_server, ending, in_flight)


def end_a_worker(site: Reloadable, redis_server: Valkey, ending: Ending, in_flight: bool) -> None:
    """Its browsers are told, where it can still speak; those of the other stay; a new one takes its place."""
    site.new_log()
    answer = ask(site, 1 if ending.patient else 30) if in_flight else None
    browsers = [site.connect(PATH)]
    # where a request is in flight, its worker is the one
    victim = wait_for(lambda: find_victim(site, browsers, in_flight), "a worker with three browsers")
    os.kill(victim["pid"], ending.number)
    wait_for(lambda: has_ended(victim["pid"]), "it ends")
    if answer is not None:
        check_answer(answer, ending.patient)
    assert victim["pid"] not in pids(site)
    redis_server.client().publish("broadcast:x", "hi")
    ended, stayed = [], []
    for browser in browsers:
        code = code_or_message(browser)
        (stayed if code == "hi" else ended).append(code)
    assert ended == [ending.code] * victim["connections"]
    assert set(stayed) <= {"hi"}
    site.close_browsers()
    log = site.new_log()
    assert ending.expected_in_log in log
    assert_quiet(log.replace(ending.expected_in_log or "\0", ""))


def find_victim(site: UWSGI, browsers: list[websocket.WebSocket], in_flight: bool) -> dict[str, Any] | None:
    candidates = [each for each in all_counts(site).values() if each["slow"] or not in_flight]
    victim = max(candidates, key=lambda each: each["connections"])
    if victim["connections"] >= 3:
        return victim
    browsers.append(site.connect(PATH))
    return None


def code_or_message(browser: websocket.WebSocket) -> int | str | None:
    try:
        opcode, data = browser.recv_data()
    except (websocket.WebSocketException, OSError):
        return None
    return int.from_bytes(data[:2], "big") if opcode == 8 else data.decode()


def test_a_worker_is_killed_by_quit(start: Callable[..., Reloadable], redis_server: Valkey) -> None:
    """One that was there from the beginning. To one that took another's place uWSGI lets SIGQUIT end all workers."""
    end_a_worker(start(workers=2), redis_server, Ending(signal.SIGQUIT, None, False, "DAMN ! worker"), False)


#: by which uWSGI ends a worker for itself
LIVES: dict[str, int] = {"max-requests": 20, "reload-on-rss": 1, "max-worker-lifetime": 2}


@with_or_without_a_request
@pytest.mark.parametrize("option", LIVES)
def test_a_worker_has_lived(start: Callable[..., Reloadable], option: str, in_flight: bool) -> None:
    """Without us, a worker whose max-worker-lifetime is over only says so: at the end of each request."""
    site = start(**{option: LIVES[option], "min-worker-lifetime": 1})
    old = pids(site)
    browsers = [site.connect(PATH) for _ in range(5)]
    answer = ask(site, 3) if in_flight else None
    wait_for(lambda: get(site, "/counts") and "Gracefully killing worker" in site.log(), "a request was the last one")
    assert {code_of(browser) for browser in browsers} == {1012}
    if answer is not None:
        check_answer(answer, True)
    wait_for(lambda: all(has_ended(pid) for pid in old), "the old worker ends")
    assert pids(site).isdisjoint(old)
    assert_quiet(site.log())
