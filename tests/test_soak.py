"""The soak's machinery notices what it should, and a minute of it shows that nothing of it happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import ROOT, wait_for

sys.path.insert(0, str(ROOT / "stress-tests"))

from soak.ledger import Account, Ledger, Membership
from soak.promises import Promises
from soak.schedule import REDIS_FAULTS, WORKER_FAULTS, schedule
from soak.site_log import SiteLog
from soak.troubles import Season

SOAK = [sys.executable, str(ROOT / "stress-tests" / "soak")]


class Story:
    """What happens to one channel and one websocket, told in words; the clock goes on by one with each."""

    def __init__(self, words: str) -> None:
        self.promises = Promises()
        self.ledger = Ledger(self.promises)
        self.channel = self.ledger.channel("group:group0:room0")
        self.membership = Membership(self.ledger, self.channel, "user0")
        self.account: Account | None = None
        for self.now, word in enumerate(words.split()):
            name, _, number = word.partition(":")
            getattr(self, name)(*([int(number)] if number else []))

    def published(self) -> None:
        self.channel.taken(self.channel.begin(self.now), self.now)

    def failed(self) -> None:
        self.channel.failed(self.channel.begin(self.now))

    def begun(self) -> None:
        self.channel.begin(self.now)

    def taken(self, number: int) -> None:
        self.channel.taken(number, self.now)

    def connected(self) -> None:
        self.account = self.ledger.open_account([], self.membership)[self.channel.name]

    def got(self, number: int) -> None:
        assert self.account is not None
        self.account.receive(number, "visitor 0")

    def change(self) -> int:
        """Redis has taken a change of the user's groups."""
        number = self.membership.changes.begin(self.now)
        self.membership.changes.taken(number, self.now)
        return number

    def banned(self) -> None:
        self.membership.leaving()
        self.membership.left(self.change())

    def ban_failed(self) -> None:
        self.membership.leaving()
        self.membership.changes.failed(self.membership.changes.begin(self.now))

    def let_in(self) -> None:
        self.membership.joining()
        self.membership.begins_stay()
        self.change()

    def let_in_at_once(self) -> None:
        self.membership.joining()
        self.change()

    def heard(self) -> None:
        """By all loops."""
        self.membership.joined()

    def confirmed(self) -> None:
        self.ledger.confirmed = self.now

    def fault(self) -> None:
        self.window = self.ledger.fault_of_redis("a fault")

    def back(self) -> None:
        self.ledger.all_subscribed(self.now)

    def closed(self) -> None:
        assert self.account is not None
        self.account.end(self.ledger.confirmed, "visitor 0")

    @property
    def broken(self) -> list[str]:
        return [name for name, promise in vars(self.promises).items() if promise.violations]


STORIES = {
    # all is well
    "connected published got:0 published got:1 confirmed closed": [],
    "published connected published got:1 confirmed closed": [],
    # what was kept, and what was published before it knew
    "published connected got:0 published got:1": [],
    "published published connected got:0 got:1 published got:2": [],
    "published published connected got:1 published got:2": [],
    "connected begun got:0 taken:0 confirmed closed": [],
    # twice
    "connected published got:0 got:0": ["once"],
    "published connected got:0 got:0": ["once"],
    "connected failed got:0 got:0": ["once"],
    "connected begun got:0 got:0 taken:0": ["once"],
    # out of order
    "connected published published published got:0 got:2 got:1": ["order", "none_missing"],
    "published published connected got:1 got:0": ["order"],
    # lost in between, and at the end
    "connected published published got:1": ["none_missing"],
    "connected published confirmed closed": ["none_missing"],
    "connected confirmed published closed": [],
    # near a fault of Redis
    "connected confirmed published fault published back published got:2": [],
    "connected published confirmed fault back published got:1": ["none_missing"],
    "connected confirmed fault published back confirmed closed": [],
    "connected confirmed fault back published published got:1": ["none_missing"],
    "connected confirmed fault back published confirmed closed": ["none_missing"],
    "connected confirmed fault back confirmed published confirmed fault back published got:1": ["none_missing"],
    "connected confirmed fault published got:0 got:0": ["once"],
    # whether Redis has taken it is not known
    "connected failed published got:1 got:0": [],
    "connected failed published got:1 confirmed closed": [],
    "connected failed published got:0 got:1": [],
    # never published
    "connected published got:1": ["genuine"],
    # after a ban, and before it
    "connected published got:0 banned published got:1": ["banned"],
    "connected published got:0 banned published published got:1 got:2": ["banned"],
    "connected published banned got:0 published confirmed closed": [],
    "connected published confirmed banned confirmed closed": ["none_missing"],
    "connected banned published let_in heard published got:1": [],
    "connected banned published published let_in heard got:0": ["banned"],
    "banned published connected got:0": ["banned"],
    # near a fault of Redis, or not taken
    "connected banned fault published got:0": [],
    "connected banned confirmed fault back published got:0": ["banned"],
    "connected ban_failed published got:0": [],
    "connected ban_failed published confirmed closed": [],
    # a stay begins with the last message, once
    "connected published got:0 banned let_in got:0 heard published got:1": [],
    "connected published got:0 banned let_in got:0 got:0": ["once"],
    "connected published got:0 banned published let_in got:1 got:1": ["once"],
    "connected published got:0 banned let_in published got:1 got:1": ["once"],
    "connected published got:0 banned let_in got:0 banned let_in got:0": [],
    "connected published got:0 banned let_in_at_once got:0": ["once"],
    # who is let in hears again
    "connected banned let_in published heard published got:1": [],
    "connected banned let_in heard published confirmed closed": ["none_missing"],
    "connected banned let_in heard published published got:1": ["none_missing"],
    "connected banned let_in_at_once heard published published got:1": ["none_missing"],
}


