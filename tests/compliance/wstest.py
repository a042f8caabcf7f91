"""AutobahnTestSuite's program ``wstest``, in an environment of its own: it needs CPython 2.7."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.servers import ROOT, Server

CACHE = ROOT / ".tox/autobahn"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

#: the last that makes environments for Python 2.7
VIRTUALENV = "virtualenv==20.21.1"

_IS_PYTHON_27 = """
import platform, sys
assert (platform.python_implementation(), sys.version_info[:2]) == ("CPython", (2, 7))
print(sys.executable)
"""

_ABOUT = """
import json, sys
from autobahntestsuite import case, caseset, version
cases = caseset.CaseSet(
    case.CaseSetname, case.CaseBasename, case.Cases, case.CaseCategories, case.CaseSubCategories
).parseSpecCases({"cases": sys.argv[1:]})
print(json.dumps([version, case.CaseCategories, cases]))
"""


class Missing(Exception):
    """CPython 2.7 is; says how to get it."""


class About(NamedTuple):
    version: str
    #: title by number
    sections: dict[str, str]
    #: the numbers of those that match
    cases: list[str]


def find_python(given: str | None) -> str:
    """A CPython 2.7: the given one, that of ``WSTEST_PYTHON``, on ``PATH`` or made by pyenv.

    Raises:
        Missing: there is none.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    given = given or os.environ.get("WSTEST_PYTHON")
    candidates = [given] if given else ["python2.7", *map(str, pyenv.glob("versions/2.7*/bin/python2.7"))]
    for candidate in candidates:
        try:
            found = subprocess.run([candidate, "-c", _IS_PYTHON_27], capture_output=True, text=True)
        except OSError:
            continue
        if found.returncode == 0:
            return found.stdout.strip()
    raise Missing(
        f"AutobahnTestSuite needs CPython 2.7, and {', '.join(candidates)} is not or does not run. "
        'Install it ("pyenv install 2.7.18"), or name one with --python or WSTEST_PYTHON.'
    )


class WSTest:
    """``wstest``, installed for this interpreter unless it is already.

    Args:
        python: CPython 2.7.
    """

    def __init__(self, python: str) -> None:
        folder = CACHE / "python2.7"
        self.python = folder / "bin/python"
        stamp = folder / "installed.txt"
        wanted = f"# {python}\n{REQUIREMENTS.read_text()}"
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        print(f"installing AutobahnTestSuite in {folder}", flush=True)
        tool = CACHE / "virtualenv"
        environment = {**os.environ, "PYTHONPATH": str(tool), "VIRTUALENV_OVERRIDE_APP_DATA": str(CACHE / "wheels")}
        pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        make = ["-m", "virtualenv", "--quiet", "--clear", "--no-periodic-update", "--python", python, folder]
        subprocess.run([sys.executable, *pip, "--upgrade", "--target", tool, VIRTUALENV], check=True)
        subprocess.run([sys.executable, *make], check=True, env=environment)
        subprocess.run([self.python, *pip, "-r", REQUIREMENTS], check=True)
        stamp.write_text(wanted)

    def about(self, patterns: list[str]) -> About:
        told = subprocess.run([self.python, "-c", _ABOUT, *patterns], check=True, stdout=subprocess.PIPE).stdout
        return About(*json.loads(told))

    def run(self, servers: dict[str, Server], patterns: list[str], report: Path) -> None:
        """Writes ``index.html``, ``index.json`` and two files per case and server into the folder ``report``."""
        spec = report / "spec.json"
        agents = [{"agent": name, "url": f"ws://127.0.0.1:{each.port}/ws/echo"} for name, each in servers.items()]
        spec.write_text(json.dumps({"outdir": str(report), "servers": agents, "cases": patterns}))
        command = [self.python, "-u", self.python.with_name("wstest"), "-m", "fuzzingclient", "-s", spec]
        began = None
        with (
            (report / "wstest.log").open("w", buffering=1) as log,
            subprocess.Popen(
                command, cwd=report, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    log.write(line)
                    now = re.match(r"Running test case ID (\d+)\S+ for agent (\S+)", line)
                    if now and now.groups() != began:
                        began = now.groups()
                        print("section {} with {}".format(*began), flush=True)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
