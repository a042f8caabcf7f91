"""A picture of the figures: how many times the cost of our server each of the others has. SVG, on a card of its own, so
that it is readable on a light page, on a dark one, and on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

from fanout.results import OURS, Row, number

_WIDTH = 360
_MARGIN = 14
#: where the bars may be: right of the names, left of the ratios
_LEFT, _RIGHT = 84, 290
_LINE = 17

_STYLE = """
    text { font: 12px system-ui, sans-serif; fill: #1f2328 }
    .title { font-weight: 600 }
    .small { font-size: 11px; fill: #59636e }
    .right { text-anchor: end }
    .middle { text-anchor: middle }
    .card { fill: #ffffff; stroke: #d1d9e0 }
    .line { stroke: #1f2328 }
    .floor { fill: #8b949e }
    .nchan { fill: #2f81f7 }
    .channels { fill: #d97706 }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 }
        .small { fill: #9198a1 }
        .card { fill: #151b23; stroke: #3d444d }
        .line { stroke: #e6edf3 }
    }
"""


def picture(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    """
    Args:
        titles: what happens in each scenario.
    """
    scale = _Scale([ratio for row in rows for ratio in row.multiples().values()])
    parts = list(_head())
    top = 80.0
    for row in rows:
        others = row.multiples()
        parts += _text(_MARGIN, top, row.scenario, "title")
        parts += _text(_WIDTH - _MARGIN, top, f"{OURS}: {number(row.figure_of(OURS))} {row.figure.unit}", "right")
        parts += _text(_MARGIN, top + 14, titles[row.scenario], "small")
        top += 19
        for name, ratio in others.items():
            begin, end = sorted((scale.place(1), scale.place(ratio)))
            parts += _text(_LEFT - 8, top + 12, name, "right")
            parts.append(
                f'<rect class="{name}" x="{begin:.1f}" y="{top + 3:.1f}" width="{end - begin:.1f}" height="11" rx="2"/>'
            )
            parts += _text(_WIDTH - _MARGIN, top + 12, f"{number(ratio)} x", "right")
            top += _LINE
        if others:
            line = f'x1="{scale.place(1):.1f}" x2="{scale.place(1):.1f}"'
            parts.append(f'<line class="line" {line} y1="{top - _LINE * len(others):.1f}" y2="{top:.1f}"/>')
        top += 22
    height = top - 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH * 3 // 2}"'
        ' role="img">\n'
        f"<title>What each server costs, as a multiple of {OURS}</title>\n<style>{_STYLE}</style>\n"
        f'<rect class="card" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1:.0f}" rx="8"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


class _Scale:
    """Logarithmic, over whole powers of ten."""

    def __init__(self, ratios: Sequence[float]) -> None:
        self._first = floor(log10(min([0.1, *ratios])))
        self._last = ceil(log10(max([10, *ratios])))

    def place(self, ratio: float) -> float:
        return _LEFT + (log10(ratio) - self._first) / (self._last - self._first) * (_RIGHT - _LEFT)


def _head() -> Iterator[str]:
    yield from _text(_MARGIN, 24, f"Cost as a multiple of {OURS}", "title")
    yield from _text(_MARGIN, 39, f"The line is {OURS}. What is right of it costs more, left of it less.", "small")
    yield from _text(_MARGIN, 53, "A bar's length is logarithmic.", "small")


def _text(x: float, y: float, text: str, style: str) -> Iterator[str]:
    yield f'<text x="{x}" y="{y:.1f}" class="{style}">{escape(text)}</text>'
