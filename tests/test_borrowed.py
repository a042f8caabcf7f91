"""Private names of gevent, redis-py and Django: a version that has moved one says so where it is imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT

SOURCES = {path: ast.parse(path.read_text()) for path in (ROOT / "ws4redis").rglob("*.py")}

WITHOUT_A_METHOD = "import {module}; del {module}.{kind}.{name}"
#: what only instances have
WITHOUT_AN_ATTRIBUTE = """
import {module}
made = {module}.{kind}.__init__
def make(self, *args, **options):
    made(self, *args, **options)
    del self.{name}
{module}.{kind}.__init__ = make
"""

# package, where the name is private, how it goes away, which of our modules is imported
MOVED = [
    ("gevent", "gevent._socketcommon", "SocketMixin", "_wait", WITHOUT_A_METHOD, "runtime.gevent_patches"),
    (
        "gevent",
        "gevent._socketcommon",
        "SocketMixin",
        "_drop_events_and_close",
        WITHOUT_A_METHOD,
        "runtime.gevent_patches",
    ),
    ("gevent", "gevent._socketcommon", "SocketMixin", "_read_event", WITHOUT_A_METHOD, "runtime.gevent_patches"),
    ("gevent", "gevent._socketcommon", "SocketMixin", "_write_event", WITHOUT_A_METHOD, "runtime.gevent_patches"),
    ("redis", "redis.connection", "ConnectionPool", "_checkpid", WITHOUT_A_METHOD, "broker.client"),
    ("redis", "redis.connection", "Connection", "_sock", WITHOUT_AN_ATTRIBUTE, "broker.client"),
    ("redis", "redis.connection", "Connection", "_parser", WITHOUT_AN_ATTRIBUTE, "broker.client"),
]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("package", "module", "kind", "name", "moved", "ours"), MOVED, ids=[f"{row[0]} {row[3]}" for row in MOVED]
)
def test_a_name_has_moved(package: str, module: str, kind: str, name: str, moved: str, ours: str) -> None:
    done = run(moved.format(module=module, kind=kind, name=name) + f"\nimport ws4redis.{ours}")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {package} ")
    assert f" has no {module}.{kind}.{name}, which ws4redis uses though it is private. " in last
    assert last.endswith(f"Install an earlier version of {package}, or a later one of ws4redis.")


@pytest.mark.parametrize("ours", sorted({row[-1] for row in MOVED}))
def test_what_is_installed_has_them(ours: str) -> None:
    done = run(f"import ws4redis.{ours}")
    assert done.returncode == 0, done.stderr


def private_names(path: Path) -> set[str]:
    """What is taken from objects of others: attributes that begin with one underscore, which nobody here defines."""
    attributes = (each.attr for each in ast.walk(SOURCES[path]) if isinstance(each, ast.Attribute))
    return {name for name in attributes if name.startswith("_") and not name.startswith("__")} - OUR_OWN


def defined(tree: ast.AST) -> set[str]:
    names = set()
    for each in ast.walk(tree):
        if isinstance(each, (ast.FunctionDef, ast.ClassDef)):
            names.add(each.name)
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            names.add(each.id)
        elif isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store) and ast.unparse(each.value) == "self":
            names.add(each.attr)
    return names


#: and what Python itself has for named tuples, and calls by these names where types are checked; what Django documents
OUR_OWN = set().union(*map(defined, SOURCES.values())) | {"_replace", "_Compress", "_Decompress", "_default_manager"}


def test_whoever_uses_one_says_so() -> None:
    """A name that is missing here would be missed in the middle of a delivery."""
    said = {
        argument.value
        for tree in SOURCES.values()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "must_have"
        for argument in call.args[2:]
        if isinstance(argument, ast.Constant)
    }
    used = {path.name: names for path in SOURCES if (names := private_names(path))}
    assert set(used) == {"gevent_patches.py", "client.py", "uwsgi_runserver.py"}, "one file for each package"
    assert not {name: names - said for name, names in used.items() if names - said}
