"""Browsers that come and go: what one costs does not grow with those who stay, and nobody gets another's messages."""

from __future__ import annotations

import asyncio
import resource
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.browsers import counts, plain_socket
from tests.servers import UWSGI, Valkey, wait_for

PARKED = 4000
VISITORS = 200


@pytest.fixture(scope="module")
def site(redis_server: Valkey, database: Path) -> Iterator[UWSGI]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < PARKED + 1000:
        pytest.skip(f"{PARKED} sockets need a higher limit of descriptors than {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 16) if hard > 0 else 1 << 16, hard))
    with UWSGI(redis_server.url, {"disable-logging": True}, DATABASE=str(database)) as server:
        yield server


def visit(site: UWSGI) -> None:
    """Connect, say something, leave."""
    browser = plain_socket(site, "/ws/visits?publish-broadcast")
    browser.sendall(b"\x81\x82\x00\x00\x00\x00hi\x88\x80\x00\x00\x00\x00")
    while browser.recv(4096):
        pass
    browser.close()


def cpu_of_visits(site: UWSGI) -> float:
    for _ in range(20):
        visit(site)
    before = counts(site)["cpu"]
    for _ in range(VISITORS):
        visit(site)
    return counts(site)["cpu"] - before


def test_a_visit_costs_the_same_among_many(site: UWSGI) -> None:
    with ExitStack() as parked:
        cost = {}
        for count in (100, PARKED):
            while counts(site)["connected"] < count:
                missing = count - counts(site)["connected"]
                for _ in range(missing):
                    parked.enter_context(plain_socket(site, "/ws/parked?subscribe-broadcast"))
            cost[count] = min(cpu_of_visits(site) for _ in range(3))
        for count, seconds in cost.items():
            print(f"{count} parked: {seconds / VISITORS * 1e6:.0f} us of CPU for each visit")
        ratio = cost[PARKED] / cost[100]
        print(f"ratio {ratio:.2f}; at most 2 is promised")
        # where the loop rebuilds its whole set of descriptors for each visitor, this is some 30
        assert ratio < 2 * 2
    wait_for(lambda: counts(site)["connections"] == 0, "all have left")


def test_nobody_gets_a_message_of_another_channel(site: UWSGI, redis_server: Valkey) -> None:
    """Sockets close, and others open on the same descriptors, in the middle of a fan-out to a thousand."""
    name = uuid.uuid4().hex
    wrong: list[Any] = []
    received = {"a": 0, "b": 0}

    async def listen(browser: ClientConnection, channel: str) -> None:
        try:
            async for message in browser:
                received[channel] += 1
                if not str(message).startswith(channel):
                    wrong.append((channel, message))
        except ConnectionClosed:
            pass

    async def open_browser(channel: str) -> tuple[ClientConnection, asyncio.Task[None]]:
        url = site.url(f"/ws/{name}-{channel}?subscribe-broadcast", "ws")
        browser = await connect(url, compression=None, ping_interval=None, open_timeout=60, max_queue=None)
        return browser, asyncio.create_task(listen(browser, channel))

    async def run() -> None:
        staying = await asyncio.gather(*(open_browser("a") for _ in range(1000)))
        changing = list(await asyncio.gather(*(open_browser("b") for _ in range(50))))
        published = asyncio.Event()

        def publish() -> None:
            client = redis_server.client()
            for number in range(300):
                client.publish(f"broadcast:{name}-a", f"a{number}")
                client.publish(f"broadcast:{name}-b", f"b{number}")

        async def change() -> None:
            channels = iter("ab" * 10000)
            while not published.is_set():
                browser, listening = changing.pop(0)
                browser.transport.abort()
                await listening
                changing.append(await open_browser(next(channels)))

        changes = asyncio.create_task(change())
        await asyncio.to_thread(publish)
        published.set()
        await changes
        end = asyncio.get_running_loop().time() + 60
        while received["a"] < 300 * 1000 and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        for browser, _ in [*staying, *changing]:
            browser.transport.abort()

    asyncio.run(run())
    assert not wrong
    assert received["a"] >= 300 * 1000
    wait_for(lambda: counts(site)["connections"] == 0, "all have left")


@pytest.mark.contract("asks scale: #73, #93, #94: memory and files of websockets that are gone")
def test_descriptors_come_back(site: UWSGI) -> None:
    for _ in range(5):
        visit(site)
    wait_for(lambda: counts(site)["connections"] == 0, "all have left")
    before = counts(site)["descriptors"]
    browsers: list[socket.socket] = [plain_socket(site, "/ws/x?subscribe-broadcast") for _ in range(50)]
    wait_for(lambda: counts(site)["descriptors"] == before + 50, f"one descriptor for each, {before} before")
    for browser in browsers:
        browser.close()
    wait_for(lambda: counts(site)["descriptors"] == before, f"{before} descriptors, as before")
    assert counts(site)["channels"] == 0
