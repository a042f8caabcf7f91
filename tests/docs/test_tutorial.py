"""The tutorial, step by step, as somebody types it; and pages that listen, on its site."""

from __future__ import annotations

import http.cookiejar
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
import websocket

from tests.docs.pages import HOWTO, SAMPLES, TUTORIAL, included, runs
from tests.servers import ROOT, UWSGI, Server, wait_for

if TYPE_CHECKING:
    from tests.chromium import Window

    OpenWindow = Callable[..., Window]

REDIS_URL, ADDRESS = "redis://localhost:6379/0", "127.0.0.1:8000"


class TutorialRedis(Server):
    """``redis.sh``, on a free port."""

    def command(self) -> list[str]:
        line = (SAMPLES / "tutorial/redis.sh").read_text().replace("6379", str(self.port))
        return ["sh", "-c", f"exec {line}"]

    def environment(self) -> dict[str, str]:
        return typed_in_venv()

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)


class TutorialSite(UWSGI):
    """A project made by the steps of the tutorial; on free ports, which is all that differs."""

    def __init__(self, project: Path, redis_port: int) -> None:
        super().__init__("")
        self.project = project
        self.replacements = {
            REDIS_URL: REDIS_URL.replace("6379", str(redis_port)),
            ADDRESS: ADDRESS.replace("8000", str(self.port)),
        }
        self.replaced = 0

    def environment(self) -> dict[str, str]:
        return typed_in_venv()

    def command(self) -> list[str]:
        line = (SAMPLES / "tutorial/run.sh").read_text()
        return ["sh", "-c", f"cd {shlex.quote(str(self.project))} && exec {line}"]

    def prepare(self) -> None:
        """Do what the page says, up to ``run.sh``."""
        for path in included(TUTORIAL):
            if path.name == "run.sh":
                return
            self.do(path)

    def do(self, path: Path) -> None:
        target = self.project / path.relative_to(SAMPLES / "tutorial")
        if path.name in ("install.sh", "redis.sh"):
            pass
        elif path.suffix == ".sh":
            self.run(path.read_text())
        elif path.suffix == ".addition":
            with target.with_suffix("").open("a") as file:
                file.write(self.adapt(path.read_text()))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self.adapt(path.read_text()))

    def adapt(self, text: str) -> str:
        for old, new in self.replacements.items():
            self.replaced += text.count(old)
            text = text.replace(old, new)
        return text

    def run(self, script: str) -> str:
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=self.project,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def typed_in_venv() -> dict[str, str]:
    """The environment of somebody who has activated the virtual environment of these tests."""
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    programs = str(Path(sys.executable).parent)
    return {
        **inherited,
        "VIRTUAL_ENV": sys.prefix,
        "PATH": os.pathsep.join([programs, inherited.get("PATH", os.defpath)]),
        # ws4redis may be installed or not
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="module")
def tutorial_redis() -> Iterator[TutorialRedis]:
    with TutorialRedis() as server:
        yield server


@pytest.fixture(scope="module")
def tutorial(tutorial_redis: TutorialRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TutorialSite]:
    site = TutorialSite(tmp_path_factory.mktemp("tutorial"), tutorial_redis.port)
    site.prepare()
    assert site.replaced == 2
    with site:
        yield site


def publish_by_form(site: TutorialSite, message: str) -> int:
    """What a browser does when the button is pressed."""
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(cookies)
    page = browser.open(site.url(), timeout=30).read().decode()
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    form = urllib.parse.urlencode({"csrfmiddlewaretoken": token, "message": message})
    return browser.open(site.url("/publish/"), form.encode(), timeout=30).status


