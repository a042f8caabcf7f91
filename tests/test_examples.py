"""The example site by hand: the commands of its README, which are those of the old manual, as they are printed there.

Only addresses are replaced by free ones. ``test_demo`` runs the same site as ``make demo`` does.
"""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import websocket

from tests.servers import ROOT, Server, Valkey

if TYPE_CHECKING:
    from tests.chromium import Window

    OpenWindow = Callable[..., Window]

EXAMPLES = ROOT / "examples"
CHATSERVER = EXAMPLES / "chatserver"
HTML = "<b>x</b>&amp;<img src=x onerror=alert(1)>"
PAGES = ("chat", "userchat", "groupchat")

PREPARE = [
    "pip install -r requirements.txt",
    "./manage.py migrate",
    "./manage.py loaddata chatserver/fixtures/data.json",
]
SERVE = {
    "runserver": "./manage.py runserver",
    "uwsgi": "uwsgi --virtualenv /path/to/virtualenv --http :9090 --gevent 100 --http-websockets --module wsgi",
}
TEST = "./manage.py test chatserver --settings=chatserver.tests.settings"


class Shell:
    """A user's shell inside ``examples/``, in a new virtual environment."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.virtualenv = folder / "virtualenv"
        subprocess.run([sys.executable, "-m", "venv", self.virtualenv], check=True)
        unwanted = {"DEBUG", "DJANGO_SETTINGS_MODULE", "PYTHONPATH"}
        self.environment = {name: value for name, value in os.environ.items() if name not in unwanted} | {
            "PATH": f"{self.virtualenv}/bin:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.virtualenv),
            "REDIS_URL": redis_url,
            "DATABASE": str(folder / "chatserver.sqlite3"),
        }

    def run(self, command: str) -> str:
        """What it says."""
        done = subprocess.run(
            command,
            shell=True,
            cwd=EXAMPLES,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout


class Example(Server):
    """A server that is started from the shell."""

    def __init__(self, shell: Shell, command: str) -> None:
        super().__init__()
        self.shell = shell
        self.typed = command.replace("/path/to/virtualenv", str(shell.virtualenv))

    def command(self) -> list[str]:
        return ["sh", "-c", f"cd examples && exec {self.with_address()}"]

    def with_address(self) -> str:
        address = f"127.0.0.1:{self.port}"
        if "manage.py" in self.typed:
            return f"{self.typed} {address}"
        return self.typed.replace(":9090", address)

    def environment(self) -> dict[str, str]:
        return self.shell.environment

    def stop(self, number: int = signal.SIGINT) -> None:
        super().stop(number)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, redis_server: Valkey) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("examples"), redis_server.url)
    for command in PREPARE:
        shell.run(command)
    return shell


@pytest.fixture(scope="module", params=SERVE)
def example(request: pytest.FixtureRequest, shell: Shell) -> Iterator[Example]:
    with Example(shell, SERVE[request.param]) as example:
        yield example


#: for what is the same behind each of them
one_server = pytest.mark.parametrize("example", ["uwsgi"], indirect=True)


class Visitor:
    """Somebody with cookies."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> str:
        with self.opener.open(self.example.url(path), timeout=60) as response:
            return response.read().decode()

    def post(self, path: str, **fields: str) -> str:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path))
        assert token, f"no form at {path}"
        body = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": token[1]}).encode()
        with self.opener.open(self.example.url(path), body, timeout=60) as response:
            return response.read().decode()

    def log_in(self, name: str) -> Visitor:
        self.post("/accounts/login/", username=name, password="secret")
        assert "sessionid" in self.cookie(), f"{name} cannot log in"
        return self

    def cookie(self) -> str:
        return "; ".join(f"{each.name}={each.value}" for each in self.cookies)


# -- the commands --


@pytest.mark.parametrize("command", [*PREPARE, *SERVE.values(), TEST])
def test_the_readme_prints_it(command: str) -> None:
    assert f"\n{command}\n" in (EXAMPLES / "README.md").read_text()


@pytest.mark.contract("asks javascript: #41, #97, #128, #131, #204: examples and their tests that run")
def test_the_sites_own_tests(shell: Shell) -> None:
    said = shell.run(TEST)
    assert re.search(r"Ran (1[6-9]|[2-9]\d) tests", said), said
    assert said.rstrip().endswith("Destroying test database for alias 'default'...")


def test_the_admin_adds_users(example: Example) -> None:
    admin = Visitor(example).log_in("admin")
    assert "/admin/auth/user/add/" in admin.get("/admin/auth/user/")


