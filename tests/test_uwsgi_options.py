"""What uWSGI is told must fit: refused by name at start, or warned of with the line to add."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from websocket import WebSocketBadStatusException

from tests.browsers import log_in
from tests.servers import ROOT, UWSGI, Valkey, wait_for
from ws4redis.uwsgi.options import check_options

GOOD: dict[str, Any] = {
    "gevent": b"100",
    "http-socket": b":80",
    "buffer-size": b"32768",
    "binary-path": b"/v/bin/python",
}

# what is added (None: left out), facts, words of the errors, words of the warnings
VERDICTS: list[tuple[dict[str, Any], dict[str, bool], str, str]] = [
    ({}, {}, "", ""),
    ({"gevent": None}, {}, "gevent = 100", ""),
    ({"gevent": None, "loop": b"gevent", "async": b"10"}, {}, "write gevent = 10 in place of loop and async", ""),
    ({"gevent": None, "loop": b"gevent"}, {}, "write gevent = 100 in place of loop and async", ""),
    ({"gevent": None, "loop": b"asyncio", "async": b"10"}, {}, "'gevent' is missing: add gevent = 100", ""),
    ({"https-socket": b":443,a,b"}, {}, "'https-socket'", ""),
    ({"http11-socket": b":80"}, {}, "'http11-socket'", ""),
    ({"fastcgi-socket": b":80"}, {}, "'fastcgi-socket'", ""),
    ({"scgi-socket": b":80"}, {}, "'scgi-socket'", ""),
    ({"puwsgi-socket": b":80"}, {}, "'puwsgi-socket'", ""),
    ({"suwsgi-socket": b":80"}, {}, "'suwsgi-socket'", ""),
    ({"cheaper": b"1"}, {}, "'cheaper'", ""),
    ({"idle": b"60"}, {}, "'idle'", ""),
    ({"gevent-wait-for-hub": True}, {}, "'gevent-wait-for-hub'", ""),
    ({"http": b":80"}, {}, "use http-socket", ""),
    ({"http": b":80", "http-websockets": True}, {}, "", "use http-socket"),
    ({}, {"patched_late": True}, "", "gevent-early-monkey-patch = true"),
    ({"binary-path": None}, {"python_in_venv": True}, "", "binary-path = $(VIRTUAL_ENV)/bin/python"),
    ({"binary-path": None}, {"python_in_venv": False}, "", ""),
    ({"buffer-size": None}, {}, "", "buffer-size = 32768"),
    ({"buffer-size": b"4096"}, {}, "", "buffer-size = 32768"),
    ({"buffer-size": b"65536"}, {}, "", ""),
    ({"max-requests": b"5000"}, {}, "", "use max-worker-lifetime"),
]


@pytest.mark.parametrize(("changes", "facts", "error", "warning"), VERDICTS)
def test_verdicts(changes: dict[str, Any], facts: dict[str, bool], error: str, warning: str) -> None:
    options = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    report = check_options(options, **{"patched_late": False, "python_in_venv": False, **facts})
    assert len(report.errors) == bool(error) and len(report.warnings) == bool(warning), report
    assert error in "".join(report.errors)
    assert warning in "".join(report.warnings)


@pytest.mark.contract(
    "9.1 answers: decided: what uWSGI makes impossible is a 503 that the log explains",
    "asks deployment: #54, #124, #247: no Sec-WebSocket-Key, or an upgrade that uWSGI cannot make",
)
def test_what_cannot_work_is_refused_by_name(redis_server: Valkey, database: Path) -> None:
    with UWSGI(redis_server.url, {"cheaper": 1, "workers": 2}, DATABASE=str(database)) as site:
        with pytest.raises(WebSocketBadStatusException) as refused:
            site.connect()
        assert refused.value.status_code == 503
        assert "CRITICAL uWSGI cannot serve websockets with these options: 'cheaper'" in site.log()
        assert log_in(site, "john"), "pages work"


@pytest.mark.contract("8.5 uWSGI: decided: whatever gevent has not patched by then is patched")
def test_one_warning_per_worker_names_the_lines_to_add(redis_server: Valkey) -> None:
    options = {"buffer-size": None, "gevent-early-monkey-patch": False, "binary-path": None, "workers": 2}
    with UWSGI(redis_server.url, options) as site:
        site.connect()
        wait_for(lambda: site.log().count("uWSGI's options should be changed") == 2, "a warning from each worker")
        [line] = {line for line in site.log().splitlines() if "should be changed" in line}
        assert "buffer-size = 32768" in line
        assert "gevent-early-monkey-patch = true" in line
        assert ("binary-path =" in line) == (UWSGI.program == UWSGI.wheel)


def test_a_good_set_of_options_is_quiet(redis_server: Valkey) -> None:
    with UWSGI(redis_server.url, LOG_LEVEL="INFO") as site:
        site.connect()
        assert "should be changed" not in site.log()
        assert "worker 1 has room for" in site.log()


# options in place of gevent, what the log says
NO_GEVENT: list[tuple[dict[str, Any], str]] = [
    ({}, "add gevent = 100"),
    ({"loop": "gevent", "async": 10}, "write gevent = 10 in place of loop and async"),
    ({"loop": "gevent", "async": 10, "enable-threads": True}, "write gevent = 10 in place of loop and async"),
    (
        {"loop": "gevent", "async": 10, "gevent-early-monkey-patch": True},
        "write gevent = 10 in place of loop and async",
    ),
]


@pytest.mark.contract(
    "asks delivery: #249: of two tabs one receives messages",
    "asks scale: #166, #110: only as many websockets as workers, or as --gevent says",
)
@pytest.mark.parametrize(("options", "words"), NO_GEVENT)
def test_without_gevent(redis_server: Valkey, options: dict[str, Any], words: str) -> None:
    with UWSGI(redis_server.url, {"gevent": None, "gevent-early-monkey-patch": False, **options}) as site:
        with pytest.raises(WebSocketBadStatusException) as refused:
            site.connect()
        assert refused.value.status_code == 503
        assert words in site.log()
        assert "add gevent = 100" not in site.log() or not options


@pytest.mark.contract("2 package: decided: Django is set up where nobody has done it")
def test_wrong_settings_are_told_at_start(redis_server: Valkey) -> None:
    with UWSGI(redis_server.url, WS4REDIS_EXPIRE='"1h"') as site:
        words = "WS4REDIS_EXPIRE is '1h'. It must be a number of seconds, 0 or None."
        wait_for(lambda: words in site.log(), words)


class Emperor(UWSGI):
    """Starts the same options as a vassal."""

    vassals: Path

    def command(self) -> list[str]:
        lines = ["[uwsgi]", f"http-socket = 127.0.0.1:{self.port}", f"virtualenv = {sys.prefix}", f"chdir = {ROOT}"]
        lines += [
            f"{name} = {'true' if value is True else value}"
            for name, value in self.options.items()
            if value is not None
        ]
        (self.vassals / "site.ini").write_text("\n".join([*lines, "die-on-term = true", "no-orphans = true", ""]))
        return [self.program, "--emperor", str(self.vassals), "--emperor-wrapper", self.program]

    def answers(self) -> bool:
        return super().answers() and "running gevent loop engine" in self.log()


@pytest.mark.contract("asks scale: #72: under uWSGI's emperor")
def test_an_ini_is_a_vassal(redis_server: Valkey, tmp_path: Path) -> None:
    emperor = Emperor(redis_server.url)
    emperor.vassals = tmp_path
    with emperor:
        browser = emperor.connect("/ws/vassal?subscribe-broadcast")
        assert redis_server.client().publish("broadcast:vassal", "hi") == 1
        assert browser.recv() == "hi"
