"""The options, and the rounds."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from fanout import processes
from fanout.crowd import Crowd
from fanout.results import Measured, Row, as_json, table
from fanout.scenarios import SCENARIOS, Plan, Refused, Scenario, warm_up
from fanout.subjects import Floor, Website, running
from tests.servers import Server, Valkey

#: what a process opens beside the sockets: uWSGI's worker keeps some hundred descriptors back
_SPARE_DESCRIPTORS = 600

_MOST_SOCKETS = 100_000
_MOST_MESSAGES = 100_000
_MOST_ROUNDS = 100


class Stopped(BaseException):
    """By a signal, or because the time is up."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    plans = {name: _plan(SCENARIOS[name], options) for name in options.scenario or SCENARIOS}
    try:
        processes.raise_descriptor_limit(max(plan.sockets for plan in plans.values()) + _SPARE_DESCRIPTORS)
    except OSError as error:
        print(f"fanout: {error}", file=sys.stderr)
        return 2
    _stop_on_signals(options.time_limit)
    rows = {name: Row(name) for name in plans}
    try:
        for number in range(1, options.repeat + 1):
            for name, plan in plans.items():
                print(f"round {number} of {options.repeat}: {name}", file=sys.stderr, flush=True)
                _measure(SCENARIOS[name], plan, rows[name])
    except Stopped as stopped:
        print(f"fanout: stopped {stopped}", file=sys.stderr)
        return 130
    except (Refused, AssertionError) as error:
        print(f"fanout: {error}", file=sys.stderr)
        return 1
    finally:
        signal.alarm(0)
        _end_leftovers()
    return report(list(rows.values()), options.json)


def _measure(scenario: Scenario, plan: Plan, row: Row) -> None:
    if scenario.with_floor:
        row.floors.append(_measure_on(Floor(), scenario, plan))
    with running(Valkey()) as valkey:
        row.rounds.append(_measure_on(Website(valkey), scenario, plan))


def _measure_on(server: Server, scenario: Scenario, plan: Plan) -> Measured:
    with ExitStack() as stack:
        subject: Any = stack.enter_context(running(server))
        crowd = stack.enter_context(Crowd())
        warm_up(subject, crowd)
        return scenario.measure(subject, crowd, plan)


def report(rows: list[Row], json_path: Path | None) -> int:
    print(table(rows))
    if json_path is not None:
        json_path.write_text(json.dumps(as_json(rows), indent=1) + "\n")
    complaints = [complaint for row in rows for complaint in row.complaints]
    for complaint in complaints:
        print(f"fanout: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _plan(scenario: Scenario, options: argparse.Namespace) -> Plan:
    plan = scenario.quick if options.quick else scenario.plan
    return plan._replace(
        sockets=options.sockets or plan.sockets,
        messages=plan.messages and (options.messages or plan.messages),
        rate=plan.rate and (options.rate or plan.rate),
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fanout", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="may be repeated; by default all")
    parser.add_argument("--sockets", type=_count(_MOST_SOCKETS))
    parser.add_argument("--messages", type=_count(_MOST_MESSAGES), help="in paced and burst")
    parser.add_argument("--rate", type=_count(10_000), help="messages a second, in paced")
    parser.add_argument("--repeat", type=_count(_MOST_ROUNDS), default=1, help="rounds; the median is shown")
    parser.add_argument("--quick", action="store_true", help="few sockets: tries the machinery, the times mean nothing")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all measurements, too")
    parser.add_argument(
        "--time-limit", type=_count(86_400), default=1800, metavar="SECONDS", help="after which all is stopped"
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
