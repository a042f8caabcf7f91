"""uWSGI with two workers, that serves ``soak.site``."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from fanout import processes
from fanout.subjects import STRESS_TESTS

from tests.servers import UWSGI, Valkey

WORKERS = 2

#: uWSGI's: requests that are handled at the same time
_CORES = 200


class Website(UWSGI):
    def __init__(self, valkey: Valkey) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="soak-")
        self._touched = Path(self._folder.name) / "reload"
        self._touched.touch()
        options: dict[str, Any] = {
            "module": "soak.site.wsgi",
            "pythonpath": str(STRESS_TESTS),
            "workers": WORKERS,
            "gevent": _CORES,
            "listen": min(4096, processes.listen_limit()),
            "touch-reload": str(self._touched),
            "disable-logging": True,
        }
        super().__init__(valkey.url, options, DJANGO_SETTINGS_MODULE="soak.site.settings")

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__()
        self._folder.cleanup()

    def pids(self) -> list[int]:
        """The workers."""
        assert self.process is not None
        return sorted(processes.children(self.process.pid))

    def touch(self) -> None:
        soon = time.time() + 5  # uWSGI compares whole seconds
        os.utime(self._touched, (max(soon, self._touched.stat().st_mtime + 2),) * 2)
