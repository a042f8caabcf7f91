"""The stress tests' machinery: everything that is sent is counted, and what is not is noticed. No times."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from argparse import Namespace
from pathlib import Path

import pytest

from tests.servers import ROOT, wait_for

sys.path.insert(0, str(ROOT / "stress-tests"))

from fanout import bars, command, floor, streams, wire
from fanout.arrivals import Answers, Arrivals, Script, Several, faults
from fanout.picture import picture
from fanout.progress import Progress
from fanout.results import CPU_EACH, MEMORY, Measured, Row, as_json, from_json, markdown, number, table
from fanout.scenarios import SCENARIOS, Refused
from fanout.streams import AUDIENCES, BROADCAST, USER, Post

FANOUT = [sys.executable, str(ROOT / "stress-tests" / "fanout")]
WITH_FLOOR = floor.why_not() is None


def frames(*numbers: int, stream: str = "") -> bytes:
    return b"".join(wire.frame(wire.message(number, stream)) for number in numbers)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def unmasked(frame: bytes) -> bytes:
    """The frame of a browser as a server would send it."""
    mask, payload = frame[2:6], frame[6:]
    return bytes((frame[0], frame[1] & 0x7F)) + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def counts(arrivals: Arrivals, *chunks: bytes) -> tuple[int, int, int]:
    for chunk in chunks:
        arrivals.feed(chunk)
    return arrivals.received, arrivals.lost, arrivals.unexpected


class Socket(Script):
    """Expects five messages, and remembers its pongs."""

    def __init__(self, *chunks: bytes) -> None:
        self.sent: list[bytes] = []
        super().__init__(wire.script(5), self.sent.append)
        self.counts = counts(self, *chunks)


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
        assert list(map(unmasked, socket.sent)) == [b"\x8a\x06there?"]

    def test_of_another_stream(self, size: int) -> None:
        data = frames(0, 1, stream="user1") + frames(1, stream="user2") + frames(2, stream="user1")
        socket = Script(wire.script(3, "user1"), print, "user1")
        assert counts(socket, *cut(data, size)) == (3, 0, 1)

    def test_several_streams_in_any_order(self, size: int) -> None:
        data = frames(0, stream="user1") + frames(0, 1) + frames(1, 2, stream="user1") + frames(2)
        socket = Several(["", "user1"], 3, print)
        assert counts(socket, *cut(data, size)) == (6, 0, 0)
        assert socket.place == socket.end

    def test_several_streams_with_faults(self, size: int) -> None:
        data = frames(0, 2, 1) + frames(0, 0, stream="user1") + frames(0, stream="user2") + wire.frame(b"what?")
        assert counts(Several(["", "user1"], 3, print), *cut(data, size)) == (3, 1, 4)

    def test_answers(self, size: int) -> None:
        data = wire.frame(b"beat") * 2 + wire.frame(b"beast") + wire.frame(b"beat") * 2
        assert counts(Answers(b"beat", 3, print), *cut(data, size)) == (3, 0, 2)


class TestFaults:
    def test_all_arrived(self) -> None:
        assert faults(3, [500, 500, 0], [500, 500, 0], 0, 0) == []

    def test_one_message_lost_at_one_socket(self) -> None:
        found = faults(3, [500] * 3, [500, 499, 500], 0, 0)
        assert found == ["1 sockets have not got all messages, the worst 499 of 500"]

    def test_the_sum_alone_does_not_decide(self) -> None:
        assert faults(2, [500, 500], [501, 499], 0, 0)

    def test_sockets_that_are_gone(self) -> None:
        found = faults(3, [500, 500], [500, 500], 0, 1)
        assert found == ["2 sockets are open instead of 3", "1 sockets were closed by the server"]

    def test_messages_twice(self) -> None:
        assert faults(1, [500], [500], 2, 0) == ["2 messages came twice, too late or from elsewhere"]


class TestStreams:
    def test_each_socket_hears_its_own(self) -> None:
        heard = streams.heard(AUDIENCES, 12)
        assert heard[11] == ["broadcast", "group1", "user11", "session11"]
        assert [streams.split(each) for each in heard[11]] == [
            ("broadcast", 0),
            ("group", 1),
            ("user", 11),
            ("session", 11),
        ]

    def test_each_stream_gets_each_message_once(self) -> None:
        posts = list(streams.posts([BROADCAST, USER], 2, 2))
        assert posts == [Post(each, number) for number in (0, 1) for each in ("broadcast", "user0", "user1")]


def measured(
    received: int = 10, cpu_seconds: float = 1.0, faults: tuple[str, ...] = (), memory_bytes: int = 500
) -> Measured:
    return Measured(
        sockets=5,
        messages=2,
        expected=10,
        received=received,
        cpu_seconds=cpu_seconds,
        seconds=2.0,
        memory_bytes=memory_bytes,
        faults=list(faults),
    )


def paced(ours: list[Measured], scenario: str = "paced", **others: list[Measured]) -> Row:
    return Row(scenario, CPU_EACH, {**others, "ws4redis": ours})


class TestResults:
    def test_the_ratio_is_that_of_neighbours(self) -> None:
        cpu = [(1, 1), (30, 10), (4, 2)]
        row = paced([measured(cpu_seconds=ours) for ours, _ in cpu], floor=[measured(cpu_seconds=f) for _, f in cpu])
        assert row.ratio_to("floor") == 2
        assert row.figure_of("floor") == 200_000

    def test_nobody_else(self) -> None:
        row = Row("idle", MEMORY, {"ws4redis": [measured()]})
        assert row.ratio_to("floor") is None
        assert table([row]).splitlines()[1].split()[-4:] == ["0%", "100", "bytes", "-"]

    def test_a_message_lost_in_any_round_is_a_complaint(self) -> None:
        row = paced([measured(), measured(received=9, faults=("one socket is short",))], floor=[measured()] * 2)
        assert row.complaints == [
            "paced on ws4redis, round 2: 9 of 10 arrived",
            "paced on ws4redis, round 2: one socket is short",
        ]
        assert "paced" in table([row])

    def test_a_message_lost_on_the_floor_is_a_complaint(self) -> None:
        assert paced([measured()], floor=[measured(received=9)]).complaints == [
            "paced on floor, round 1: 9 of 10 arrived"
        ]

    def test_json_there_and_back(self) -> None:
        row = paced([measured()], floor=[measured(cpu_seconds=0.5)])
        figures = json.loads(json.dumps(as_json([row], {"ws4redis": "1"}, [])))
        assert figures["scenarios"]["paced"]["ratios"] == {"floor": 2}
        assert from_json(figures, {"paced": CPU_EACH}) == {"paced": row}

    def test_markdown(self) -> None:
        lines = markdown([paced([measured()], nchan=[measured(cpu_seconds=2)])], {"paced": "slowly"}).splitlines()
        assert lines == [
            "| Scenario | What happens | Unit | ws4redis | nchan |",
            "| --- | --- | --- | --: | --: |",
            "| `paced` | slowly | µs CPU | 100,000 | 200,000 |",
        ]

    @pytest.mark.parametrize(
        ("value", "shown"),
        [(None, "-"), (math.nan, "-"), (0.0344, "0.0344"), (6.361, "6.36"), (99.96, "100"), (2482.4, "2,482")],
    )
    def test_numbers(self, value: float | None, shown: str) -> None:
        assert number(value) == shown


class TestBars:
    def test_every_bar_is_of_a_scenario_in_which_both_take_part(self) -> None:
        for bar in bars.BARS:
            others = {"ws4redis": None, **SCENARIOS[bar.other_scenario or bar.scenario].others}
            assert bar.scenario in SCENARIOS
            assert bar.other is None or bar.other in others

    def test_met_and_missed(self) -> None:
        row = paced([measured(cpu_seconds=1.1)], floor=[measured()], nchan=[measured()])
        judged = bars.judged({"paced": row})
        assert [(each["of"], each["met"]) for each in judged] == [("floor", True), ("nchan", False)]
        assert bars.lines(judged)[1:] == [
            ["paced", "floor", "1.2", "1.1", "met"],
            ["paced", "nchan", "0.85", "1.1", "missed"],
        ]

    def test_of_another_scenario(self) -> None:
        few, many = paced([measured()], "churn-100"), paced([measured(cpu_seconds=1.4)], "churn-10000")
        [judged] = bars.judged({"churn-100": few, "churn-10000": many})
        assert judged["of"] == "ws4redis in churn-100"
        assert judged["measured"] == pytest.approx(1.4)

    def test_growth(self) -> None:
        few = paced([measured()], "few", floor=[measured()])
        many = paced([measured(cpu_seconds=3)], "many", floor=[measured(cpu_seconds=2)])
        judged = {each["of"]: each["measured"] for each in bars.judged({"few": few, "many": many})}
        assert judged == {"floor": pytest.approx(1.5), "floor, growing since few": pytest.approx(1.5)}
        assert bars.judged({"few": few}) == []

    def test_in_bytes(self) -> None:
        row = Row("idle", MEMORY, {"ws4redis": [measured(memory_bytes=5 * 3073)]})
        [judged] = bars.judged({"idle": row})
        assert (judged["of"], judged["measured"], judged["met"]) == ("bytes", 3073, False)


def test_the_picture_has_all_figures() -> None:
    rows = [
        paced([measured()], nchan=[measured(cpu_seconds=2)], floor=[measured(cpu_seconds=0.001)]),
        Row("idle", MEMORY, {"ws4redis": [measured()]}),
    ]
    root = ElementTree.fromstring(picture(rows, {"paced": "slowly", "idle": "nothing & nobody"}))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"paced", "slowly", "nchan", "2 x", "0.001 x", "ws4redis: 100 bytes", "nothing & nobody"} <= set(texts)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    for each in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y = float(each.get("x", 0)), float(each.get("y", 0))
        assert x >= 0 and x + float(each.get("width", 0)) <= width
        assert y >= 0 and y + float(each.get("height", 0)) <= height


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(2)
    progress.begin("paced on floor")
    progress.begin("paced on ws4redis")
    progress.end()
    first, second = capsys.readouterr().err.splitlines()
    assert first == "1/2 paced on floor"
    assert re.fullmatch(r"2/2 paced on ws4redis, \d+ s left", second)


def options(**given: object) -> Namespace:
    return Namespace(**{"quick": True, "json": None, "picture": None, "docs": False, **given})


def test_the_exit_code_tells_a_lost_message(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = paced([measured()], floor=[measured()]), paced([measured(received=9)])
    assert command.report({"paced": good}, {}, options()) == 0
    assert command.report({"paced": bad}, {}, options()) == 1
    assert capsys.readouterr().err == "fanout: paced on ws4redis, round 1: 9 of 10 arrived\n"


def test_an_earlier_run_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, image = tmp_path / "figures.json", tmp_path / "figures.svg"
    row = paced([measured()], floor=[measured()])
    kept.write_text(json.dumps(as_json([row], {"floor": "cc 1"}, [])))
    assert command.main(["--redraw", str(kept), "--picture", str(image)]) == 0
    said = capsys.readouterr().out
    assert "floor: cc 1" in said and re.search(r"^paced +floor +1\.2 +1 +met$", said, re.MULTILINE)
    assert image.read_text().startswith("<svg ")


def test_the_page_shows_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is beside ``docs/topics/performance.md``, nothing is written by hand."""
    monkeypatch.setattr(command, "DOCS", tmp_path)
    topics = ROOT / "docs" / "topics"
    assert command.main(["--redraw", str(topics / "performance.json"), "--docs"]) == 0
    page = (topics / "performance.md").read_text()
    for path in tmp_path.iterdir():
        assert path.read_text() == (topics / path.name).read_text()
        assert path.name in page or path.suffix == ".json"
    assert len(list(tmp_path.iterdir())) == 5


