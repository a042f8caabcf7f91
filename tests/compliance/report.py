"""What ``wstest`` found, in short."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

GOOD = ("OK", "INFORMATIONAL")


class Result(NamedTuple):
    setup: str
    case: str
    #: what it did, and how it closed, in the suite's words
    behavior: str
    close: str
    page: str

    @property
    def section(self) -> str:
        return self.case.partition(".")[0]

    @property
    def report(self) -> str:
        """The worse of the two."""
        return max(self.behavior, self.close, key=lambda each: (each not in GOOD, each != "OK"))


def read(folder: Path, setups: Iterable[str], cases: Iterable[str]) -> list[Result]:
    """One result per case and set-up; what the suite has no word about is MISSING."""
    index: dict[str, Any] = json.loads((folder / "index.json").read_text())
    results = []
    for setup in setups:
        for case in cases:
            found = index.get(setup, {}).get(case)
            if found is None:
                results.append(Result(setup, case, "MISSING", "MISSING", ""))
            else:
                page = (folder / found["reportfile"]).with_suffix(".html").as_uri()
                results.append(Result(setup, case, found["behavior"], found["behaviorClose"], page))
    return results


def bad(results: Iterable[Result]) -> list[Result]:
    return [each for each in results if each.report not in GOOD]


def count(results: Iterable[Result]) -> dict[str, dict[str, dict[str, int]]]:
    """Set-up -> section -> report -> number."""
    counts: dict[str, dict[str, Counter[str]]] = {}
    for each in results:
        counts.setdefault(each.setup, {}).setdefault(each.section, Counter())[each.report] += 1
    return {setup: {section: dict(found) for section, found in by.items()} for setup, by in counts.items()}


def table(results: Iterable[Result], titles: dict[str, str]) -> str:
    """In Markdown: a row per section, a column per set-up."""
    counts = count(results)
    sections = next(iter(counts.values()))
    rows = [["Section", *counts], ["---"] * (len(counts) + 1)]
    for section in sections:
        cells = (", ".join(f"{n} {report}" for report, n in by[section].items()) for by in counts.values())
        rows.append([f"{section} {titles[section]}", *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
