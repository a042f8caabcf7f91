"""Asks all workers for their health, and knows by that what has reached them."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

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


class Answer(NamedTuple):
    sent: float
    status: int
    pid: int
    healthy: bool
    #: ticks
    silent: int | None

    @property
    def heard(self) -> float:
        """Its canary has come since then; careful: the ticks may have been long ones."""
        if not self.healthy or self.silent is None or time.monotonic() - self.sent > 1:
            return -math.inf
        return self.sent - (self.silent + 1) * _LONGEST_TICK


class Watch:
    def __init__(self, site: Website, ledger: Ledger, troubles: Troubles, log: SiteLog) -> None:
        self._site = site
        self._ledger = ledger
        self._troubles = troubles
        self._log = log
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
            answer = await self._ask()
            if answer is not None:
                self.heard[answer.pid] = max(answer.heard, self.heard.get(answer.pid, -math.inf))
                asked.add(answer.pid)
            if asked >= pids or answer is None:
                break
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

    async def _ask(self) -> Answer | None:
        sent, away_since = time.monotonic(), self._troubles.away_since
        try:
            status, body = await _within(_ANSWER_SECONDS, _get(self._site.port, "/ws/health"))
            figures = json.loads(body)
        except (OSError, ValueError, asyncio.TimeoutError):
            self._ledger.counts["questions for health that were not answered"] += 1
            return None
        answer = Answer(sent, status, figures["pid"], figures["healthy"], figures["seconds_since_canary"])
        self._ledger.counts["answers of health: green" if answer.healthy else "answers of health: red"] += 1
        red = self._ledger.promises.red
        red.check(status == (200 if answer.healthy else 503), f"health says {status} with {figures}")
        if (
            away_since is not None
            and away_since == self._troubles.away_since
            and sent > away_since + _RED_AFTER_SECONDS
        ):
            red.check(status == 503, f"{sent - away_since:.1f} s after Redis went away: {figures}")
        return answer


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
