"""Whatever fails in the loop, once: its promises hold for those who are there and who come, and it ends by itself.

All calls are tried by ``make breaking``; here it is some of them.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import ROOT, Valkey

#: seconds for each kind
SECONDS = 5

#: the calls that fail: this one, and each so many'th after it
FIRST, STEP = 7, 47


@pytest.mark.parametrize("error", ["MemoryError", "OSError"])
@pytest.mark.parametrize("kind", ["gevent", "threads"])
def test_each_call_of_the_loop_may_fail(redis_server: Valkey, kind: str, error: str) -> None:
    command = [sys.executable, "-m", "tests.breaking", kind, error, redis_server.url]
    options = ["--first", str(FIRST), "--step", str(STEP), "--seconds", str(SECONDS)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=300)
    print(f"from call {FIRST} on each {STEP}th:", done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
