from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.chromium import chromium, open_window  # noqa: F401
from tests.rings import make_ring  # noqa: F401
from tests.servers import DOORS, ROOT, Site, Valkey
from tests.wires import make_wire, narrow, wire  # noqa: F401

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")

# a busy machine is no failure
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

# in the background a shell lets the keyboard's signals be ignored, and who is started there inherits that
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


#: files that take longest, so they begin first: else one of them runs last, beside a core that has nothing to do
LONGEST_FIRST = (
    "test_recipes",
    "test_reload",
    "test_session_engines",
    "test_upgrade",
    "test_examples",
    "test_javascript",
    "test_stress",
    "test_soak",
    "test_redis_trouble",
    "test_site06",
    "test_one_message",
    "test_outage",
    "test_identities",
    "test_demo",
    "test_connections",
)


#: of these, tests that use no server of the module's may run beside each other
SPLIT = {"test_connections", "test_outage", "test_redis_trouble", "test_reload", "test_soak", "test_stress"}


def pytest_configure(config: pytest.Config) -> None:
    """pytest-xdist is not to begin with the files that have most tests."""
    config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests share its servers, so one worker runs them all; before pytest-xdist looks for the groups."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def _group(item: pytest.Item) -> str:
    stem = item.path.stem
    if stem in SPLIT and isinstance(item, pytest.Function):
        used = [definitions[-1] for definitions in item._fixtureinfo.name2fixturedefs.values()]
        if not any(each.scope == "module" and each.argname != "door" for each in used):
            return f"{stem}.{item.originalname}"
    return stem


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which files the time went to."""
    reports = [each for of_kind in terminalreporter.stats.values() for each in of_kind if hasattr(each, "duration")]
    seconds: Counter[str] = Counter()
    for report in reports:
        seconds[report.nodeid.partition("::")[0]] += report.duration
    if len(seconds) > 1:
        terminalreporter.section("slowest files")
        for name, taken in seconds.most_common(10):
            terminalreporter.write_line(f"{taken:6.0f} s  {name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where TESTS_NO_SKIPS is set, a skipped test has failed."""
    report = yield
    if report.skipped and os.environ.get("TESTS_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is not allowed here: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A Redis that the test may stop."""
    with Valkey() as server:
        yield server


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with the users john, mary (in chatusers) and admin."""
    path = tmp_path_factory.mktemp("database") / "site.sqlite3"
    subprocess.run(
        [sys.executable, "-m", "tests.site.make_database"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.site.settings", "DATABASE": str(path)},
        check=True,
    )
    return path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A key for localhost with its certificate in one file; the certificate alone is in another, named .crt."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {path} -out {path}.crt".split(),
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return str(path)


@pytest.fixture(scope="module", params=DOORS)
def door(request: pytest.FixtureRequest) -> type[Site]:
    """uWSGI or runserver: what uses it is run once with each."""
    return DOORS[request.param]


@pytest.fixture(scope="module")
def site(door: type[Site], redis_server: Valkey, database: Path) -> Iterator[Site]:
    """The test site, one process."""
    with door(redis_server.url, DATABASE=str(database)) as server:
        yield server


@pytest.fixture
def settings_of_redis(redis_server: Valkey) -> Iterator[None]:
    """In this process, too, ws4redis talks to the tests' Redis."""
    from ws4redis import settings

    settings.WS4REDIS_CONNECTION = redis_server.url
    yield
    del settings.WS4REDIS_CONNECTION


@pytest.fixture(autouse=True)
def close_browsers(request: pytest.FixtureRequest) -> Iterator[None]:
    site = request.getfixturevalue("site") if "site" in request.fixturenames else None
    yield
    if site is not None:
        site.close_browsers()
