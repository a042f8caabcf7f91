"""The options, and the rounds."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from fanout import bars, processes
from fanout.crowd import Crowd
from fanout.lineup import ENTRANTS, PEERS
from fanout.picture import picture
from fanout.progress import Progress
from fanout.results import OURS, Measured, Row, as_json, columns, from_json, markdown, markdown_table, table
from fanout.scenarios import SCENARIOS, Plan, Refused, Scenario, warm_up
from fanout.subjects import STRESS_TESTS

#: what a process opens beside the sockets: uWSGI's worker keeps some hundred descriptors back
_SPARE_DESCRIPTORS = 600

DOCS = STRESS_TESTS.parent / "docs" / "topics"

_MOST_SOCKETS = 100_000
_MOST_MESSAGES = 100_000
_MOST_ROUNDS = 100


class Missing(Exception):
    """Something is not installed."""


class Stopped(BaseException):
    """By a signal, or because the time is up."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    if options.redraw is not None:
        return _redraw(options.redraw, options)
    names = options.scenario or list(SCENARIOS)
    try:
        processes.raise_descriptor_limit(max(map(_sockets, names, [options] * len(names))) + _SPARE_DESCRIPTORS)
        subjects = _line_up(options.peers)
    except (OSError, Missing) as error:
        print(f"fanout: {error}", file=sys.stderr)
        return 2
    steps = [(name, subject) for name in names for subject in subjects if _takes_part(subject, SCENARIOS[name])]
    rows = {name: Row(name, SCENARIOS[name].figure) for name in names}
    progress = Progress(len(steps) * options.repeat)
    failed = False
    _stop_on_signals(options.time_limit)
    try:
        for number in range(1, options.repeat + 1):
            for name, subject in steps:
                progress.begin(f"round {number} of {options.repeat}: {name} on {subject}")
                plan = _plan(SCENARIOS[name], options, subject)
                rows[name].add(subject, _measure(subject, SCENARIOS[name], plan))
    except Stopped as stopped:
        print(f"fanout: stopped {stopped}", file=sys.stderr)
        return 130
    except (Refused, AssertionError) as error:
        print(f"fanout: {error}", file=sys.stderr)
        failed = True
    finally:
        signal.alarm(0)
        progress.end()
        _end_leftovers()
    if failed:
        # what has been measured until then is shown, but no page is made of it
        options.docs = False
    system = {"system": f"{platform.system()} {platform.release()}", "python": platform.python_version()}
    complained = report(rows, system | {name: ENTRANTS[name].version() for name in subjects}, options)
    return 1 if failed else complained


def _line_up(peers: bool) -> list[str]:
    """Who can be measured.

    Raises:
        Missing: one that is asked for cannot.
    """
    found = []
    for name, entrant in ENTRANTS.items():
        if name in PEERS and not peers:
            continue
        reason = entrant.why_not()
        if reason is None:
            found.append(name)
        elif name in PEERS:
            raise Missing(reason)
        else:
            print(f"fanout: {reason}", file=sys.stderr)
    return found


def _takes_part(subject: str, scenario: Scenario) -> bool:
    return subject == OURS or subject in scenario.others


def _measure(name: str, scenario: Scenario, plan: Plan) -> Measured:
    with ExitStack() as stack:
        subject = stack.enter_context(ENTRANTS[name].start(scenario.settings))
        crowd = stack.enter_context(Crowd())
        warm_up(subject, crowd, plan, scenario.audiences)
        return scenario.measure(subject, crowd, plan, scenario.audiences)


def report(rows: Mapping[str, Row], versions: Mapping[str, str], options: argparse.Namespace) -> int:
    judgements = [] if options.quick else bars.judged(rows)
    print(table(list(rows.values())))
    if judgements:
        print(f"\n{columns(bars.lines(judgements), left=2)}")
    print("\n" + "\n".join(f"{name}: {version}" for name, version in versions.items()))
    figures = json.dumps(as_json(list(rows.values()), versions, judgements), indent=1) + "\n"
    titles = {name: scenario.title for name, scenario in SCENARIOS.items()}
    image = picture(list(rows.values()), titles)
    if options.json is not None:
        options.json.write_text(figures)
    if options.picture is not None:
        options.picture.write_text(image)
    if options.docs:
        for suffix, content in {
            ".json": figures,
            ".svg": image,
            "-table.txt": markdown(list(rows.values()), titles),
            "-bars.txt": markdown_table(bars.lines(judgements), left=2),
            "-versions.txt": markdown_table([["What", "Version"], *map(list, versions.items())], left=2),
        }.items():
            (DOCS / f"performance{suffix}").write_text(content)
    complaints = [complaint for row in rows.values() for complaint in row.complaints]
    for complaint in complaints:
        print(f"fanout: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _redraw(path: Path, options: argparse.Namespace) -> int:
    figures = json.loads(path.read_text())
    rows = from_json(figures, {name: scenario.figure for name, scenario in SCENARIOS.items()})
    return report(rows, figures["versions"], options)


def _plan(scenario: Scenario, options: argparse.Namespace, subject: str = OURS) -> Plan:
    plan = scenario.quick if options.quick else scenario.others.get(subject) or scenario.plan
    return plan._replace(
        sockets=options.sockets or plan.sockets,
        messages=plan.messages and (options.messages or plan.messages),
        rate=plan.rate and (options.rate or plan.rate),
    )


def _sockets(name: str, options: argparse.Namespace) -> int:
    """That a process has at most."""
    plan = _plan(SCENARIOS[name], options)
    return plan.sockets + plan.parked


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fanout", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="may be repeated; by default all")
    parser.add_argument("--sockets", type=_count(_MOST_SOCKETS))
    parser.add_argument("--messages", type=_count(_MOST_MESSAGES), help="on each stream")
    parser.add_argument("--rate", type=_count(10_000), help="pipelines, or browsers' messages, a second")
    parser.add_argument("--repeat", type=_count(_MOST_ROUNDS), default=1, help="rounds; the median is shown")
    parser.add_argument("--quick", action="store_true", help="few sockets: tries the machinery, the times mean nothing")
    parser.add_argument("--peers", action="store_true", help="measure nchan and Django Channels, too")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all measurements, too")
    parser.add_argument("--picture", type=Path, metavar="PATH", help="write an SVG of the figures, too")
    parser.add_argument("--docs", action="store_true", help="write all that docs/topics/performance.md shows")
    parser.add_argument("--redraw", type=Path, metavar="JSON", help="measure nothing, show an earlier run again")
    parser.add_argument(
        "--time-limit", type=_count(86_400), default=4 * 3600, metavar="SECONDS", help="after which all is stopped"
    )
    return parser.parse_args(arguments)


def _count(most: int) -> Any:
    def count(text: str) -> int:
        number = int(text)
        if not 0 < number <= most:
            raise argparse.ArgumentTypeError(f"{number} is not between 1 and {most}")
        return number

    return count


def _stop_on_signals(seconds: int) -> None:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)

    def stop(number: int, _frame: object) -> NoReturn:
        # once: what runs now are the ends of what was started
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped("because the time is up" if number == signal.SIGALRM else "by a signal")

    for number in signals:
        signal.signal(number, stop)
    signal.alarm(seconds)


def _end_leftovers() -> None:
    """A child whose start was interrupted before anybody had its number."""
    for pid in processes.children(os.getpid()):
        os.kill(pid, signal.SIGINT)