def test_pages_and_websockets_from_two_uwsgi(shell: Shell) -> None:
    parts = [
        Example(shell, f"uwsgi --http-socket :9090 --ini uwsgi.ini:{section}") for section in ("runserver", "wsserver")
    ]
    with parts[0] as pages, parts[1] as websockets:
        john = Visitor(pages).log_in("john")
        uri = websockets.url("/ws/foobar?subscribe-user").replace("http", "ws")
        # a proxy in front makes one place of both
        browser = websocket.create_connection(uri, timeout=30, cookie=john.cookie(), origin=websockets.url(""))
        assert john.post("/userchat/", user="john", message="through Redis") == "OK"
        while browser.recv() != "john to john: through Redis":
            pass
        browser.shutdown()
        log = websockets.log()
    assert "INFO ws4redis: " in log
    assert not re.search("(WARNING|CRITICAL|ERROR) ws4redis", log), log


# -- the pages, in a browser --


@pytest.fixture
def log_in(open_window: OpenWindow, example: Example) -> Callable[..., Window]:
    """``log_in(name, page)`` is that user's window; to the browser, each host has a login of its own."""
    hosts = iter(("127.0.0.1", "localhost"))

    def log_in(name: str, page: str) -> Window:
        window = open_window(example.url(f"/accounts/login/?next=/{page}/", next(hosts)))
        window.type("#id_username", name)
        window.type("#id_password", "secret", enter=True)
        window.wait_for_text("#state", "Connected")
        return window

    return log_in


def choose(window: Window, recipient: str) -> None:
    window.script("document.querySelector('#recipient').value = arguments[0]", recipient)


@pytest.mark.contract("asks javascript: #41, #97, #128, #131, #204: examples and their tests that run")
@pytest.mark.parametrize(("page", "recipient"), [("chat", None), ("userchat", "mary"), ("groupchat", "chatusers")])
def test_john_writes_to_mary(log_in: Callable[..., Window], page: str, recipient: str | None) -> None:
    john, mary = log_in("john", page), log_in("mary", page)
    text = HTML
    if recipient:
        choose(john, recipient)
        text = f"john to {recipient}: {HTML}"
    john.type("#text_message", HTML, enter=True)
    for window in (john, mary):
        window.wait_for_text(".message", text)
        assert window.texts("#billboard b, #billboard img") == []
    assert john.find("#text_message").get_attribute("value") == ""
    assert john.texts("#problem") == [""]


@one_server
def test_what_cannot_be_sent_stays(log_in: Callable[..., Window]) -> None:
    john = log_in("john", "userchat")
    john.driver.delete_cookie("sessionid")
    john.type("#text_message", "anybody?", enter=True)
    john.wait_for_text("#problem", "Not sent: you are logged out")
    assert john.find("#text_message").get_attribute("value") == "anybody?"


@one_server
def test_who_is_in_no_group_is_told(log_in: Callable[..., Window]) -> None:
    admin = log_in("admin", "groupchat")
    assert "You are in no group" in admin.find("#composer").text
    assert admin.texts("#send_message") == []


@pytest.fixture
def pages(log_in: Callable[..., Window]) -> Iterator[Callable[[], Iterator[Window]]]:
    """``pages()`` shows John one page after the other, each with a message."""
    window = log_in("john", "chat")

    def pages() -> Iterator[Window]:
        origin = window.script("return location.origin")
        for page in PAGES:
            window.open(f"{origin}/{page}/")
            window.wait_for_text("#state", "Connected")
            window.type("#text_message", "x" * 300, enter=True)
            window.find(".message")
            yield window

    return pages


@one_server
def test_each_page_shows_the_code_that_runs(pages: Callable[[], Iterator[Window]]) -> None:
    views = (CHATSERVER / "views.py").read_text()
    scripts = []
    for window in pages():
        view, script = window.texts("pre")
        assert view in views
        name = window.script("return [...document.scripts].at(-1).src").rpartition("/")[2]
        assert script == (CHATSERVER / "static/chatserver" / name).read_text()
        scripts.append(name)
        assert f"def {name.removesuffix('.js')}(request" in view
    assert scripts == ["broadcast_chat.js", "user_chat.js", "group_chat.js"]


@one_server
def test_everything_comes_from_here(pages: Callable[[], Iterator[Window]]) -> None:
    for window in pages():
        origin, loaded = window.script(
            "return [location.origin, performance.getEntriesByType('resource').map(each => each.name)]"
        )
        assert len(loaded) >= 5
        assert [url for url in loaded if not url.startswith(origin)] == []