@pytest.mark.parametrize(("words", "broken"), STORIES.items())
def test_what_a_websocket_gets(words: str, broken: list[str]) -> None:
    assert Story(words).broken == broken


#: of the fault that explains it, how often the log has told
@pytest.mark.parametrize("told", [0, 1])
def test_losses_near_a_fault_are_counted_and_must_be_told(told: int) -> None:
    story = Story("connected confirmed fault published published back published")
    window = story.window
    story.window.told = told
    story.confirmed()
    story.fault()
    story.back()
    story.got(2)
    story.ledger.judge_losses()
    assert story.ledger.lost == {(window,): 2}
    assert story.ledger.counts["deliveries lost by a fault of Redis"] == 2
    assert story.ledger.counts["messages that no fault of Redis excuses"] == 1
    assert story.broken == ([] if told else ["loud"])


LINES = [
    ("spawned uWSGI worker 1 (pid: 8, cores: 200)", True),
    ("8 ws4redis WARNING Redis connection lost, websockets stay open and wait: refused", True),
    ("8 ws4redis WARNING Redis connection restored, all channels are subscribed again", True),
    ("8 ws4redis WARNING something else", False),
    ("8 ws4redis ERROR subscription failed, reconnecting", False),
    ("Traceback (most recent call last):", False),
    ("DAMN ! worker 1 (pid: 7) died, killed by signal 9 :( trying respawn ...", True),
    ("DAMN ! worker 1 (pid: 8) died, killed by signal 9 :( trying respawn ...", False),
    ("DAMN ! worker 1 (pid: 7) died, killed by signal 11 :( trying respawn ...", False),
    ("*** uWSGI listen queue of socket 0 full !!! (101/100) ***", False),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_what_the_log_says(tmp_path: Path, line: str, expected: bool) -> None:
    """Worker 7 was killed by the soak."""
    path, promises = tmp_path / "log", Promises()
    log = SiteLog(path, promises)
    log.killed.add(7)
    path.write_text(f"{line}\nnot yet")
    log.read()
    assert (promises.log.checks, promises.log.violations) == ((1, 0) if expected else (0, 1))


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = SiteLog(path, Promises())
    for part in ("8 ws4redis WARNING Redis conn", "ection lost, websockets stay open and wait: \n"):
        assert not log.away
        with path.open("a") as file:
            file.write(part)
        log.read()
    assert log.away == {8: 1}


SEASONS = [
    ({1, 2}, {}, False),
    ({1, 2}, {1: "after"}, False),
    ({1, 2}, {1: "after", 2: "before"}, False),
    ({1, 2}, {1: "after", 2: "after"}, True),
    # one has ended, and another has taken its place
    ({1, 3}, {1: "after"}, True),
    ({2, 3}, {1: "after"}, False),
]


@pytest.mark.parametrize(("living", "heard", "well"), SEASONS)
def test_all_is_well_when_all_have_heard_their_canaries(living: set[int], heard: dict[int, str], well: bool) -> None:
    season, times = Season(), {"before": 0.0, "after": float("inf")}
    season.begin()
    assert season.lasts and not season.well
    season.finish({1, 2})
    season.heal(living, {pid: times[when] for pid, when in heard.items()})
    assert season.well == well
    assert season.lasts, "what it brings may show for a while"
    assert season.lasted(time.monotonic())


class TestSchedule:
    def test_the_same_seed(self) -> None:
        assert schedule(1, 60, 300) == schedule(1, 60, 300) != schedule(2, 60, 300)

    def test_every_fault_comes(self) -> None:
        names = [action.name for action in schedule(1, 600, 2000)]
        assert all(names.count(fault) >= 3 for fault in (*REDIS_FAULTS, *WORKER_FAULTS))

    def test_the_last_workers_grow_old(self) -> None:
        last = max(action.at for action in schedule(1, 600, 2000) if action.name in WORKER_FAULTS)
        assert last < 450


def test_show() -> None:
    done = subprocess.run([*SOAK, "--show", "--seconds", "30"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(schedule(1, 30, 2000))


def test_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    command = [*SOAK, "--seed", "1", "--seconds", "40", "--sockets", "300", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    outcome = json.loads(path.read_text())
    assert outcome["kept"] is True
    tried = {each["promise"] for each in outcome["promises"] if each["checks"]}
    assert tried == {each.text for each in Promises().all()}
    assert outcome["counts"]["deliveries"] > 10_000
    assert sum("fault" in name for name in outcome["counts"]) >= 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(number: int) -> None:
    command = [*SOAK, "--sockets", "20", "--seconds", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        started = wait_for(lambda: whole_family(process.pid), "all processes run", timeout=60)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert "Traceback" not in errors
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), "all processes have ended")


def whole_family(pid: int) -> list[int]:
    """Redis, uWSGI and its two workers; nothing before all of them are there."""
    found = descendants(pid)
    return found if len(found) == 4 else []


def descendants(pid: int) -> list[int]:
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return []
    return children + [grandchild for child in children for grandchild in descendants(child)]
