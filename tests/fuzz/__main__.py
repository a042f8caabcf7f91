"""The runner; see the package."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.fuzz import HERE, TARGETS, corpus_of

FOUND = HERE.parent.parent / "build" / "fuzz"

#: bytes of one input
MAX_SIZE = 4096


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; by default all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="minimise the corpus, with what was found")
    parser.add_argument("--input", type=Path, help="check only this")
    arguments = parser.parse_args()
    targets = arguments.targets or TARGETS
    if not set(targets) <= set(TARGETS):
        parser.error(f"the targets are {', '.join(TARGETS)}")
    if arguments.input is not None:
        with prepared(targets[0]) as target:
            target.check(arguments.input.read_bytes())
        return
    failed = [name for name in targets if not supervise(name, arguments.seconds)]
    if arguments.keep and not failed:
        for name in targets:
            minimise(name)
    sys.exit(bool(failed))


@contextmanager
def prepared(name: str) -> Iterator[Any]:
    """The module of a target, in its surroundings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site.settings")
    import django

    django.setup()
    from tests.fuzz.application import surroundings  # needs the apps

    target = import_module(f"tests.fuzz.{name}")
    with surroundings(target):
        yield target


def fuzz(name: str, options: list[str]) -> None:
    """In a process of its own, for libFuzzer ends it."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed; `make fuzz` does that, where there is a wheel for this Python")
    with atheris.instrument_imports(include=["ws4redis"]), prepared(name) as target:
        # how it calls itself, to minimise
        program = f"{sys.executable} -m tests.fuzz --libfuzzer {name}"
        atheris.Setup([program, *options], target.check)
        atheris.Fuzz()


def supervise(name: str, seconds: int) -> bool:
    """Whether all went well."""
    found = FOUND / name
    inputs = found / "corpus"
    inputs.mkdir(parents=True, exist_ok=True)
    with prepared(name) as target:
        for seed, data in target.seeds().items():
            (inputs / f"seed-{seed}").write_bytes(data)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={found}/", "-print_final_stats=1"]
    with (found / "log.txt").open("w+", encoding="utf-8", errors="replace") as log:
        status = libfuzzer(name, [*options, str(inputs), str(corpus_of(name))], log)
        log.seek(0)
        text = log.read()
    if status:
        print(text[-5000:])
    print(f"{name:10} {summary(text)}{' FAILED' if status else ''}", flush=True)
    return not status


def libfuzzer(name: str, options: list[str], output: Any) -> int:
    command = [sys.executable, "-m", "tests.fuzz", "--libfuzzer", name, f"-max_len={MAX_SIZE}", *options]
    return subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode


def summary(log: str) -> str:
    progress = re.findall(r"(INITED|\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)", log)
    executions = re.search(r"number_of_executed_units: (\d+)", log)
    seconds = re.search(r"Done \d+ runs in (\d+) second", log)
    if not progress or not executions:
        return "nothing was executed"
    begun = next((edges for event, edges, *_ in progress if event == "INITED"), "?")
    _, edges, features, inputs = progress[-1]
    return (
        f"{int(executions[1]):,} executions in {seconds[1] if seconds else '?'} s, "
        f"edges {begun} -> {edges}, features {features}, inputs {inputs}"
    )


def minimise(name: str) -> None:
    """Keep the fewest inputs that reach all the code that was reached."""
    corpus = corpus_of(name)
    with tempfile.TemporaryDirectory() as kept:
        options = ["-set_cover_merge=1", "-use_counters=0", kept, str(FOUND / name / "corpus"), str(corpus)]
        if libfuzzer(name, options, subprocess.DEVNULL):
            sys.exit(f"the corpus of {name} was not minimised")
        for old in corpus.iterdir():
            old.unlink()
        for new in Path(kept).iterdir():
            shutil.copyfile(new, corpus / new.name)
    print(f"{name:10} {len(list(corpus.iterdir()))} inputs are kept")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--libfuzzer"]:
        fuzz(sys.argv[2], sys.argv[3:])
    main()