def test_a_failure_in_the_middle_does_not_lose_what_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [measured()]

    def measure(*_: object) -> Measured:
        if not results:
            raise Refused("ws4redis opened 1 of 2 sockets")
        return results.pop()

    monkeypatch.setattr(command, "_measure", measure)
    monkeypatch.setattr(command, "_line_up", lambda peers: ["ws4redis"])
    monkeypatch.setattr(command, "_stop_on_signals", lambda seconds: None)
    monkeypatch.setattr(command, "_end_leftovers", lambda: None)
    assert command.main(["--scenario", "connect", "--repeat", "2"]) == 1
    said = capsys.readouterr()
    assert "opened 1 of 2" in said.err
    assert re.search(r"^connect +ws4redis ", said.out, re.MULTILINE)


def test_without_a_compiler_the_floor_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(floor, "compiler", lambda: None)
    assert command._line_up(peers=False) == ["ws4redis"]
    assert "there is no C compiler" in capsys.readouterr().err


#: deliveries, connects or messages of browsers, with --quick
QUICK = {
    "paced": 5000,
    "paced-send": 5000,
    "burst": 5000,
    "few": 1000,
    "many": 2000,
    "unicast": 500,
    "unicast-singly": 200,
    "mixed": 2000,
    "connect": 100,
    "connect-session": 100,
    "churn-100": 50,
    "churn-10000": 50,
    "heartbeats": 500,
    "published": 200,
    "idle": 100,
    "idle-1000": 50,
    "idle-session": 100,
    "idle-heartbeat": 100,
    "latency": 5000,
}


