"""The pages as they are read: they show only what a test runs, they build, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.docs import test_howto, test_tables, test_tutorial  # noqa: F401  they fill RUN
from tests.docs.pages import DOCS, EXAMPLES, HOWTO, PAGES, README, RUN, SAMPLES, TUTORIAL, blocks, included
from tests.servers import ROOT

if TYPE_CHECKING:
    from tests.chromium import Window

    OpenWindow = Callable[..., Window]

#: what no test can run: drawings and output
NOT_CODE = {"text"}
DIRECTIVES = {"{eval-rst}", "{include}", "{literalinclude}", "{toctree}"}

#: pages outside the docs
OUTSIDE = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "examples/README.md",
    "stress-tests/README.md",
]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_pages_show_tested_files_only(page: Path) -> None:
    for block in blocks(page):
        assert block.info in DIRECTIVES | NOT_CODE, f"not tested: {block.lines}"
    for path in included(page):
        assert path.is_file()
        assert path in RUN or path.is_relative_to(EXAMPLES)


def test_every_sample_is_run_and_shown() -> None:
    samples = {path for path in SAMPLES.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert samples - {SAMPLES / "tutorial/mysite/__init__.py"} == RUN
    assert {path for page in PAGES for path in included(page)} >= RUN


def test_every_function_of_a_sample_is_shown() -> None:
    for path in HOWTO.glob("*.py"):
        defined = {node.name for node in ast.parse(path.read_text()).body if hasattr(node, "name")}
        shown = [block for page in PAGES for block in blocks(page) if path.name in block.argument]
        if all(block.lines for block in shown):  # else the whole file is
            assert defined == {line.removeprefix(":pyobject: ") for block in shown for line in block.lines}


def pieces(path: Path, size: int) -> Iterator[str]:
    """All runs of so many lines of a file, without their common indentation."""
    lines = path.read_text("utf-8").splitlines()
    for start in range(len(lines) - size + 1):
        yield dedent("\n".join(lines[start : start + size]))


def test_the_readme_shows_pieces_of_samples() -> None:
    shown = [block for block in blocks(README) if block.info not in {*NOT_CODE, "sh"}]
    for block in shown:
        code = "\n".join(block.lines)
        assert any(code in pieces(path, len(block.lines)) for path in RUN), f"in no sample:\n{code}"


def test_the_readme_shows_all_files_of_the_tutorial() -> None:
    shown = ["\n".join(block.lines) for block in blocks(README)]
    for path in included(TUTORIAL):
        if path.name not in ("shell.sh", "settings.py.addition"):
            content = path.read_text("utf-8").strip()
            assert any(content in block for block in shown), f"not in the README: {path.name}"


TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_commands_of_the_readme_exist() -> None:
    known = {f"make {target}" for target in TARGETS}
    known |= {line for path in included(TUTORIAL) if path.suffix == ".sh" for line in path.read_text().splitlines()}
    for block in blocks(README):
        if block.info == "sh":
            assert set(block.lines) <= known


@pytest.mark.parametrize("page", OUTSIDE)
def test_commands_and_links_outside_the_docs(page: str) -> None:
    path = ROOT / page
    text = path.read_text("utf-8")
    assert set(re.findall(r"`make (\w+)", text)) <= TARGETS
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert "://" in link or (path.parent / link).is_file(), link


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/topics/architecture.md"])
def test_files_that_are_named_exist(page: str) -> None:
    """Below the package, or below the project."""
    names = re.findall(r"`([\w./*-]+(?:/|\.py|\.lua|\.md))`", (ROOT / page).read_text("utf-8"))
    assert names
    missing = [each for each in names if not any(any(top.glob(each.rstrip("/"))) for top in (ROOT / "ws4redis", ROOT))]
    assert missing == []


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built as `make docs` does."""
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("docs")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-b",
        "html",
        "-d",
        folder / "doctrees",
        DOCS,
        folder / "html",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_sphinx_builds_without_a_warning(html: Path) -> None:
    reference = (html / "reference/python.html").read_text()
    assert 'id="ws4redis.uwsgi_runserver.uWSGIWebsocketServer"' in reference


def test_links_between_pages_lead_somewhere(html: Path) -> None:
    """Sphinx looks after pages and headings, but not after what is written as HTML or linked as a file."""
    pages = [html / page.relative_to(DOCS).with_suffix(".html") for page in PAGES]
    ids = {page: set(re.findall(r'id="([^"]+)"', page.read_text())) for page in [*pages, html / "genindex.html"]}
    for page in pages:
        main = page.read_text().partition("<article")[2].partition("</article>")[0]
        for link in re.findall(r'href="([^"]+)"', main):
            path, _, anchor = link.partition("#")
            if "://" in path:
                continue
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), f"{page.name} links to {link}"
            assert not anchor or anchor in ids[target], f"{page.name} links to {link}"


#: pages with a table of so many columns that it must be scrolled on a phone
WIDE = {"compliance.html", "performance.html"}


def test_pages_fit_a_phone(html: Path, open_window: OpenWindow) -> None:
    window = open_window((html / "index.html").as_uri())
    window.resize(390, 844)
    wide = (
        "return [...document.querySelectorAll('.table-wrapper')].some(each => each.scrollWidth > each.clientWidth + 1)"
    )
    scrolled = set()
    for page in PAGES:
        path = html / page.relative_to(DOCS).with_suffix(".html")
        window.open(path.as_uri())
        assert window.script("return document.documentElement.scrollWidth") <= 390, f"{path.name} is too wide"
        if window.script(wide):
            scrolled.add(path.name)
    assert scrolled <= WIDE
