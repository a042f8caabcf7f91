"""Locks by which workers know that others accept; test_reload shows the rest."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ROOT
from ws4redis.uwsgi.drain import AcceptLocks

ANOTHER_WORKER = """
import sys
from ws4redis.uwsgi.drain import AcceptLocks
accept_locks = AcceptLocks(int(sys.argv[1]), 2)
for line in map(str.strip, sys.stdin):
    if line == "leave":
        accept_locks.release()
    print(line, flush=True)
"""


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        yield listening


@pytest.mark.parametrize("how", ["leave", "be killed"])
def test_another_worker_accepts_until_it_leaves(listening: socket.socket, how: str) -> None:
    mine = AcceptLocks(listening.fileno(), 1)
    mine.release()
    assert not mine.others_accept()
    command = [sys.executable, "-c", ANOTHER_WORKER, str(listening.fileno())]
    with subprocess.Popen(
        command, cwd=ROOT, pass_fds=[listening.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as another:
        assert another.stdin is not None and another.stdout is not None
        print("accept", file=another.stdin, flush=True)
        assert another.stdout.readline() == "accept\n"
        assert mine.others_accept()
        if how == "leave":
            print("leave", file=another.stdin, flush=True)
            assert another.stdout.readline() == "leave\n"
        else:
            another.kill()
            another.wait()
        assert not mine.others_accept()


def test_where_nothing_can_be_locked_nobody_accepts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    descriptor = os.open(tmp_path, os.O_PATH)
    accept_locks = AcceptLocks(descriptor, 1)
    accept_locks.release()
    assert not accept_locks.others_accept()
    assert "draining without batches" in caplog.text
    os.close(descriptor)
