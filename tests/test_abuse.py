"""The attacks' machinery: they reach what they attack, and a bar that is missed is told. No times."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.servers import ROOT, wait_for

sys.path.insert(0, str(ROOT / "stress-tests"))

import abuse
from abuse import Figure

ABUSE = [sys.executable, str(ROOT / "stress-tests" / "abuse.py")]


def test_one_attack_on_two_packages(tmp_path: Path) -> None:
    """Both are this one, so that nobody's figures are compared."""
    path = tmp_path / "figures.json"
    command = [*ABUSE, "--quick", "--only", "B5", "--against", str(ROOT), "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    head, title, *lines = done.stdout.splitlines()
    assert head.split() == ["before", "now", "bar"]
    assert title.startswith("B5 Many browsers publish")
    columns = json.loads(path.read_text())["B5"]
    assert list(columns) == ["before", "now"]
    for figures in columns.values():
        values = {each["what"]: each["value"] for each in figures}
        assert values["connections of the attacker"] == abuse.QUICK.publishers
        assert values["bytes that it sent"] > 10_000
        assert values["the view's answers that are no 204"] == 0
        assert values["the view's worst wait, ms"] >= values["the view's median wait, ms"] > 0
        assert all(line.strip().startswith(each["what"]) for line, each in zip(lines, figures, strict=True))


@pytest.mark.parametrize(("value", "code", "said"), [(10, 0, "met"), (10.1, 1, "MISSED")])
def test_a_missed_bar(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
    code: int,
    said: str,
) -> None:
    def attack(package: Path, size: abuse.Size) -> list[Figure]:
        """Nobody is attacked."""
        return [Figure("bytes that it sent", 5), Figure("what others lose", value if package == ROOT else 20, 10)]

    (tmp_path / "ws4redis").mkdir()
    (tmp_path / "ws4redis" / "__init__.py").touch()
    monkeypatch.setattr(abuse, "stop_on_signals", lambda: None)
    monkeypatch.setattr(abuse, "ATTACKS", {"B1": attack})
    assert abuse.main(["--against", str(tmp_path)]) == code
    *_, sent, lost = capsys.readouterr().out.splitlines()
    assert sent.split()[-2:] == ["5", "5"]
    assert lost.split()[-4:] == ["20", f"{value:.3g}", "10", said]


def test_no_package_is_noticed_first(tmp_path: Path) -> None:
    done = subprocess.run([*ABUSE, "--package", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"{tmp_path}/ws4redis" in done.stderr


def test_the_site_has_the_package_that_is_attacked(tmp_path: Path) -> None:
    """A figure must not be that of another package."""
    environment = {**os.environ, **abuse.environment(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run([sys.executable, "-c", "import abuse_site"], env=environment, capture_output=True, text=True)
    assert f"not the one in {tmp_path}" in done.stderr


@pytest.mark.parametrize(
    ("message", "size", "most"),
    [(abuse.LARGE, 1 << 20, 1100), (abuse.TINY, 16 << 10, 50), (abuse.HARD, 1 << 20, 10_000)],
    ids=["large", "tiny", "hard"],
)
def test_what_inflates(message: bytes, size: int, most: int) -> None:
    assert len(message) < most
    head = 6 if message[1] & 0x7F < 126 else 8
    assert message[0] == 0xC1 and message[head - 4 : head] == bytes(4)
    assert len(zlib.decompressobj(-15).decompress(message[head:] + b"\x00\x00\xff\xff")) == size


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(number: int) -> None:
    with subprocess.Popen([*ABUSE, "--only", "B2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        started = wait_for(lambda: whole_family(process.pid), "all processes run", timeout=60)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == b"" and b"Traceback" not in errors
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), "all processes have ended")


def whole_family(pid: int) -> list[int]:
    """Redis, uWSGI and its worker; nothing before all of them are there."""
    found = descendants(pid)
    return found if len(found) == 3 else []


def descendants(pid: int) -> list[int]:
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has just ended
        return []
    return children + [grandchild for child in children for grandchild in descendants(child)]
