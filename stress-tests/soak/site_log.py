"""What the server says: what was expected, and all else."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from soak.promises import Promises

_OURS = re.compile(r"(\d+) (\S+) (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)")
_AWAY = "Redis connection lost, websockets stay open and wait: "
_BACK = "Redis connection restored, all channels are subscribed again"
#: uWSGI's, when a worker is killed
_KILLED = re.compile(r"DAMN ! worker \d+ \(pid: (\d+)\) died, killed by signal 9 :\( trying respawn \.\.\.")
_SUSPICIOUS = re.compile(
    r"traceback|error|warning|exception|fail|unable|can't|cannot|denied|died|damn|fatal|abort|segmentation|"
    r"queue|broken|leak|lost|dirty|timeout|no mercy|will not",
    re.IGNORECASE,
)
#: uWSGI's, at its start and after each reload
_HARMLESS = re.compile(r"WARNING: you are running uWSGI as root|uWSGI running as root")


class SiteLog:
    """Read from time to time."""

    def __init__(self, path: Path, promises: Promises) -> None:
        self._path = path
        self._promises = promises
        self._read = 0
        #: how often each process has said that Redis is away
        self.away: Counter[int] = Counter()
        self.lines: Counter[str] = Counter()
        #: workers that were killed, and may be missed
        self.killed: set[int] = set()

    def read(self) -> None:
        with self._path.open("rb") as log:
            log.seek(self._read)
            new, newline, _ = log.read().rpartition(b"\n")
        self._read += len(new) + len(newline)
        for line in new.decode("utf-8", "replace").splitlines():
            self._judge(line)

    def _judge(self, line: str) -> None:
        ours, killed = _OURS.fullmatch(line), _KILLED.fullmatch(line)
        if ours is not None and ours[4].startswith(_AWAY):
            self.away[int(ours[1])] += 1
            self.lines["Redis is away"] += 1
        elif ours is not None and ours[4] == _BACK:
            self.lines["Redis is back"] += 1
        elif killed is not None and int(killed[1]) in self.killed:
            self.lines["a worker died"] += 1
        elif ours is not None or (_SUSPICIOUS.search(line) and not _HARMLESS.search(line)):
            self._promises.log.break_(line)
            return
        self._promises.log.checks += 1
