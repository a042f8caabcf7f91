"""Many browsers at once: all are served, nothing grows with them that should not, and everything is given back."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.browsers import all_counts, log_in
from tests.servers import UWSGI, Valkey, wait_for

BROWSERS = 1000


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A Redis to which nobody else connects."""
    with Valkey() as server:
        yield server


@pytest.fixture(scope="module", params=[(1, True), (2, False)], ids=["1 worker", "2 workers without io_uring"])
def crowded(request: pytest.FixtureRequest, valkey: Valkey, database: Any) -> Iterator[UWSGI]:
    workers, io_uring = request.param
    options = {"workers": workers, "gevent": 100}
    io_uring_setting = {"WS4REDIS_IO_URING": json.dumps(io_uring)}
    slow = {"SESSION_ENGINE": "tests.site.slow_sessions", "SESSION_SECONDS": "0.1", "WS4REDIS_THREADS": "32"}
    with UWSGI(valkey.url, options, DATABASE=str(database), **slow, **io_uring_setting) as server:
        yield server


async def gather_browsers(site: UWSGI, path: str, count: int, **options: Any) -> list[ClientConnection]:
    url = site.url(path, "ws")
    options = {"open_timeout": 120, "compression": None, "ping_interval": None, **options}
    return list(await asyncio.gather(*(connect(url, **options) for _ in range(count))))


async def close_all(browsers: list[ClientConnection]) -> None:
    await asyncio.gather(*(each.close() for each in browsers))


async def two_messages(browser: ClientConnection) -> tuple[Any, Any]:
    return await asyncio.wait_for(browser.recv(), 60), await asyncio.wait_for(browser.recv(), 60)


def subscribers(valkey: Valkey) -> tuple[int, int]:
    """How many connections subscribe, and how many others there are."""
    clients = valkey.client().client_list()
    subscribing = [each for each in clients if int(each["sub"])]
    return len(subscribing), len(clients) - len(subscribing)


def total(site: UWSGI, name: str) -> int:
    return sum(each[name] for each in all_counts(site).values())


@pytest.mark.contract(
    "14 manual: 14 one descriptor for each websocket, and one subscription for each process",
    "14 manual: 17 what is published after many have subscribed reaches all",
    "asks scale: #295: a Redis connection for each websocket",
    "asks scale: #79: reloading a page uses up all connections to Redis",
    "differs from 0.6: connections to Redis",
    "differs from 0.6: how many websockets",
)
def test_a_thousand_browsers_connect_at_once(crowded: UWSGI, valkey: Valkey) -> None:
    workers = crowded.options["workers"]
    key = log_in(crowded, "john")
    facility = uuid.uuid4().hex
    path = f"/ws/{facility}?subscribe-broadcast&subscribe-user&subscribe-group&subscribe-session"
    # what a worker opens once (threads with their loops, Redis, the database) is open after the first crowd
    for counted in (False, True):
        before = total(crowded, "descriptors")

        async def visit(counted: bool = counted, before: int = before) -> None:
            browsers = await gather_browsers(crowded, path, BROWSERS, additional_headers={"Cookie": f"sessionid={key}"})
            assert valkey.client().publish(f"broadcast:{facility}", "hello") == workers
            assert valkey.client().publish(f"user:john:{facility}", "end") == workers
            received = await asyncio.gather(*(two_messages(each) for each in browsers))
            assert Counter(received) == {("hello", "end"): BROWSERS}
            if counted:
                subscribing, others = await asyncio.to_thread(subscribers, valkey)
                assert subscribing == workers
                assert others <= workers * (16 + 32 + 2) + 2
                opened = await asyncio.to_thread(total, crowded, "descriptors") - before
                print(f"{opened / BROWSERS:.3f} descriptors for each of {BROWSERS} browsers")
                # a few others come and go
                assert BROWSERS * 0.99 <= opened <= BROWSERS * 1.02
                assert await asyncio.to_thread(total, crowded, "connections") == BROWSERS
            await close_all(browsers)

        asyncio.run(visit())
        wait_for(lambda: total(crowded, "connections") == 0, "no connection is left")
        wait_for(lambda: total(crowded, "channels") == 0, "no channel is left")
    wait_for(lambda: total(crowded, "descriptors") <= before + 4 * workers, f"descriptors are back at {before}")


@pytest.mark.contract(
    "11.3 order: decided: all that a browser sends arrives complete and in order, too",
    "asks delivery: uwsgi #1241, #1716, flask-uwsgi-websocket #47, #48: of messages sent at once the first arrives",
)
def test_a_thousand_messages_in_the_same_moment(crowded: UWSGI) -> None:
    facility = uuid.uuid4().hex

    async def visit() -> None:
        [listener] = await gather_browsers(crowded, f"/ws/{facility}?subscribe-broadcast", 1, max_queue=None)
        senders = await gather_browsers(crowded, f"/ws/{facility}?publish-broadcast", BROWSERS)
        await asyncio.gather(*(each.send(str(number)) for number, each in enumerate(senders)))
        received = [await asyncio.wait_for(listener.recv(), 60) for _ in senders]
        assert sorted(received, key=int) == [str(number) for number in range(BROWSERS)]
        await close_all([listener, *senders])

    asyncio.run(visit())


@pytest.mark.contract(
    "8.2 order: decided: all that has arrived is handled, in both directions",
    "11.3 order: decided: each channel arrives complete and in order, in bursts, too",
    "asks delivery: #2, redis-py #419: the rest of a burst comes with the next message",
    "asks delivery: #268: messages get lost",
    "differs from 0.6: bursts",
)
def test_a_burst_arrives_complete_and_in_order(crowded: UWSGI, valkey: Valkey) -> None:
    facility = uuid.uuid4().hex
    messages = [str(number) for number in range(5000)]

    async def visit() -> None:
        browsers = await gather_browsers(crowded, f"/ws/{facility}?subscribe-broadcast", 50, max_queue=None)

        def publish() -> None:
            with valkey.client().pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.publish(f"broadcast:{facility}", message)
                pipeline.execute()

        async def receive(browser: ClientConnection) -> list[Any]:
            return [await asyncio.wait_for(browser.recv(), 60) for _ in messages]

        await asyncio.to_thread(publish)
        for received in await asyncio.gather(*map(receive, browsers)):
            assert received == messages
        await close_all(browsers)

    asyncio.run(visit())


def test_hooks_and_browsers_share_the_publishing_connections(valkey: Valkey, database: Any) -> None:
    """A hook runs in a thread, what a browser says is published in the loop; gevent's sockets belong to one of them."""
    hook = {"WS4REDIS_ALLOWED_CHANNELS": '"tests.site.hooks.says_who_comes"', "WS4REDIS_MAX_CONNECTIONS": "4"}
    with UWSGI(valkey.url, DATABASE=str(database), **hook) as site:

        async def visit() -> None:
            [ear] = await gather_browsers(site, "/ws/doorman?subscribe-broadcast", 1, max_queue=None)
            for _ in range(5):
                senders = await gather_browsers(site, "/ws/doorman?publish-broadcast", 50)
                await asyncio.gather(*(each.send("hello") for each in senders))
                received = Counter([await asyncio.wait_for(ear.recv(), 60) for _ in range(100)])
                # the ear's own coming may be among them
                assert abs(received["somebody"] - 50) <= 1 and received.total() == 100
                await close_all(senders)

        asyncio.run(visit())
        assert "Traceback" not in site.log()
