"""A PostgreSQL of our own, from Debian's package; where that is missing, its tests skip."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server


def _programs() -> Path:
    """The folder with the programs of the newest version installed."""
    folders = [each.parent for each in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not folders:
        pytest.skip("postgresql is not installed")
    return max(folders, key=lambda each: float(each.parent.name))


class PostgreSQL(Server):
    """A new cluster on a free port; its only database is postgres, its superuser too, and nobody needs a password."""

    def __init__(self) -> None:
        self._psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
        self._programs = _programs()
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="ws4redis-postgresql-"))

    def _run_by(self) -> list[str]:
        """PostgreSQL refuses to be run by root."""
        if os.geteuid():
            return []
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]

    def start(self) -> None:
        if self._run_by():
            shutil.chown(self._folder, "postgres", "postgres")
        options = f"--pgdata {self._folder} --auth trust --username postgres --encoding UTF8 --locale C --no-sync"
        made = [*self._run_by(), str(self._programs / "initdb"), *options.split()]
        subprocess.run(made, cwd="/", check=True, stdout=subprocess.DEVNULL)
        super().start()

    def command(self) -> list[str]:
        options = f"-D {self._folder} -p {self.port} -F -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        return [*self._run_by(), str(self._programs / "postgres"), *options.split()]

    def answers(self) -> bool:
        try:
            return super().answers() and self.ask("SELECT true")
        except self._psycopg.OperationalError:
            return False

    def stop(self, number: int = signal.SIGINT) -> None:
        """At once; SIGTERM would wait for those who are connected."""
        super().stop(number)

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        shutil.rmtree(self._folder)

    @property
    def settings(self) -> dict[str, Any]:
        """For Django's DATABASES."""
        place = {"HOST": "127.0.0.1", "PORT": self.port, "USER": "postgres", "NAME": "postgres"}
        return {"ENGINE": "django.db.backends.postgresql", **place}

    def connect(self) -> Any:
        return self._psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres")

    def ask(self, query: str) -> Any:
        """The one value of the answer."""
        with self.connect() as connection:
            return connection.execute(query).fetchone()[0]
