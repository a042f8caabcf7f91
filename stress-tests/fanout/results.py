"""From what was measured to what is shown."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


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
    faults: list[str] = field(default_factory=list)

    @property
    def cpu_microseconds_each(self) -> float:
        """Per delivery, or per connect."""
        return self.cpu_seconds / self.expected * 1e6

    @property
    def crowd_load(self) -> float:
        """The part of the time in which the crowd's process was busy; near 1 it may have been the limit."""
        return self.crowd_cpu_seconds / self.seconds

    @property
    def bytes_per_socket(self) -> float | None:
        return None if self.memory_bytes is None else self.memory_bytes / self.sockets

    @property
    def complaints(self) -> list[str]:
        differs = f"{self.received} of {self.expected} arrived"
        return [*([differs] if self.received != self.expected else []), *self.faults]


@dataclass
class Row:
    """One scenario: a measurement per round, on our server and on the floor right before."""

    scenario: str
    rounds: list[Measured] = field(default_factory=list)
    floors: list[Measured] = field(default_factory=list)

    def middle(self, value: Callable[[Measured], float]) -> float:
        return median(map(value, self.rounds))

    @property
    def floor_microseconds_each(self) -> float | None:
        return median(each.cpu_microseconds_each for each in self.floors) if self.floors else None

    @property
    def ratio_to_floor(self) -> float | None:
        """The median of the rounds' ratios: a round's two measurements are neighbours in time."""
        if not self.floors:
            return None
        pairs = zip(self.rounds, self.floors, strict=True)
        return median(ours.cpu_microseconds_each / floor.cpu_microseconds_each for ours, floor in pairs)

    @property
    def bytes_per_socket(self) -> float | None:
        sizes = [each.bytes_per_socket for each in self.rounds if each.bytes_per_socket is not None]
        return median(sizes) if sizes else None

    @property
    def complaints(self) -> list[str]:
        named = [("ws4redis", self.rounds), ("floor", self.floors)]
        return [
            f"{self.scenario} on {name}, round {number}: {complaint}"
            for name, measurements in named
            for number, each in enumerate(measurements, 1)
            for complaint in each.complaints
        ]


_Column = tuple[str, Callable[[Row], Any], str]

_COLUMNS: list[_Column] = [
    ("scenario", lambda row: row.scenario, "s"),
    ("sockets", lambda row: row.rounds[-1].sockets, ",d"),
    ("messages", lambda row: row.rounds[-1].messages or None, ",d"),
    ("expected", lambda row: row.rounds[-1].expected, ",d"),
    ("received", lambda row: min(each.received for each in row.rounds), ",d"),
    ("CPU s", lambda row: row.middle(lambda each: each.cpu_seconds), ".3f"),
    ("seconds", lambda row: row.middle(lambda each: each.seconds), ".2f"),
    ("CPU µs each", lambda row: row.middle(lambda each: each.cpu_microseconds_each) if row.floors else None, ".2f"),
    ("floor µs each", lambda row: row.floor_microseconds_each, ".2f"),
    ("ratio to floor", lambda row: row.ratio_to_floor, ".3f"),
    ("bytes/socket", lambda row: row.bytes_per_socket, ",.0f"),
    ("crowd load", lambda row: row.middle(lambda each: each.crowd_load), ".0%"),
]


def table(rows: Sequence[Row]) -> str:
    lines = [[title for title, _, _ in _COLUMNS], *([_cell(row, column) for column in _COLUMNS] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]).rstrip() for cells in lines
    )


def _cell(row: Row, column: _Column) -> str:
    _, value, form = column
    shown = value(row)
    return "-" if shown is None else format(shown, form)


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "machine": {"system": platform.system(), "release": platform.release(), "python": platform.python_version()},
        "scenarios": {
            row.scenario: {
                "cpu_microseconds_each": row.middle(lambda each: each.cpu_microseconds_each),
                "floor_microseconds_each": row.floor_microseconds_each,
                "ratio_to_floor": row.ratio_to_floor,
                "bytes_per_socket": row.bytes_per_socket,
                "complaints": row.complaints,
                "rounds": [asdict(each) for each in row.rounds],
                "floors": [asdict(each) for each in row.floors],
            }
            for row in rows
        },
    }
