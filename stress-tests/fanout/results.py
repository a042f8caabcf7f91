"""From what was measured to what is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, NamedTuple

#: our server among the subjects
OURS = "ws4redis"

#: how they stand side by side
_ORDER = (OURS, "floor", "nchan", "channels")


@dataclass(kw_only=True)
class Measured:
    """One scenario on one subject, once."""

    sockets: int
    expected: int
    received: int
    cpu_seconds: float
    seconds: float
    messages: int = 0
    crowd_cpu_seconds: float = 0
    memory_bytes: int | None = None
    #: from publishing to the last socket: p50, p99, most
    milliseconds: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def cpu_microseconds_each(self) -> float:
        """Per delivery, per connect, or per message of a browser."""
        return self.cpu_seconds / self.expected * 1e6

    @property
    def crowd_load(self) -> float:
        """The part of the time in which the crowd's process was busy; near 1 it may have been the limit."""
        return self.crowd_cpu_seconds / self.seconds

    @property
    def complaints(self) -> list[str]:
        differs = f"{self.received} of {self.expected} arrived"
        return [*([differs] if self.received != self.expected else []), *self.faults]


class Figure(NamedTuple):
    """What a scenario is about."""

    unit: str
    of: Callable[[Measured], float]


CPU_EACH = Figure("µs CPU", lambda measured: measured.cpu_microseconds_each)
MEMORY = Figure("bytes", lambda measured: (measured.memory_bytes or 0) / measured.sockets)
CORE = Figure("% of a core", lambda measured: measured.cpu_seconds / measured.seconds * 100)
P99 = Figure("ms p99", lambda measured: measured.milliseconds.get("p99", float("nan")))


@dataclass
class Row:
    """One scenario: for each subject a measurement per round."""

    scenario: str
    figure: Figure
    rounds: dict[str, list[Measured]] = field(default_factory=dict)

    def add(self, subject: str, measured: Measured) -> None:
        self.rounds.setdefault(subject, []).append(measured)

    def middle(self, subject: str, value: Callable[[Measured], float]) -> float:
        return median(map(value, self.rounds[subject]))

    def figure_of(self, subject: str) -> float | None:
        return self.middle(subject, self.figure.of) if subject in self.rounds else None

    def ratio_to(self, subject: str, other: Row | None = None) -> float | None:
        """Of our figure to that of a subject, here or in another scenario.

        The median of the rounds' ratios: what is measured in one round is near in time.
        """
        ours, theirs = self.rounds.get(OURS), (other or self).rounds.get(subject)
        if not ours or not theirs:
            return None
        pairs = zip(ours, theirs, strict=False)
        return median(self.figure.of(mine) / self.figure.of(other) for mine, other in pairs)

    def multiples(self) -> dict[str, float]:
        """How many times ours the figures of the others are."""
        ratios = {name: self.ratio_to(name) for name in _ORDER[1:]}
        return {name: 1 / ratio for name, ratio in ratios.items() if ratio and ratio > 0}

    @property
    def complaints(self) -> list[str]:
        return [
            f"{self.scenario} on {name}, round {number}: {complaint}"
            for name, measurements in self.rounds.items()
            for number, each in enumerate(measurements, 1)
            for complaint in each.complaints
        ]


def columns(lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Lines of cells, so many columns of which are aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in lines
    )


def number(value: float | None) -> str:
    """With as many digits as are worth reading."""
    if value is None or value != value:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """A line for each scenario and subject."""
    heads = ["scenario", "subject", "sockets", "messages", "expected", "received", "CPU s", "seconds", "crowd load"]
    lines = [[*heads, "each", "unit", "ratio"]]
    for row in rows:
        for subject, rounds in row.rounds.items():
            lines.append(
                [
                    row.scenario,
                    subject,
                    f"{rounds[-1].sockets:,}",
                    f"{rounds[-1].messages:,}" if rounds[-1].messages else "-",
                    f"{rounds[-1].expected:,}",
                    f"{min(each.received for each in rounds):,}",
                    f"{row.middle(subject, lambda each: each.cpu_seconds):.3f}",
                    f"{row.middle(subject, lambda each: each.seconds):.2f}",
                    f"{row.middle(subject, lambda each: each.crowd_load):.0%}",
                    number(row.figure_of(subject)),
                    row.figure.unit,
                    "-" if subject == OURS else number(row.ratio_to(subject)),
                ]
            )
    return columns(lines, left=2)


def as_json(rows: Sequence[Row], versions: Mapping[str, str], bars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "versions": dict(versions),
        "bars": list(bars),
        "scenarios": {
            row.scenario: {
                "unit": row.figure.unit,
                "figures": {subject: row.figure_of(subject) for subject in row.rounds},
                "ratios": {subject: row.ratio_to(subject) for subject in row.rounds if subject != OURS},
                "complaints": row.complaints,
                "rounds": {subject: [asdict(each) for each in rounds] for subject, rounds in row.rounds.items()},
            }
            for row in rows
        },
    }


def from_json(figures: Mapping[str, Any], units: Mapping[str, Figure]) -> dict[str, Row]:
    """The rows of an earlier run."""
    return {
        name: Row(
            name, units[name], {who: [Measured(**each) for each in rounds] for who, rounds in kept["rounds"].items()}
        )
        for name, kept in figures["scenarios"].items()
        if name in units
    }


def markdown(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    """A table of the figures for a page of the docs."""
    names = [name for name in _ORDER if any(name in row.rounds for row in rows)]
    lines = [["Scenario", "What happens", "Unit", *names]]
    for row in rows:
        figures = [number(row.figure_of(name)) for name in names]
        lines.append([f"`{row.scenario}`", titles[row.scenario], row.figure.unit, *figures])
    return markdown_table(lines, left=3)


def markdown_table(lines: Sequence[Sequence[str]], left: int) -> str:
    head, *body = lines
    rule = ["---" if number < left else "--:" for number in range(len(head))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, rule, *body])
