"""The contract's table in the docs is what the markers on the tests say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract import TABLE, read, rows_of_javascript, rows_of_python, table


def test_the_table_is_up_to_date() -> None:
    contract = read()
    assert all(contract.values()), "a section has no row"
    assert TABLE.read_text("utf-8") == table(contract), "the markers have changed, so run: make contract"


MARKER = '@pytest.mark.contract("a: b")\n'

# Python, rows with the tests that show them
IN_PYTHON = [
    ("def test_x(): pass", []),
    (f"{MARKER}def test_x(): pass", [("a: b", "test_x")]),
    ('@pytest.mark.contract("a: b", "c: d")\ndef test_x(): pass', [("a: b", "test_x"), ("c: d", "test_x")]),
    (
        'ROWS = [pytest.param(1, marks=pytest.mark.contract("a: b")), 2]\n'
        '@pytest.mark.parametrize("number", ROWS)\n'
        "def test_x(number): pass\n"
        '@pytest.mark.parametrize("number", ROWS)\n'
        "def test_y(number): pass\n"
        "def test_z(): assert ROWS",
        [("a: b", "test_x"), ("a: b", "test_y")],
    ),
    (
        '@pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.contract("a: b"))])\n'
        "def test_x(number): pass",
        [("a: b", "test_x")],
    ),
]


@pytest.mark.parametrize(("source", "rows"), IN_PYTHON)
def test_rows_in_python(source: str, rows: list[tuple[str, str]]) -> None:
    assert list(rows_of_python(source)) == rows


def test_rows_in_javascript() -> None:
    source = (
        '// contract: a: b\n// contract: c: d\ntest("x", () => {\n});\n\n// contract: a: b\ntable("y", ROWS, row => {'
    )
    assert list(rows_of_javascript(source)) == [("a: b", "x"), ("c: d", "x"), ("a: b", "y")]


# a file of tests, what is wrong
WRONG = {
    "is no test": ("test_x.py", f"{MARKER}def browser(): pass"),
    "no test is below": ("x.test.js", "// contract: 7 URLs: b\n\n"),
    "a: b is not": ("test_x.py", f"{MARKER}def test_x(): pass"),
    "7 URLs is not": ("x.test.js", '// contract: 7 URLs\ntest("x", () => {'),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_marker_at_a_wrong_place_is_an_error(words: str, tmp_path: Path) -> None:
    name, source = WRONG[words]
    (tmp_path / name).write_text(source)
    with pytest.raises(AssertionError, match=words):
        read(tmp_path)


def test_facts_come_in_order_and_markdown_shows_them_as_they_are() -> None:
    contract = {"7 URLs": {"b_*": ["test_b"], "10 b": ["test_b", "test_a"], "9 `b_*`": ["test_b"]}}
    assert table(contract) == (
        "### 7 URLs\n\n| Fact | Shown by |\n| --- | --- |\n"
        "| 9 `b_*` | `test_b` |\n| 10 b | `test_a`, `test_b` |\n| b\\_\\* | `test_b` |\n"
    )
