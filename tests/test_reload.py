"""Reloads and stops: browsers are told, the server serves again, and the log stays clean."""

from __future__ import annotations

import json
import os
import random
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
BRIEF = {"WS4REDIS_DRAIN_SECONDS": "0.3"}

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


def is_whole(site: Reloadable) -> bool:
    """All workers serve: one that has just been forked misses signals, and keeps the master waiting for a minute."""
    return bool(pids(site)) and site.is_at_rest()


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


@pytest.mark.contract("12 closing: 1012, decided: uWSGI reloads or stops")
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
    wait_for(lambda: is_whole(site), "all workers serve")
    assert pids(site).isdisjoint(old)
    assert descriptors(site.process.pid) == before, "the master has kept a descriptor"
    assert_quiet(site.new_log())


@pytest.mark.contract("12 closing: 1012, decided: uWSGI reloads or stops")
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
    # where its life is over before they come, one that it cannot take any more gets a 503, and comes again
    browsers = [wait_for(lambda: serves_again(site), "a worker that takes it") for _ in range(5)]
    answer = ask(site, 3) if in_flight else None
    with ThreadPoolExecutor(len(browsers)) as executor:  # some may have come to the next worker, which ends likewise
        codes = [executor.submit(code_of, browser) for browser in browsers]
        wait_for(lambda: get(site, "/counts") and all(code.done() for code in codes), "a request was the last one")
    assert "Gracefully killing worker" in site.log()
    assert {code.result() for code in codes} == {1012}
    if answer is not None:
        check_answer(answer, True)
    wait_for(lambda: all(has_ended(pid) for pid in old), "the old worker ends")
    assert pids(site).isdisjoint(old)
    assert_quiet(site.log())


# -- batches --


def in_hours(hours: float) -> dict[str, str]:
    return {"WS4REDIS_DRAIN_SECONDS": str(3600 * hours)}


class Sender(threading.Thread):
    """Publishes 0, 1, 2 … until it is told to end, and then "end"."""

    def __init__(self, redis_server: Valkey) -> None:
        super().__init__()
        self.client = redis_server.client()
        self.ended = threading.Event()
        self.sent: list[str] = []

    def run(self) -> None:
        while not self.ended.wait(0.03):
            self.publish(str(len(self.sent)))

    def publish(self, message: str) -> None:
        self.client.publish("broadcast:x", message)
        self.sent.append(message)

    def end(self) -> list[str]:
        self.ended.set()
        self.join()
        self.publish("end")
        return self.sent


def heard(browser: websocket.WebSocket) -> tuple[list[str], int | None]:
    """All messages, and the close code; None where the end of all messages came first."""
    messages: list[str] = []
    while messages[-1:] != ["end"]:
        opcode, data = browser.recv_data()
        if opcode == 8:
            return messages, int.from_bytes(data[:2], "big")
        messages.append(data.decode())
    return messages, None


@pytest.mark.parametrize(("how", "options"), [("SIGHUP", {}), ("touch-chain-reload", {"lazy_apps": True})])
def test_browsers_leave_bit_by_bit(
    start: Callable[..., Reloadable], redis_server: Valkey, how: str, options: dict[str, Any]
) -> None:
    """While others accept. All hear everything until they are told; new ones come to another worker."""
    site = start({"WS4REDIS_DRAIN_SECONDS": "2"}, workers=2, **options)
    workers = all_counts(site)
    browsers = [site.connect(PATH) for _ in range(40)]
    # the chain begins with the first; alone there goes the one with most browsers
    crowds = all_counts(site)
    number = max(crowds, key=lambda each: crowds[each]["connections"]) if how == "SIGHUP" else 1
    first = crowds[number]
    sender = Sender(redis_server)
    sender.start()
    if how == "SIGHUP":
        os.kill(first["pid"], signal.SIGHUP)
    else:
        site.touch("chain-reload")
    wait_for(lambda: f"Gracefully killing worker {number}" in site.log(), "it begins to leave")
    for _ in range(20):
        answering = all_pids_once(site)
        assert first["pid"] != answering or has_ended(first["pid"])
    leaving = [first["pid"]] if how == "SIGHUP" else [each["pid"] for each in workers.values()]
    wait_for(lambda: all(has_ended(pid) for pid in leaving), "all that should have ended")
    sent = sender.end()
    told = []
    for browser in browsers:
        messages, code = heard(browser)
        assert messages == sent[: len(messages)], "nothing was lost"
        if code is not None:
            told.append(len(messages))
            assert code == 1012
    assert len(told) == (first["connections"] if how == "SIGHUP" else len(browsers))
    assert len(set(told)) > 5, "they were told at different times"
    assert_quiet(site.log())
    wait_for(lambda: is_whole(site), "all workers serve")


def all_pids_once(site: UWSGI) -> int:
    pid: int = json.loads(get(site, "/counts"))["pid"]
    return pid


def end_the_only_worker(site: Reloadable) -> None:
    (pid,) = pids(site)
    os.kill(pid, signal.SIGHUP)


