"""The options, and the outcome in words and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fanout import processes

from soak.promises import Failed
from soak.run import Outcome, run
from soak.schedule import schedule
from soak.stopping import Stopped, stop_on_signals

#: what a process opens beside the sockets
_SPARE_DESCRIPTORS = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    actions = schedule(options.seed, options.seconds, options.sockets)
    if options.show:
        for action in actions:
            print(f"{action.at:8.2f} {action.name} {action.what}")
        return 0
    try:
        processes.raise_descriptor_limit(options.sockets + _SPARE_DESCRIPTORS)
    except OSError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    stop_on_signals()
    try:
        outcome = run(actions, options.seconds, options.sockets)
    except Stopped:
        print("soak: stopped by a signal", file=sys.stderr)
        return 130
    except Failed as error:
        print(f"soak: {error}", file=sys.stderr)
        print(f"soak: again: {_again(options)}", file=sys.stderr)
        return 1
    figures = as_json(outcome, options)
    print(report(figures))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if figures["kept"] else 1


def as_json(outcome: Outcome, options: argparse.Namespace) -> dict[str, Any]:
    promises = [each.as_json() for each in outcome.promises.all()]
    return {
        "seed": options.seed,
        "seconds": options.seconds,
        "sockets": options.sockets,
        "again": _again(options),
        "kept": all(each["kept"] for each in promises),
        "promises": promises,
        "counts": dict(sorted(outcome.counts.items())),
        "log": dict(sorted(outcome.lines.items())),
        "seconds until all was well": {name: round(took, 1) for name, took in sorted(outcome.longest.items())},
        "before": outcome.before._asdict(),
        "after": outcome.after._asdict(),
        "seconds late": round(outcome.late, 2),
        "log of the server": None if outcome.log is None else str(outcome.log),
    }


def report(figures: dict[str, Any]) -> str:
    lines = [f"seed {figures['seed']}, {figures['sockets']} sockets, {figures['seconds']} seconds", ""]
    lines += [f"{number:>12,} {what}" for what, number in figures["counts"].items()]
    lines += [f"{number:>12,} in the log: {what}" for what, number in figures["log"].items()]
    took = figures["seconds until all was well"].items()
    lines += ["", "Seconds until all was seen to be well, at most:", *(f"{most:>12} {name}" for name, most in took)]
    before, after = figures["before"], figures["after"]
    lines += [
        "",
        f"{_use(before)} before, {_use(after)} after; this process was {figures['seconds late']} s late at most",
        "",
    ]
    for each in figures["promises"]:
        lines.append(f"{'OK' if each['kept'] else 'FAILED':>8} {each['promise']} ({each['checks']:,} checks)")
        lines += [f"{'':9}{evidence}" for evidence in each["evidence"]]
        if each["violations"] > len(each["evidence"]):
            lines.append(f"{'':9}and {each['violations'] - len(each['evidence']):,} more")
    if not figures["kept"]:
        lines += ["", f"again: {figures['again']}", f"the server's log: {figures['log of the server']}"]
    return "\n".join(lines)


def _use(use: dict[str, int]) -> str:
    return f"{use['memory_bytes'] / (1 << 20):.1f} MB and {use['descriptors']} descriptors"


def _again(options: argparse.Namespace) -> str:
    return f"python stress-tests/soak --seed {options.seed} --seconds {options.seconds} --sockets {options.sockets}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the schedule; the same again makes the same happen")
    parser.add_argument("--seconds", type=_between(20, 86_400), default=600)
    parser.add_argument("--sockets", type=_between(20, 20_000), default=2000)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the outcome, too")
    parser.add_argument("--show", action="store_true", help="show the schedule, and do nothing")
    return parser.parse_args(arguments)


def _between(least: int, most: int) -> Any:
    def number(text: str) -> int:
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return int(text)

    return number
