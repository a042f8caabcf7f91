"""Asks all workers for their health, and knows by that what has reached them."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from soak.lateness import Lateness
from soak.ledger import Ledger
from soak.site_log import SiteLog
from soak.troubles import Troubles
from soak.website import WORKERS, Website

Result = TypeVar("Result")

_EVERY_SECONDS = 0.5
#: requests until all workers must have been among those who answered
_ATTEMPTS = 12
_ANSWER_SECONDS = 2.0

#: a loop's second may take as long as this on a busy machine
_LONGEST_TICK = 1.5
#: after so long without a canary health must be red
_RED_AFTER_SECONDS = 5.0


class Watch:
    def __init__(self, site: Website, ledger: Ledger, troubles: Troubles, log: SiteLog, lateness: Lateness) -> None:
        self._site = site
        self._ledger = ledger
        self._troubles = troubles
        self._log = log
        self._lateness = lateness
        #: when each process has heard its canary
        self.heard: dict[int, float] = {}

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_SECONDS)

    async def look(self) -> None:
        self._log.read()
        pids = set(self._site.pids())
        asked: set[int] = set()
        for _ in range(_ATTEMPTS):
            pid = await self._ask()
            if pid is None or asked >= pids:
                break
            asked.add(pid)
        self._conclude()

    def _conclude(self) -> None:
        pids = self._site.pids()  # asking has taken its time
        if len(pids) == WORKERS:
            heard = min(self.heard.get(pid, -math.inf) for pid in pids)
            self._ledger.confirmed = max(self._ledger.confirmed, heard)
        for season in (self._troubles.redis, self._troubles.workers):
            season.heal(pids, self.heard)
        if self._troubles.redis.well:
            self._ledger.all_subscribed(time.monotonic())

    async def _ask(self) -> int | None:
        """Whom it asked; None where nobody has answered."""
        sent, away_since = time.monotonic(), self._troubles.away_since
        try:
            status, body = await _within(_ANSWER_SECONDS, _get(self._site.port, "/ws/health"))
            figures = json.loads(body)
        except (OSError, ValueError, asyncio.TimeoutError):
            self._ledger.counts["questions for health that were not answered"] += 1
            return None
        healthy, pid = figures["healthy"], int(figures["pid"])
        self._ledger.counts["answers of health: green" if healthy else "answers of health: red"] += 1
        red = self._ledger.promises.red
        red.check(status == (200 if healthy else 503), f"health says {status} with {figures}")
        if away_since is not None and away_since == self._troubles.away_since:
            away = sent - away_since - self._lateness.since(away_since)
            red.check(away < _RED_AFTER_SECONDS or not healthy, f"{away:.1f} s after Redis went away: {figures}")
        if healthy:
            self.heard[pid] = max(self._heard_since(sent, figures["seconds_since_canary"]), self.heard.get(pid, 0.0))
        return pid

    def _heard_since(self, sent: float, ticks: int) -> float:
        """The canary has come later than this, even if the ticks were long ones."""
        longest = (ticks + 1) * _LONGEST_TICK
        return sent - longest - self._lateness.since(sent - longest)


async def _within(seconds: float, coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Not ``wait_for``, which may swallow that it is cancelled."""
    task = asyncio.ensure_future(coroutine)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        raise asyncio.TimeoutError
    return task.result()


async def _get(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        return int(head.split()[1]), body
    except IndexError:
        raise ValueError("no answer") from None
    finally:
        writer.close()
