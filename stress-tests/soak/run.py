"""Lets happen what the schedule says."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import django
from django.conf import settings
from fanout import processes
from fanout.progress import Progress
from fanout.subjects import running

from soak.bans import Bans
from soak.faults import Faults
from soak.lateness import Lateness
from soak.ledger import Ledger
from soak.promises import Failed, Promises
from soak.publisher import Publisher
from soak.schedule import Action, Ban, Burst, Fault, Leave, Stall, rooms
from soak.site_log import SiteLog
from soak.stopping import run_stoppable
from soak.troubles import Troubles
from soak.visitors import Crowd
from soak.watch import Watch
from soak.website import Website
from tests.servers import Valkey

#: steps of the progress bar
_STEP_SECONDS = 5.0
_PATIENCE_SECONDS = 90.0

#: what may have grown until the end
_MEMORY_FACTOR = 1.5
_MEMORY_BYTES = 10 << 20
_DESCRIPTORS = 10


class Use(NamedTuple):
    """Of the workers, while no websocket is open; the larger of both."""

    memory_bytes: int
    descriptors: int


class Outcome(NamedTuple):
    promises: Promises
    counts: Counter[str]
    #: of the server's log, by kind
    lines: Counter[str]
    #: fault -> seconds until all was well, at most
    longest: dict[str, float]
    before: Use
    after: Use
    #: how late this process itself was at most, in seconds
    late: float
    #: the server's log, kept where a promise was broken
    log: Path | None


def run(actions: Sequence[Action], seconds: float, sockets: int) -> Outcome:
    with running(Valkey()) as valkey, running(Website(valkey)) as site:
        settings.configure(WS4REDIS_CONNECTION=valkey.url, WS4REDIS_TIMEOUT=1, WEBSOCKET_URL="/ws/")
        django.setup()
        try:
            return run_stoppable(Soak(valkey, site, sockets).run(actions, seconds))
        finally:
            # one that hangs would not hear that it shall end
            if valkey.process is not None:
                valkey.send_signal(signal.SIGCONT)


class Soak:
    def __init__(self, valkey: Valkey, site: Website, sockets: int) -> None:
        self._site = site
        self._sockets = sockets
        self._promises = Promises()
        self._ledger = Ledger(self._promises)
        self._troubles = Troubles()
        self._log = SiteLog(site.log_path, self._promises)
        self._lateness = Lateness()
        self._watch = Watch(site, self._ledger, self._troubles, self._log, self._lateness)
        self._faults = Faults(valkey, site, self._ledger, self._troubles, self._watch, self._log)
        self._publisher = Publisher(self._ledger, sockets)
        self._crowd = Crowd(self._ledger, self._troubles, site.port, sockets, self._publisher.greet)
        self._bans = Bans(self._ledger, self._publisher, self._crowd)

    async def run(self, actions: Sequence[Action], seconds: float) -> Outcome:
        """Raises:
        Failed: it did not come to an end.
        """
        script = asyncio.create_task(self._script(actions, seconds))
        endless = [self._watch.run(), self._lateness.run(), *(each.live() for each in self._crowd.visitors)]
        tasks = [script, *map(asyncio.create_task, endless)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # raises what it has raised
            return script.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _script(self, actions: Sequence[Action], seconds: float) -> Outcome:
        progress = Progress(int(seconds / _STEP_SECONDS) + 3)
        progress.begin("all come for the first time")
        await self._all_connected()
        before = await self._use_of_empty()
        progress.begin("all come again")
        await self._all_connected()
        await self._act(actions, progress)
        progress.begin("the last messages")
        await self._last_messages()
        self._log.read()
        after = await self._use_of_empty()
        self._judge_use(before, after)
        progress.end()
        lines, longest = self._log.lines, self._faults.longest
        log = self._keep_log() if any(each.violations for each in self._promises.all()) else None
        return Outcome(self._promises, self._ledger.counts, lines, longest, before, after, self._lateness.most, log)

    def _keep_log(self) -> Path:
        kept = Path(tempfile.mkstemp(prefix="soak-", suffix=".log")[1])
        shutil.copyfile(self._site.log_path, kept)
        return kept

    async def _act(self, actions: Sequence[Action], progress: Progress) -> None:
        begin, shown, under_way = time.monotonic(), 0.0, []
        for action in actions:
            if action.at >= shown:
                progress.begin(f"{len(self._crowd.browsers)} websockets, {self._ledger.counts['messages']} messages")
                shown += _STEP_SECONDS
            await asyncio.sleep(max(0.0, begin + action.at - time.monotonic()))
            under_way.append(asyncio.create_task(self._do(action)))
            under_way = [each for each in under_way if not (each.done() and each.result() is None)]
        await asyncio.gather(*under_way)

    def _do(self, action: Action) -> Coroutine[Any, Any, None]:
        match action.what:
            case Fault():
                return self._faults.inflict(action.name, action.what)
            case Leave():
                return self._crowd.leave(action.what)
            case Stall():
                return self._crowd.stall(action.what)
            case Burst():
                self._ledger.counts[f"{action.name}s"] += 1
                return self._publisher.publish(action.what)
            case Ban():
                return self._bans.inflict(action.what)

    async def _last_messages(self) -> None:
        """All that are there have all that they must have."""
        await self._all_connected()
        for room in range(rooms(self._sockets)):
            await self._publisher.publish(Burst("broadcast", room, 1, 0))
        published = time.monotonic()
        await self._until(lambda: self._ledger.confirmed > published, "canaries after the last messages")
        for each in self._crowd.browsers:
            each.close_accounts(published)
        self._ledger.judge_losses()

    async def _all_connected(self) -> None:
        self._crowd.come()
        await self._until(lambda: self._crowd.staying == self._sockets, "all visitors are connected")
        await self._until(lambda: self._troubles.redis.well and self._troubles.workers.well, "all is well")

    async def _use_of_empty(self) -> Use:
        """Of the workers, when all visitors have left."""
        for each in self._crowd.visitors:
            each.leave(politely=True)
        await self._until(lambda: not self._crowd.browsers, "all visitors have left")
        last = [0, 0]
        while last != (last := sorted(map(_descriptors, self._site.pids()))):
            await asyncio.sleep(1)
        return Use(max(map(processes.memory_bytes, self._site.pids())), max(last))

    def _judge_use(self, before: Use, after: Use) -> None:
        most = before.memory_bytes * _MEMORY_FACTOR + _MEMORY_BYTES
        self._promises.memory.check(after.memory_bytes <= most, f"{after.memory_bytes} bytes, at most {most:.0f}")
        most = before.descriptors + _DESCRIPTORS
        self._promises.descriptors.check(after.descriptors <= most, f"{after.descriptors}, at most {most}")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS + self._sockets / 50
        while not condition():
            if time.monotonic() > end:
                raise Failed(f"waited in vain until {what}; {len(self._crowd.browsers)} websockets are open")
            await asyncio.sleep(0.05)


def _descriptors(pid: int) -> int:
    """Without those of event loops: each of the worker's threads makes one when it is first needed."""
    count = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += not os.readlink(each).startswith("anon_inode:")
    return count
