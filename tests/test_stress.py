"""The stress tests' machinery: everything that is sent is counted, and what is not is noticed. No times."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT, wait_for

sys.path.insert(0, str(ROOT / "stress-tests"))

from fanout import wire
from fanout.arrivals import Arrivals, faults
from fanout.results import Measured, Row, as_json, table

FANOUT = [sys.executable, str(ROOT / "stress-tests" / "fanout")]


def frames(*numbers: int) -> bytes:
    return b"".join(wire.frame(wire.message(number)) for number in numbers)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


class Socket(Arrivals):
    """Expects five messages, and remembers its pongs."""

    def __init__(self, *chunks: bytes) -> None:
        self.sent: list[bytes] = []
        super().__init__(wire.script(5), self.sent.append)
        for chunk in chunks:
            self.feed(chunk)

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.received, self.lost, self.unexpected


@pytest.mark.parametrize("size", [1, 2, 3, 50, wire.FRAME_BYTES, wire.FRAME_BYTES + 1, 10_000])
class TestArrivals:
    def test_all_in_order(self, size: int) -> None:
        assert Socket(*cut(frames(0, 1, 2, 3, 4), size)).counts == (5, 0, 0)

    def test_one_lost(self, size: int) -> None:
        assert Socket(*cut(frames(0, 1, 3, 4), size)).counts == (4, 1, 0)

    def test_the_first_and_the_last_lost(self, size: int) -> None:
        assert Socket(*cut(frames(1, 2, 3), size)).counts == (3, 1, 0)

    def test_one_twice(self, size: int) -> None:
        assert Socket(*cut(frames(0, 1, 1, 2, 3, 4), size)).counts == (5, 0, 1)

    def test_the_last_twice(self, size: int) -> None:
        assert Socket(*cut(frames(0, 1, 2, 3, 4, 4), size)).counts == (5, 0, 1)

    def test_out_of_order(self, size: int) -> None:
        assert Socket(*cut(frames(0, 2, 1, 3, 4), size)).counts == (4, 1, 1)

    @pytest.mark.parametrize("other", [b"", b"hello", wire.message(3)[:-1], wire.message(5), b"x" * 100])
    def test_something_else(self, size: int, other: bytes) -> None:
        data = frames(0, 1) + wire.frame(other) + frames(2, 3, 4)
        assert Socket(*cut(data, size)).counts == (5, 0, 1)

    def test_long_frames_of_something_else(self, size: int) -> None:
        long = b"\x81\x7e\x01\x00" + b"x" * 256
        longer = b"\x81\x7f\x00\x00\x00\x00\x00\x01\x11\x70" + b"x" * 70_000
        assert Socket(*cut(frames(0) + long + frames(1), size)).counts == (2, 0, 1)
        if size > 1000:
            assert Socket(*cut(frames(0) + longer + frames(1), size)).counts == (2, 0, 1)

    def test_pings_are_answered_and_not_counted(self, size: int) -> None:
        data = frames(0, 1) + wire.frame(b"there?", opcode=9) + frames(2, 3, 4)
        socket = Socket(*cut(data, size))
        assert socket.counts == (5, 0, 0)
        assert socket.sent == [b"\x8a\x86\0\0\0\0there?"]


class TestFaults:
    def test_all_arrived(self) -> None:
        assert faults(3, 500, [500, 500, 500]) == []

    def test_one_message_lost_at_one_socket(self) -> None:
        assert faults(3, 500, [500, 499, 500]) == ["1 sockets have not got all 500 messages, the worst 499"]

    def test_the_sum_alone_does_not_decide(self) -> None:
        assert faults(2, 500, [501, 499])

    def test_sockets_that_are_gone(self) -> None:
        found = faults(3, 500, [500, 500], ended=1)
        assert found == ["2 sockets are open instead of 3", "1 sockets were closed by the server"]

    def test_messages_twice(self) -> None:
        assert faults(1, 500, [500], unexpected=2) == ["2 messages came twice, too late or from elsewhere"]


def measured(received: int = 10, cpu_seconds: float = 1.0, faults: tuple[str, ...] = ()) -> Measured:
    return Measured(
        sockets=5,
        messages=2,
        expected=10,
        received=received,
        cpu_seconds=cpu_seconds,
        seconds=2.0,
        memory_bytes=500,
        faults=list(faults),
    )


class TestResults:
    def test_the_ratio_is_that_of_neighbours(self) -> None:
        cpu = [(1, 1), (30, 10), (4, 2)]
        row = Row("paced", [measured(cpu_seconds=ours) for ours, _ in cpu], [measured(cpu_seconds=f) for _, f in cpu])
        assert row.ratio_to_floor == 2
        assert row.floor_microseconds_each == 200_000

    def test_no_floor(self) -> None:
        row = Row("idle", [measured()])
        assert row.ratio_to_floor is None
        assert row.bytes_per_socket == 100
        assert table([row]).splitlines()[1].split()[-3:] == ["-", "100", "0%"]

    def test_a_message_lost_in_any_round_is_a_complaint(self) -> None:
        row = Row("paced", [measured(), measured(received=9, faults=("one socket is short",))], [measured()] * 2)
        assert row.complaints == [
            "paced on ws4redis, round 2: 9 of 10 arrived",
            "paced on ws4redis, round 2: one socket is short",
        ]
        assert "paced" in table([row])
        json.dumps(as_json([row]))

    def test_a_message_lost_on_the_floor_is_a_complaint(self) -> None:
        row = Row("paced", [measured()], [measured(received=9)])
        assert row.complaints == ["paced on floor, round 1: 9 of 10 arrived"]


def test_the_exit_code_tells_a_lost_message(capsys: pytest.CaptureFixture[str]) -> None:
    from fanout.command import report

    assert report([Row("paced", [measured()], [measured()])], None) == 0
    assert report([Row("paced", [measured(received=9)], [measured()])], None) == 1
    assert capsys.readouterr().err == "fanout: paced on ws4redis, round 1: 9 of 10 arrived\n"


def test_quick(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = subprocess.run([*FANOUT, "--quick", "--json", str(path)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["scenario", "paced", "burst", "connect", "idle"]
    figures = json.loads(path.read_text())["scenarios"]
    counts = {name: (each["rounds"][0]["expected"], each["rounds"][0]["received"]) for name, each in figures.items()}
    assert counts == {"paced": (5000, 5000), "burst": (5000, 5000), "connect": (100, 100), "idle": (100, 100)}
    assert figures["paced"]["floors"][0]["received"] == 5000
    assert all(each["complaints"] == [] for each in figures.values())


def children(pid: int) -> list[int]:
    try:
        found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has just ended
        return []
    return found + [grandchild for child in found for grandchild in children(child)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(number: int) -> None:
    command = [*FANOUT, "--scenario", "paced", "--sockets", "10", "--messages", "150"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:

        def publishing() -> list[int]:
            started = children(process.pid)
            commands = " ".join(map(command_of, started))
            return started if "crowd_program" in commands and "uwsgi" in commands else []

        started = wait_for(publishing, "all processes run", timeout=60)
        assert len(started) >= 4
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert "Traceback" not in errors
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), "all processes have ended")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--sockets", "100001"], 2, "100001 is not between 1 and 100000"),
        (["--quick", "--time-limit", "1"], 130, "the time is up"),
    ],
)
def test_bounds(arguments: list[str], code: int, said: str) -> None:
    done = subprocess.run([*FANOUT, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert said in done.stderr


def test_too_few_descriptors_are_noticed_first() -> None:
    limited = ["sh", "-c", 'ulimit -n 800 && exec "$@"', "sh", *FANOUT, "--sockets", "1000"]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "1600 open files are needed, but the limit of this shell is 800" in done.stderr
