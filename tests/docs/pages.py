"""The pages of the docs and the README, their code blocks and tables, and which test runs which sample.

Pages show files of ``docs/samples``, which tests of this folder run, and of ``examples``, which ``test_demo``,
``test_examples`` and ``test_recipes`` run; nothing is pasted into them. The README, which cannot include files, shows
pieces of the same samples.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tests.servers import ROOT

Test = TypeVar("Test", bound=Callable[..., Any])

DOCS = ROOT / "docs"
SAMPLES = DOCS / "samples"
HOWTO = SAMPLES / "howto"
EXAMPLES = ROOT / "examples"
README = ROOT / "README.md"
TUTORIAL = DOCS / "tutorial/first-websocket.md"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)

#: files of docs/samples that a test of this folder runs
RUN: set[Path] = set()


def runs(*samples: str) -> Callable[[Test], Test]:
    """Says which samples this test runs; one that no test runs fails ``test_every_sample_is_run_and_shown``."""
    RUN.update(SAMPLES / each for each in samples)
    return lambda test: test


class Block(NamedTuple):
    """A fenced block of a page."""

    info: str
    argument: str
    lines: list[str]


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    fence = ""
    for line in page.read_text("utf-8").splitlines():
        if fence:
            if line == fence:
                fence = ""
            else:
                found[-1].lines.append(line)
        elif opening := re.match(r"(`{3,}|~{3,}|:{3,})(\S*) ?(.*)", line):
            fence, info, argument = opening.groups()
            found.append(Block(info, argument, []))
        else:
            assert not line.startswith(("    ", "\t")), f"{page.name}: an indented block is not tested: {line}"
    assert not fence, f"{page.name}: a block does not end"
    return found


def included(page: Path) -> list[Path]:
    """The files that a page shows, in order."""
    names = [block.argument for block in blocks(page) if block.info == "{literalinclude}"]
    return [(page.parent / name).resolve() for name in names]


def table(page: str) -> list[list[str]]:
    """The cells of all tables of a page of the docs, without the lines that head them."""
    rows = re.findall(r"^\| (.+) \|$", (DOCS / page).read_text("utf-8"), re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows]


def first_words(page: str) -> list[str]:
    """What stands between backticks in the first cell, for each row that has some."""
    return [word for row in table(page) for word in re.findall(r"`([^`]+)`", row[0])]
