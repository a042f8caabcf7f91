"""What is to be reached, as ratios to the others and as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fanout.results import OURS, Row, number


class Bar(NamedTuple):
    scenario: str
    most: float
    #: whose figure ours is divided by; None where ``most`` is in the figure's unit
    other: str | None = None
    #: where that is another scenario's
    other_scenario: str | None = None

    def measured(self, rows: Mapping[str, Row]) -> float | None:
        """None where it takes something that was not measured."""
        row, other = rows.get(self.scenario), rows.get(self.other_scenario or self.scenario)
        if row is None or other is None:
            return None
        return row.figure_of(OURS) if self.other is None else row.ratio_to(self.other, other)

    def told(self, rows: Mapping[str, Row]) -> str:
        if self.other is None:
            return f"{rows[self.scenario].figure.unit}"
        return self.other + (f" in {self.other_scenario}" if self.other_scenario else "")


class Growth(Bar):
    """From one scenario to a larger one: how much more ours grows than that of another."""

    def measured(self, rows: Mapping[str, Row]) -> float | None:
        if self.other is None or self.scenario not in rows or self.other_scenario not in rows:
            return None
        large, small = (rows[name].ratio_to(self.other) for name in (self.scenario, self.other_scenario))
        return None if large is None or small is None else large / small

    def told(self, rows: Mapping[str, Row]) -> str:
        return f"{self.other}, growing since {self.other_scenario}"


_KILOBYTE = 1024

BARS = [
    Bar("paced", 1.2, "floor"),
    Bar("paced", 0.85, "nchan"),
    Bar("paced", 1 / 25, "channels"),
    Bar("paced-send", 1.2, "floor"),
    Bar("burst", 1 / 20, "nchan"),
    Bar("burst", 1 / 500, "channels"),
    Bar("many", 1.2, "floor"),
    Bar("many", 1, "nchan"),
    Growth("many", 1.2, "floor", "few"),
    Bar("unicast", 2.5, "floor"),
    Bar("unicast-singly", 2, "floor"),
    Bar("connect", 1 / 3, "channels"),
    Bar("connect-session", 1, "channels", "connect"),
    Bar("churn-10000", 1.5, OURS, "churn-100"),
    Bar("heartbeats", 1 / 4, "channels"),
    Bar("published", 1 / 2, "channels"),
    Bar("idle", 3 * _KILOBYTE),
    Bar("idle-session", 5 * _KILOBYTE),
    Bar("idle", 1.1, OURS, "idle-1000"),
    Bar("idle-heartbeat", 5),
    Bar("latency", 1.3, "floor"),
]


def judged(rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    """The bars for which there are figures."""
    return [
        {
            "scenario": bar.scenario,
            "of": bar.told(rows),
            "at most": bar.most,
            "measured": measured,
            "met": measured <= bar.most,
        }
        for bar in BARS
        if (measured := bar.measured(rows)) is not None
    ]


def lines(judgements: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    heads = ["Bar", "Of", "At most", "Measured", ""]
    return [
        heads,
        *(
            [
                each["scenario"],
                each["of"],
                number(each["at most"]),
                number(each["measured"]),
                "met" if each["met"] else "missed",
            ]
            for each in judgements
        ),
    ]
