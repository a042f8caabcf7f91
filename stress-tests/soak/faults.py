"""Breaks things, waits until they are mended, and compares what the server has said about it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from soak.ledger import Ledger
from soak.promises import Failed
from soak.schedule import Fault
from soak.site_log import SiteLog
from soak.troubles import Season, Troubles
from soak.watch import Watch
from soak.website import WORKERS, Website
from tests.servers import Valkey

#: within which all must be well again
_PATIENCE_SECONDS = 90.0


class Faults:
    def __init__(
        self, valkey: Valkey, site: Website, ledger: Ledger, troubles: Troubles, watch: Watch, log: SiteLog
    ) -> None:
        self._valkey = valkey
        self._site = site
        self._ledger = ledger
        self._troubles = troubles
        self._watch = watch
        self._log = log
        #: one fault of Redis after the other, so that each can be blamed for what it did
        self._redis = asyncio.Lock()
        self._workers = asyncio.Lock()
        #: the longest time from the end of a fault until all was well, by the name of the fault
        self.longest: dict[str, float] = {}

    async def inflict(self, name: str, fault: Fault) -> None:
        self._ledger.counts[f"fault: {name}"] += 1
        if name in _REDIS:
            async with self._redis:
                await self._break_redis(name, fault)
        else:
            async with self._workers:
                await self._break_workers(name, fault)

    async def all_well(self, name: str, season: Season) -> None:
        begin = time.monotonic()
        while not season.well and time.monotonic() < begin + _PATIENCE_SECONDS:
            await asyncio.sleep(0.05)
        took = time.monotonic() - begin
        self._ledger.promises.back.check(season.well, f"still not well {took:.0f} s after {name}")
        self.longest[name] = max(self.longest.get(name, 0.0), took)

    # Redis

    async def _break_redis(self, name: str, fault: Fault) -> None:
        self._log.read()
        said, healthy = self._log.away.copy(), {pid for pid in self._site.pids() if pid in self._watch.heard}
        window = self._ledger.fault_of_redis(name)
        self._troubles.redis.begin()
        await _REDIS[name](self, fault.away)
        self._troubles.redis.finish(self._site.pids())
        await self.all_well(name, self._troubles.redis)
        self._log.read()
        told = Counter({pid: times - said[pid] for pid, times in self._log.away.items()})
        window.told = told.total()
        self._compare(name, told, healthy.intersection(self._site.pids()))

    def _compare(self, name: str, told: Counter[int], stayed: set[int]) -> None:
        loud = self._ledger.promises.loud
        for pid, times in told.items():
            loud.check(times <= 1, f"worker {pid} said {times} times that Redis is away, {name}")
        if name != "redis-hangs":
            for pid in stayed:
                loud.check(told[pid] == 1, f"worker {pid} said {told[pid]} times that Redis is away, {name}")

    async def _kill_redis(self, away: float) -> None:
        await self._restart_redis(away, signal.SIGKILL)

    async def _stop_redis(self, away: float) -> None:
        await self._restart_redis(away, signal.SIGTERM)

    async def _restart_redis(self, away: float, number: int) -> None:
        """It comes back empty."""
        self._troubles.away_since = time.monotonic()
        await asyncio.to_thread(self._valkey.stop, number)
        await asyncio.sleep(away)
        self._troubles.away_since = None
        await asyncio.to_thread(self._valkey.start)

    async def _hang_redis(self, away: float) -> None:
        self._troubles.away_since = time.monotonic()
        self._valkey.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(away)
        finally:
            self._troubles.away_since = None
            self._valkey.send_signal(signal.SIGCONT)

    async def _cut_subscriptions(self, _away: float) -> None:
        await asyncio.to_thread(lambda: self._valkey.client().client_kill_filter(_type="pubsub"))

    # workers

    async def _break_workers(self, name: str, fault: Fault) -> None:
        before = await self._both_workers()
        self._troubles.confirmed = self._ledger.confirmed
        self._troubles.workers.begin()
        if name in _MASTER:
            ended = before
            _MASTER[name](self._site)
        else:
            ended = [before[fault.worker]]
            if name == "worker-killed":
                self._log.killed.add(ended[0])
            os.kill(ended[0], _WORKER[name])
        await self._gone(name, set(ended))
        self._troubles.workers.finish(await self._both_workers())
        await self.all_well(name, self._troubles.workers)

    async def _gone(self, name: str, ended: set[int]) -> None:
        begin = time.monotonic()
        while ended.intersection(self._site.pids()):
            if time.monotonic() > begin + _PATIENCE_SECONDS:
                raise Failed(f"{ended} still run {_PATIENCE_SECONDS:.0f} s after {name}")
            await asyncio.sleep(0.05)

    async def _both_workers(self) -> list[int]:
        begin = time.monotonic()
        while len(pids := self._site.pids()) != WORKERS:
            if time.monotonic() > begin + _PATIENCE_SECONDS:
                raise Failed(f"there are {len(pids)} workers")
            await asyncio.sleep(0.05)
        return pids


_REDIS: dict[str, Callable[[Faults, float], Awaitable[None]]] = {
    "redis-killed": Faults._kill_redis,
    "redis-stopped": Faults._stop_redis,
    "redis-hangs": Faults._hang_redis,
    "subscriptions-cut": Faults._cut_subscriptions,
}
_WORKER = {"worker-killed": signal.SIGKILL, "worker-HUP": signal.SIGHUP, "worker-TERM": signal.SIGTERM}
_MASTER: dict[str, Callable[[Website], None]] = {
    "master-HUP": lambda site: site.send_signal(signal.SIGHUP),
    "touch-reload": Website.touch,
}
