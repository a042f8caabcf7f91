"""Browsers for the tests, one at a time and by the thousand."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.servers import UWSGI


def get(site: UWSGI, path: str) -> str:
    with urllib.request.urlopen(site.url(path), timeout=60) as response:
        return response.read().decode()


def counts(site: UWSGI) -> dict[str, Any]:
    return json.loads(get(site, "/counts"))


def log_in(site: UWSGI, name: str) -> str:
    """The session key of a fresh login."""
    return get(site, f"/login/{name}")


def all_counts(site: UWSGI) -> dict[int, dict[str, Any]]:
    """The counts of every worker, by number."""
    found: dict[int, dict[str, Any]] = {}
    while len(found) < site.options["workers"]:
        answer = counts(site)
        found[answer["worker"]] = answer
    return found