@pytest.mark.contract("14 manual: 5b module = a module, as in every ini that we show")
@runs(
    "tutorial/redis.sh",
    "tutorial/start.sh",
    "tutorial/mysite/settings.py.addition",
    "tutorial/migrate.sh",
    "tutorial/mysite/views.py",
    "tutorial/mysite/urls.py",
    "tutorial/mysite/templates/mysite/news.html",
    "tutorial/mysite/wsgi.py",
    "tutorial/uwsgi.ini",
    "tutorial/run.sh",
)
def test_the_tutorials_view_publishes(tutorial: TutorialSite) -> None:
    browser = tutorial.connect("/ws/news?subscribe-broadcast")
    assert publish_by_form(tutorial, "first") == 204
    assert browser.recv() == "first"
    newcomer = tutorial.connect("/ws/news?subscribe-broadcast")
    assert newcomer.recv() == "first"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_who_ends_the_tutorials_redis_leaves_nothing_behind(number: int) -> None:
    with TutorialRedis() as server:
        wait_for(lambda: server.client().ping(), "Redis")
        server.stop(number)
        try:
            with pytest.raises(redis.ConnectionError):
                server.client().ping()
        finally:
            with suppress(redis.ConnectionError):
                server.client().shutdown(nosave=True)


@pytest.mark.contract("5 RedisPublisher: it works in threads, forked workers and a shell")
@runs("tutorial/shell.sh")
def test_the_tutorials_shell_publishes(tutorial: TutorialSite) -> None:
    browser = tutorial.connect("/ws/news?subscribe-broadcast")
    assert tutorial.run((SAMPLES / "tutorial/shell.sh").read_text()).splitlines()[-1] == "1"
    wait_for(lambda: browser.recv() == "from the shell", "the message")


def test_the_tutorials_project_is_in_order(tutorial: TutorialSite) -> None:
    tutorial.run("python manage.py check --fail-level WARNING")
    assert "should be changed" not in tutorial.log()
    assert "Traceback" not in tutorial.log()


def test_the_tutorials_pages_work_in_runserver(tutorial: TutorialSite) -> None:
    get_application = "from django.core.servers.basehttp import get_internal_wsgi_application as get; get()"
    tutorial.run(f'python manage.py shell -c "{get_application}"')


def test_the_tutorial_in_two_windows(tutorial: TutorialSite, open_window: OpenWindow) -> None:
    windows = [open_window(tutorial.url()) for _ in range(2)]

    def publish(message: str) -> None:
        windows[0].find("[name=message]").clear()
        windows[0].type("[name=message]", message)
        windows[0].click("button")
        for window in windows:
            window.wait_until(lambda window=window: message in "".join(window.texts("#news")), message)

    publish("<b>to both</b>")
    windows[1].open(tutorial.url())
    windows[1].wait_for_text("#news", "<b>to both</b>\n")
    assert [line for line in windows[0].console() if "favicon" not in line] == []
    tutorial.stop()
    tutorial.start()
    publish("after the restart")


# -- pages that listen --


@runs("howto/listen.js")
def test_listen_without_our_script(tutorial: TutorialSite, open_window: OpenWindow) -> None:
    window = open_window(tutorial.url("/admin/login/"))
    window.script("document.body.innerHTML = '<pre id=news></pre>'")
    window.script(f"{(HOWTO / 'listen.js').read_text()}; window.socket = socket")
    window.wait_until(lambda: window.script("return socket.readyState") == 1, "the websocket")
    publish_by_form(tutorial, "plain")
    window.wait_until(lambda: "plain\n" in "".join(window.texts("#news")), "the message")


@runs("howto/state.js")
def test_a_shared_state(tutorial: TutorialSite, open_window: OpenWindow) -> None:
    uri = tutorial.url("/ws/state?subscribe-broadcast&publish-broadcast", "ws")
    listener = tutorial.connect("/ws/state?subscribe-broadcast")
    windows = [open_window(tutorial.url()) for _ in range(2)]
    for window in windows:
        # each page says what it hears, as one does that watches its state
        window.script(
            f"{(HOWTO / 'state.js').read_text()}; window.change = share(arguments[0], "
            "state => { window.shown = state; window.change(state) })",
            uri,
        )
    first, second = windows
    first.script("change({n: 1})")
    second.wait_until(lambda: second.script("return window.shown") == {"n": 1}, "the state")
    first.script("change({n: 1})")
    second.script("change({n: 2})")
    first.wait_until(lambda: first.script("return window.shown") == {"n": 2}, "the change")
    assert [listener.recv(), listener.recv()] == ['{"n":1}', '{"n":2}']
    listener.settimeout(0.5)
    with pytest.raises(websocket.WebSocketTimeoutException):
        listener.recv()
