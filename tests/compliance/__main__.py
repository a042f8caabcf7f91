"""Examines the echo site with AutobahnTestSuite; succeeds where every case is OK or informational."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import ws4redis
from tests.compliance import report
from tests.compliance.setups import NGINX, SETUPS
from tests.compliance.wstest import CACHE, Missing, WSTest, find_python
from tests.servers import ROOT, Server, Valkey

#: all that the suite has; 8 and 11 are empty
SECTIONS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.*", "13.*"]
DOCS_TABLE = ROOT / "docs/topics/compliance-table.txt"


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.compliance", description=__doc__)
    parser.add_argument("--cases", default=",".join(SECTIONS), help="such as 1.*,2.3")
    parser.add_argument("--setups", default=",".join(SETUPS), help="some of %(default)s")
    parser.add_argument("--python", help="a CPython 2.7; else WSTEST_PYTHON, python2.7 or one of pyenv's")
    parser.add_argument("--report", type=Path, default=CACHE / "report", help="the folder for it, which is emptied")
    parser.add_argument("--docs", action="store_true", help="write the table of the docs, too")
    parser.add_argument("--strict", action="store_true", help="fail where CPython 2.7 or nginx is missing")
    options = parser.parse_args()
    cases, setups = options.cases.split(","), options.setups.split(",")
    if unknown := set(setups) - set(SETUPS):
        parser.error(f"no such set-up: {', '.join(unknown)}")
    if options.docs and (cases, setups) != (SECTIONS, list(SETUPS)):
        parser.error("the docs show all cases and set-ups")

    missing = []
    try:
        wstest = WSTest(find_python(options.python))
    except Missing as error:
        missing, setups = [f"all: {error}"], []
    if "nginx" in setups and NGINX is None:
        missing.append("nginx: it is not installed")
        setups.remove("nginx")
    for each in missing:
        print("skipped:", each)
    if missing and (options.strict or options.docs):
        return 1
    if not setups:
        return 0

    folder: Path = options.report.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = time.monotonic()
    examine(wstest, setups, cases, folder)

    about = wstest.about(cases)
    results = report.read(folder, setups, about.cases)
    bad = report.bad(results)
    table = report.table(results, about.sections)
    summary = {
        "versions": versions(about.version, setups),
        "seconds": round(time.monotonic() - start),
        "counts": report.count(results),
        "bad": [each._asdict() for each in bad],
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=2))
    (folder / "table.md").write_text(table)
    if options.docs:
        used = ", ".join(f"{name} {number}" for name, number in summary["versions"].items())
        DOCS_TABLE.write_text(f"{table}\nWith {used}.\n")

    print(f"\n{table}")
    for each in bad:
        print(f"{each.setup} {each.case}: {each.behavior}, close {each.close}  {each.page}")
    print(f"{len(results) - len(bad)} of {len(results)} are good, after {summary['seconds']} s; {folder}/index.html")
    return 1 if bad else 0


def examine(wstest: WSTest, setups: list[str], cases: list[str], folder: Path) -> None:
    """The report of the suite and the servers' logs go into the folder."""
    servers: dict[str, Server] = {}
    with ExitStack() as stack:
        redis = stack.enter_context(Valkey())
        for name in setups:
            servers[name] = stack.enter_context(SETUPS[name](redis.url))
        try:
            wstest.run(servers, cases, folder)
        finally:
            for name, server in servers.items():
                (folder / f"{name}.log").write_text(server.log())


def versions(suite: str, setups: list[str]) -> dict[str, str]:
    found = {"AutobahnTestSuite": suite, "ws4redis": ws4redis.__version__, "CPython": sys.version.split()[0]}
    found.update({name: version(name) for name in ("Django", "gevent", "pyuwsgi")})
    if "nginx" in setups:
        told = subprocess.run([NGINX, "-v"], check=True, capture_output=True, text=True).stderr
        found["nginx"] = told.strip().rpartition("/")[2]
    return found


if __name__ == "__main__":
    sys.exit(main())
