"""The example site as `make demo` starts it: without a browser, and with two windows of one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import websocket

from tests.servers import ROOT, Server, Valkey, free_port, wait_for

if TYPE_CHECKING:
    from tests.chromium import Window

    OpenWindow = Callable[..., Window]


SOCKET = "/ws/foobar?subscribe-broadcast&publish-broadcast&echo"
GREETING = "Hello everybody"
HTML = "<b>x</b>&amp;<img src=x onerror=alert(1)>"


class Demo(Server):
    """``examples/demo.py`` in a session of its own, by which all that it started is found again."""

    def __init__(self, database: Path, **settings: str) -> None:
        super().__init__()
        self.settings = {"PORT": str(self.port), "DATABASE": str(database), **settings}
        self.session = 0

    def command(self) -> list[str]:
        return [sys.executable, "examples/demo.py"]

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in super().environment().items() if name not in UNWANTED}
        # ws4redis may be installed or not
        return {**inherited, "PYTHONPATH": str(ROOT), **self.settings}

    def launch(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.session = self.process.pid

    def start(self) -> None:
        try:
            self.launch()
            wait_for(self.answers, "the demo", 90)
        except BaseException:
            self.stop()
            raise

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the demo ended:\n{self.log()}"
        return "Ctrl-C" in self.log()

    def stop(self, number: int = signal.SIGTERM) -> None:
        super().stop(number)
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        return [pid for pid in all_processes() if session_of(pid) == self.session]

    def exit_code(self) -> int:
        assert self.process is not None
        return self.process.wait(40)

    @property
    def url(self) -> str:
        return self.printed(r"(http://\S+?)/chat/")

    @property
    def master(self) -> int:
        return int(self.printed(r"kill -HUP (\d+)"))

    @property
    def publish_command(self) -> str:
        return self.printed(r"(?m)^(REDIS_URL=.* shell -c .*)$")

    def printed(self, pattern: str) -> str:
        found = re.search(pattern, self.log())
        assert found, f"no {pattern} in:\n{self.log()}"
        return found[1]

    def publish_from_shell(self) -> None:
        """Exactly what is printed for the user to type."""
        subprocess.run(self.publish_command, shell=True, cwd=ROOT, env=self.environment(), check=True, timeout=60)


# what a developer's shell may contain, and `make demo` would heed
UNWANTED = ("REDIS_URL", "DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV", "DEBUG")


def all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def session_of(pid: int) -> int:
    try:
        state, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0:4:3]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # whoever waits for a zombie comes when he comes
    return 0 if state == "Z" else int(session)


@pytest.fixture(scope="module")
def demo_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo.sqlite3"


@pytest.fixture(scope="module")
def demo(demo_database: Path) -> Iterator[Demo]:
    with Demo(demo_database) as demo:
        yield demo


@pytest.fixture
def demo_to_end(demo: Demo, demo_database: Path, tmp_path: Path) -> Iterator[Demo]:
    """A demo that the test may end; its database needs no migration any more."""
    copy = tmp_path / "demo.sqlite3"
    shutil.copy(demo_database, copy)
    with Demo(copy) as other:
        yield other


def get(demo: Demo, path: str) -> str:
    with urllib.request.urlopen(demo.url + path, timeout=60) as response:
        assert response.status == 200
        return response.read().decode()


@contextmanager
def connected(demo: Demo) -> Iterator[websocket.WebSocket]:
    browser = websocket.create_connection(demo.url.replace("http", "ws") + SOCKET, timeout=30)
    try:
        yield browser
    finally:
        browser.shutdown()


def receive(browser: websocket.WebSocket, text: str) -> None:
    """What comes before it may be the heartbeat or what was kept."""
    while browser.recv() != text:
        pass


# -- without a browser --


def test_pages(demo: Demo) -> None:
    assert 'id="billboard"' in get(demo, "/chat/")
    assert 'id="billboard"' in get(demo, "/")
    assert 'name="password"' in get(demo, "/accounts/login/?next=/chat/")


@pytest.mark.contract("14 manual: 22 static files without DEBUG")
def test_all_that_a_page_names_is_served_from_here(demo: Demo) -> None:
    page = get(demo, "/chat/")
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert "/static/js/ws4redis.js" in named
    assert all(get(demo, path) for path in named)


def test_echo(demo: Demo) -> None:
    with connected(demo) as browser:
        browser.send(HTML)
        receive(browser, HTML)


def test_opening_the_page_greets_all(demo: Demo) -> None:
    with connected(demo) as browser:
        browser.send("before")
        receive(browser, "before")
        get(demo, "/chat/")
        receive(browser, GREETING)


def test_the_printed_command_publishes(demo: Demo) -> None:
    with connected(demo) as browser:
        demo.publish_from_shell()
        receive(browser, "Hello from the shell")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_ends_with_all_that_it_started(demo_to_end: Demo, number: int) -> None:
    with connected(demo_to_end):
        # itself, Valkey, uWSGI's master and worker
        assert len(demo_to_end.processes()) >= 4
        demo_to_end.send_signal(number)
        assert demo_to_end.exit_code() == (-number if number == signal.SIGKILL else 0)
    wait_for(lambda: not demo_to_end.processes(), "the end of all processes")
    assert "Traceback" not in demo_to_end.log()


def test_ends_while_it_starts(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "new.sqlite3")
    try:
        demo.launch()
        wait_for(lambda: "Starting" in demo.log(), "its first line")
        demo.send_signal(signal.SIGINT)
        assert demo.exit_code() == 0
        assert demo.processes() == []
        assert "Traceback" not in demo.log()
    finally:
        demo.stop()


def test_a_taken_port(demo: Demo, demo_database: Path) -> None:
    with Demo(demo_database, PORT=str(demo.port)) as other:
        assert f"Port {demo.port} is taken" in other.log()
        assert other.url != demo.url
        assert "billboard" in get(other, "/chat/")


def test_a_redis_of_ones_own(redis_server: Valkey, demo_database: Path) -> None:
    with Demo(demo_database, REDIS_URL=redis_server.url) as other:
        assert redis_server.url in other.publish_command
        get(other, "/chat/")
        assert redis_server.client().get("demo:broadcast:foobar") == GREETING.encode()


MISTAKES = {
    "no redis": ({"REDIS_URL": f"redis://:hidden@127.0.0.1:{free_port()}/0"}, "does not answer"),
    "no redis url": ({"REDIS_URL": "127.0.0.1"}, "does not answer"),
    "no port": ({"PORT": "http"}, "PORT is 'http'"),
    "no database": ({"DATABASE": "/nowhere/demo.sqlite3"}, "/nowhere/demo.sqlite3"),
    "no packages": ({"PYTHONPATH": "/nowhere"}, "make demo"),
}


@pytest.mark.parametrize(("settings", "complaint"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_one_line(settings: dict[str, str], complaint: str, tmp_path: Path) -> None:
    demo = Demo(tmp_path / "new.sqlite3", **settings)
    command = demo.command()
    if settings.get("PYTHONPATH"):
        # -S: an interpreter without site-packages
        command.insert(1, "-S")
    done = subprocess.run(command, cwd=ROOT, env=demo.environment(), capture_output=True, text=True, timeout=90)
    demo.log_path.unlink()
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stderr.startswith("demo: ")
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr


def test_everything_listens_on_this_machine_only(demo: Demo) -> None:
    inodes = {inode for pid in demo.processes() for inode in sockets_of(pid)}
    addresses = {address for address, inode in listeners() if inode in inodes}
    assert addresses == {socket.inet_aton("127.0.0.1")}


def sockets_of(pid: int) -> Iterator[str]:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor)):
                yield found[1]


def listeners() -> Iterator[tuple[bytes, str]]:
    """The address and the inode of every listening TCP socket."""
    listening = "0A"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == listening:
                yield bytes.fromhex(fields[1].partition(":")[0])[::-1], fields[9]


# -- with a browser --


def chat(open_window: OpenWindow, demo: Demo) -> Window:
    window = open_window(f"{demo.url}/chat/")
    wait_for_state(window, "Connected")
    return window


def wait_for_state(window: Window, text: str) -> None:
    window.wait_for_text("#state", text)


@pytest.fixture
def windows(open_window: OpenWindow, demo: Demo) -> list[Window]:
    return [chat(open_window, demo), chat(open_window, demo)]


def messages(window: Window) -> list[str]:
    return window.texts("#billboard .message")


@pytest.mark.contract("asks javascript: #201, #243: STATIC_URL, and a demonstration that runs")
def test_two_windows_chat(windows: list[Window]) -> None:
    for number, window in enumerate(windows):
        window.type("#text_message", f"{HTML} {number}", enter=True)
        for each in windows:
            each.wait_for_text(".message", f"{HTML} {number}")
    for window in windows:
        assert window.texts("#billboard b, #billboard img") == []
        assert window.find("#text_message").get_attribute("value") == ""


def test_the_button_sends(windows: list[Window]) -> None:
    windows[0].type("#text_message", "by the button")
    windows[0].click("#send_message")
    for window in windows:
        window.wait_for_text(".message", "by the button")


def test_windows_hear_other_processes(windows: list[Window], demo: Demo) -> None:
    demo.publish_from_shell()
    for window in windows:
        window.wait_for_text(".message", "Hello from the shell")


def test_windows_are_back_after_a_reload(windows: list[Window], demo: Demo) -> None:
    for window in windows:
        window.script(
            "window.states = [];"
            "new MutationObserver(() => states.push(document.getElementById('state').textContent))"
            ".observe(document.getElementById('state'), {childList: true})"
        )
    os.kill(demo.master, signal.SIGHUP)
    expected = ["Waiting to reconnect…", "Connecting…", "Connected"]
    for window in windows:
        wait_for(
            lambda window=window: window.script("return states")[-1:] == ["Connected"],
            f"the reconnection\n{demo.log()}",
        )
        states = window.script("return states")
        assert states[:2] == expected[:2]
        assert set(states) == set(expected)
    demo.publish_from_shell()
    for window in windows:
        window.wait_for_text(".message", "Hello from the shell")
    windows[0].type("#text_message", "after the reload", enter=True)
    windows[1].wait_for_text(".message", "after the reload")


def test_login_and_logout(open_window: OpenWindow, demo: Demo) -> None:
    window = chat(open_window, demo)
    window.click("#login")
    window.type("#id_username", "john")
    window.type("#id_password", "wrong", enter=True)
    window.find("[role=alert]")
    window.type("#id_password", "secret", enter=True)
    window.wait_for_text("#user", "John Doe")
    wait_for_state(window, "Connected")
    assert window.driver.current_url == f"{demo.url}/chat/"
    window.click("#logout")
    window.find("#login")
    wait_for_state(window, "Connected")
    assert window.driver.current_url == f"{demo.url}/chat/"


def test_the_billboard_is_bounded(open_window: OpenWindow, demo: Demo) -> None:
    window = chat(open_window, demo)
    with connected(demo) as other:
        for number in range(600):
            other.send(f"line {number}")
        # a browser that leaves without having read is a reset connection, and takes along what it has sent
        receive(other, "line 599")
    window.wait_for_text(".message", "line 599")
    shown = messages(window)
    assert len(shown) == 500
    assert shown[0] == "line 100"


def test_the_newest_line_stays_in_view(open_window: OpenWindow, demo: Demo) -> None:
    window = chat(open_window, demo)
    distance = "const b = document.getElementById('billboard'); return b.scrollHeight - b.scrollTop - b.clientHeight"
    with connected(demo) as other:
        for number in range(100):
            other.send(f"tall {number}")
        window.wait_for_text(".message", "tall 99")
        assert window.script(distance) < 2
        window.script("document.getElementById('billboard').scrollTop = 0")
        other.send("while reading further up")
        window.wait_for_text(".message", "while reading further up")
        assert window.script(distance) > 40


@pytest.mark.parametrize("width", [320, 1200])
def test_fits_any_screen(open_window: OpenWindow, demo: Demo, width: int) -> None:
    window = chat(open_window, demo)
    window.resize(width, 640)
    window.type("#text_message", "x" * 500, enter=True)
    window.wait_for_text(".message", "x" * 500)
    assert window.script("return document.documentElement.scrollWidth") <= width
    assert window.script("return document.querySelector('#send_message').getBoundingClientRect().bottom") <= 640


def test_the_browser_has_nothing_to_complain(open_window: OpenWindow, demo: Demo) -> None:
    window = chat(open_window, demo)
    window.open(f"{demo.url}/accounts/login/")
    # the browser has one console for all windows, also for those of other tests
    assert [line for line in window.console() if demo.url.removeprefix("http") in line] == []
