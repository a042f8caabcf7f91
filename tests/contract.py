"""The contract: what users rely on, read from the markers on the tests that show it.

A row is ``<section> <topic>: <fact>`` in our own words. In Python it is an argument of ``@pytest.mark.contract`` on a
test, or of ``marks=pytest.mark.contract`` in a table of a module's; in JavaScript ``// contract: `` and the row stand
above a test. ``make contract`` writes the table of the docs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.servers import ROOT

TESTS = ROOT / "tests"
TABLE = ROOT / "docs/topics/contract-table.txt"

#: section and topic -> its heading in the table, in the table's order
SECTIONS = {
    "2 package": "Names of the package",
    "2.1 exceptions": "Exceptions",
    "3 names": "Names of channels and keys",
    "4.1 SELF": "`SELF`",
    "4.2 RedisMessage": "`RedisMessage`",
    "4.3 RedisStore": "`RedisStore`",
    "5 RedisPublisher": "`RedisPublisher`",
    "6 RedisSubscriber": "`RedisSubscriber`",
    "7 URLs": "URLs",
    "8.1 server": "`WebsocketWSGIServer`",
    "8.2 order": "The order of events",
    "8.3 frames": "Frames",
    "8.4 runserver": "`runserver`",
    "8.5 uWSGI": "uWSGI",
    "8.6 websocket": "`WebSocket`",
    "9.1 answers": "Answers before the upgrade",
    "9.2 identity": "Identity",
    "9.3 process request": "`WS4REDIS_PROCESS_REQUEST`",
    "9.4 allowed channels": "`WS4REDIS_ALLOWED_CHANNELS`",
    "9.5 origin": "Origin",
    "10 heartbeat": "Heartbeats",
    "11.1 echo": "Echo",
    "11.2 last message": "The last message",
    "11.3 order": "Order and loss",
    "11.4 groups": "Groups in the session",
    "12 closing": "Closing",
    "13.1 templates": "In templates",
    "13.2 WS4Redis": "`WS4Redis`",
    "14 manual": "Where its manual and its code disagree",
    "differs from 0.6": "Differences from django-websocket-redis 0.6",
    "asks delivery": "Asked for: messages lost, late, doubled, echoed",
    "asks scale": "Asked for: connections, memory, scale",
    "asks unicode": "Asked for: Unicode and binary",
    "asks deployment": "Asked for: deployment and handshake",
    "asks identity": "Asked for: authentication, session, user",
    "asks channels": "Asked for: channels and permissions",
    "asks javascript": "Asked for: the JavaScript client",
}


def rows_of_python(source: str) -> Iterator[tuple[str, str]]:
    """Each row and a test that shows it; one in a table is shown by each test with a decorator that names the table."""
    tables: dict[str, list[str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            tables[ast.unparse(target)] = _rows_in(node)
        elif isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                named = [each.id for each in ast.walk(decorator) if isinstance(each, ast.Name)]
                for row in [*_rows_in(decorator), *(row for name in named for row in tables.get(name, []))]:
                    assert node.name.startswith("test_"), f"{node.name} is no test: {row}"
                    yield row, node.name


def _rows_in(node: ast.AST) -> list[str]:
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    return [
        ast.literal_eval(argument)
        for call in calls
        if ast.unparse(call.func) == "pytest.mark.contract"
        for argument in call.args
    ]


def rows_of_javascript(source: str) -> Iterator[tuple[str, str]]:
    """Each row with the test, or table of tests, that it stands above."""
    rows: list[str] = []
    for line in source.splitlines():
        if line.startswith("// contract: "):
            rows.append(line.removeprefix("// contract: "))
        elif rows:
            test = re.match(r'(?:test|table)\("([^"]+)"', line)
            assert test, f"no test is below {rows}"
            yield from ((row, test[1]) for row in rows)
            rows = []


def read(folder: Path = TESTS) -> dict[str, dict[str, list[str]]]:
    """Section and topic -> fact -> the tests that show it."""
    contract: dict[str, dict[str, list[str]]] = {section: {} for section in SECTIONS}
    for pattern, rows_of in (("test_*.py", rows_of_python), ("*.test.js", rows_of_javascript)):
        for path in sorted(folder.rglob(pattern)):
            for row, name in rows_of(path.read_text("utf-8")):
                section, _, fact = row.partition(": ")
                assert section in SECTIONS and fact, f"{path.name}: {row} is not '<section> <topic>: <fact>'"
                contract[section].setdefault(fact, []).append(f"{path.relative_to(folder)}::{name}")
    return contract


def table(contract: dict[str, dict[str, list[str]]]) -> str:
    """In Markdown: one table per section, facts by the alphabet, numbers by their value."""
    lines = []
    for section, facts in contract.items():
        number = section.partition(" ")[0]
        heading = f"{number} {SECTIONS[section]}" if number[0].isdigit() else SECTIONS[section]
        lines += [f"### {heading}", "", "| Fact | Shown by |", "| --- | --- |"]
        lines += [
            f"| {_escaped(fact)} | {', '.join(f'`{test}`' for test in sorted(set(facts[fact])))} |"
            for fact in sorted(facts, key=_in_order)
        ]
        lines.append("")
    return "\n".join(lines)


def _escaped(fact: str) -> str:
    """As Markdown; what stands in backticks is left alone."""
    parts = re.split(r"(`[^`]+`)", fact)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<])", r"\\\1", part) for part in parts)


def _in_order(fact: str) -> list[tuple[bool, int, str]]:
    parts = re.findall(r"\d+|\D+", fact.lower())
    return [(False, int(part), "") if part.isdigit() else (True, 0, part) for part in parts]


if __name__ == "__main__":
    TABLE.write_text(table(read()), "utf-8")