@one_server
@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 844), (768, 1024), (1280, 800)])
def test_any_screen(pages: Callable[[], Iterator[Window]], width: int, height: int) -> None:
    for window in pages():
        window.resize(width, height)
        wide, bottom, seen = window.script(
            "return [document.documentElement.scrollWidth, "
            "document.querySelector('#send_message').getBoundingClientRect().bottom, "
            "document.querySelector('#billboard').clientHeight]"
        )
        assert wide <= width
        assert bottom <= height
        assert seen >= 100


@one_server
def test_the_newest_line_stays_in_view_when_a_phones_keyboard_opens(log_in: Callable[..., Window]) -> None:
    window = log_in("john", "chat")
    hidden = "const b = document.querySelector('#billboard'); return b.scrollHeight - b.scrollTop - b.clientHeight"
    for number in range(12):
        window.type("#text_message", f"line {number}", enter=True)
    window.wait_for_text(".message", "line 11")
    window.resize(390, 800)
    window.resize(390, 500)
    window.wait_until(lambda: window.script(hidden) < 2, "the last line in view")
    window.script("document.querySelector('#billboard').scrollTop = 0")
    # browsers tell pages of it with the next frame
    window.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    window.resize(390, 480)
    assert window.script(hidden) > 100


# -- for everybody --

#: texts that are hard to read on what is behind them (WCAG 2.2, 1.4.3)
POOR_CONTRAST = r"""
    const numbers = color => color.match(/[\d.]+/g).map(Number);
    const linear = value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
    const light = color => {
        const [r, g, b] = numbers(color).map(value => linear(value / 255));
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const behind = element => {
        const color = getComputedStyle(element).backgroundColor;
        return numbers(color)[3] === 0 ? behind(element.parentElement) : color;
    };
    const poor = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || element.matches("script, noscript, noscript *")) {
            continue;
        }
        const [a, b] = [getComputedStyle(element).color, behind(element)].map(light);
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < 4.5) {
            poor.push(`${texts.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
        }
    }
    return poor;
"""


@one_server
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(pages: Callable[[], Iterator[Window]], scheme: str) -> None:
    for window in pages():
        window.emulate_media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        background = window.script("return getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", background)[0]) < 128) == (scheme == "dark")
        assert window.script(POOR_CONTRAST) == []


@one_server
def test_whatever_can_be_used_has_a_name(pages: Callable[[], Iterator[Window]]) -> None:
    for window in pages():
        usable = window.driver.find_elements(
            "css selector", "a, button, select, input:not([type=hidden]), [tabindex='0']"
        )
        assert len(usable) >= 10
        assert [each.get_attribute("outerHTML") for each in usable if not each.accessible_name] == []


ROLES = {"nav": "navigation", "#billboard": "log", "#state": "status", "#problem": "alert", "pre": "region"}


@one_server
def test_roles(pages: Callable[[], Iterator[Window]]) -> None:
    for window in pages():
        window.script("document.querySelector('#problem').textContent = 'shown'")
        roles = {selector: window.driver.find_element("css selector", selector).aria_role for selector in ROLES}
        assert roles == ROLES
        assert window.texts("[aria-current=page]") == [window.texts("h1")[0].removesuffix(" chat")]


FOCUSED = "const each = document.activeElement; return each.id || each.textContent.trim()"


@one_server
def test_by_keyboard_alone(log_in: Callable[..., Window]) -> None:
    from selenium.webdriver import ActionChains, Keys

    window = log_in("john", "userchat")
    window.script("document.querySelector('.skip').focus()")
    reached = []
    for _ in range(9):
        ActionChains(window.driver).send_keys(Keys.TAB).perform()
        reached.append(window.script(FOCUSED))
        assert window.script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == [
        "ws4redis",
        "Broadcast",
        "User",
        "Group",
        "logout",
        "billboard",
        "recipient",
        "text_message",
        "send_message",
    ]


@one_server
def test_motion_can_be_switched_off(pages: Callable[[], Iterator[Window]]) -> None:
    animation = "return getComputedStyle(document.querySelector('#billboard p')).animationName"
    for window in pages():
        seen = {}
        for wish in ("no-preference", "reduce"):
            window.emulate_media(prefers_reduced_motion=wish)
            seen[wish] = window.script(animation)
        assert seen == {"no-preference": "arrive", "reduce": "none"}