def end_one_after_the_other(site: Reloadable) -> None:
    """The first has begun to send its browsers to the second."""
    for number, each in sorted(all_counts(site).items()):
        os.kill(each["pid"], signal.SIGHUP)
        wait_for(lambda number=number: f"Gracefully killing worker {number}" in site.log(), "it begins to leave")


#: workers, and what makes them leave
NOBODY_LEFT: dict[str, tuple[int, Callable[[Reloadable], Any]]] = {
    "SIGHUP of the master": (2, to_master(signal.SIGHUP)),
    "touch-workers-reload": (2, touch("workers-reload")),
    "SIGHUP of the only worker": (1, end_the_only_worker),
    "SIGHUP of one, then of the other": (2, end_one_after_the_other),
}


@pytest.mark.parametrize("how", NOBODY_LEFT)
def test_browsers_leave_at_once(start: Callable[..., Reloadable], how: str) -> None:
    """Where nobody is left to take them; nobody waits long for one that does not answer."""
    workers, pull = NOBODY_LEFT[how]
    site = start(in_hours(1), workers=workers)
    old = pids(site)
    browsers = [site.connect(PATH) for _ in range(20)]
    with plain_socket(site, PATH):
        pull(site)
        assert {code_of(browser) for browser in browsers} == {1012}
        wait_for(lambda: all(has_ended(pid) for pid in old), "the old workers end")
    assert_quiet(site.log())
    wait_for(lambda: is_whole(site), "all workers serve")


def test_browsers_leave_before_uwsgi_kills(start: Callable[..., Reloadable]) -> None:
    site = start(in_hours(1), workers=2, worker_reload_mercy=4)
    browsers = [site.connect(PATH) for _ in range(20)]
    worker = fullest(site)
    os.kill(worker["pid"], signal.SIGHUP)
    wait_for(lambda: has_ended(worker["pid"]), "it ends")
    wait_for(lambda: is_whole(site), "all workers serve")
    site.send_signal(signal.SIGHUP)
    assert {code_of(browser) for browser in browsers} == {1012}
    assert_quiet(site.log())


# -- what was begun --

#: more than a kernel takes at once
LARGE = "x" * 7_000_000


def to_the_fullest(number: signal.Signals) -> Callable[[Reloadable], None]:
    return lambda site: os.kill(fullest(site)["pid"], number)


#: workers, what makes one leave, the code
WHILE_A_FRAME_IS_HALF_SENT: dict[str, tuple[int, Callable[[Reloadable], None], int]] = {
    "SIGHUP of the master": (1, to_master(signal.SIGHUP), 1012),
    "SIGINT of the master": (1, to_master(signal.SIGINT), 1001),
    "SIGHUP of a worker": (2, to_the_fullest(signal.SIGHUP), 1012),
}


@pytest.mark.parametrize("how", WHILE_A_FRAME_IS_HALF_SENT)
def test_a_frame_is_finished(start: Callable[..., Reloadable], redis_server: Valkey, how: str) -> None:
    """For a browser that reads slowly."""
    workers, pull, code = WHILE_A_FRAME_IS_HALF_SENT[how]
    site = start({"WS4REDIS_DRAIN_SECONDS": "6", "WS4REDIS_OUTBOX_SIZE": str(2 * len(LARGE))}, workers=workers)
    slow = plain_socket(site, PATH, receive_buffer=32768)
    redis_server.client().publish("broadcast:x", LARGE)
    wait_for(lambda: fullest(site)["waiting"], "a part is sent")
    pull(site)
    received = bytearray()
    while data := slow.recv(30_000):
        received += data
        time.sleep(0.01)
    assert received == b"\x81\x7f" + len(LARGE).to_bytes(8, "big") + LARGE.encode() + b"\x88\x02" + code.to_bytes(
        2, "big"
    )
    slow.close()
    assert_quiet(site.log())


# -- load --

#: as the script of the page does after 1012
LATEST_RETURN = 7.0


def test_a_reload_under_load(start: Callable[..., Reloadable], redis_server: Valkey) -> None:
    """Two workers, 2,000 browsers, a request in flight: it is answered, all are told, and all come back."""
    site = start(workers=2, log_master=False)
    browsers = [plain_socket(site, PATH) for _ in range(2000)]
    answer = ask(site, 1)
    begin = time.monotonic()
    site.send_signal(signal.SIGHUP)
    for browser in browsers:
        assert close_code(browser) == 1012
        browser.close()
    assert answer.result(20) == "slow"
    told = time.monotonic()
    back = []
    for moment in sorted(random.uniform(0, LATEST_RETURN) for _ in browsers):
        time.sleep(max(0, told + moment - time.monotonic()))
        back.append(plain_socket(site, PATH))
    seconds = time.monotonic() - begin
    print(f"{len(back)} browsers were told after {told - begin:.1f} s, and all back after {seconds:.1f} s")
    assert seconds < 60
    wait_for(lambda: redis_server.client().publish("broadcast:x", "hi") == 2, "both workers listen")
    for browser in back:
        assert browser.recv(100) == b"\x81\x02hi"
        browser.close()
    assert_quiet(site.log())