@pytest.mark.contract("14 manual: 17 what is published after many have subscribed reaches all")
def test_quick(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = subprocess.run([*FANOUT, "--quick", "--json", str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())["scenarios"]
    assert list(figures) == list(SCENARIOS) == list(QUICK)
    for name, each in figures.items():
        for subject, (once,) in each["rounds"].items():
            assert (once["expected"], once["received"]) == (QUICK[name], QUICK[name]), f"{name} on {subject}"
        assert each["complaints"] == []
        assert set(each["figures"]) == {"ws4redis"} | (
            {"floor"} if WITH_FLOOR and "floor" in SCENARIOS[name].others else set()
        )
    assert figures["latency"]["rounds"]["ws4redis"][0]["milliseconds"]["p99"] > 0
    assert figures["idle"]["rounds"]["ws4redis"][0]["memory_bytes"] > 0


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


# script, how much it measures
SCRIPTS = [("publisher", ["--messages", "5"]), ("lookup", ["--visitors", "5"])]


@pytest.mark.parametrize(("script", "little"), SCRIPTS)
def test_scripts_that_print_a_ratio(script: str, little: list[str]) -> None:
    command = [sys.executable, str(ROOT / "stress-tests" / f"{script}.py"), *little, "--repeat", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"(?m)^ratio +\d+\.\d\d$", done.stdout)


def test_what_compression_saves() -> None:
    """The bytes, which are no matter of the machine."""
    script = str(ROOT / "stress-tests" / "deflate.py")
    little = ["--sockets", "5", "--messages", "5", "--repeat", "1"]
    done = subprocess.run([sys.executable, script, *little], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ratios = re.findall(r"(?m)^(\w+).* (\d+) bytes  +(off|on|with contexts) .* bytes \((\d\.\d\d) x\)$", done.stdout)
    assert len(ratios) == 18, done.stdout
    for what, size, setting, ratio in ratios:
        # browsers that may compress, do; the server does not for so little
        compressed = setting != "off" and (what == "browser" or int(size) > 512)
        assert (float(ratio) < 0.5) == compressed, (what, size, setting, ratio)
