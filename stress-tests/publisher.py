"""What ``publish_message`` to ten users costs, beside a bare redis-py pipeline of the same commands, in one run.

    python stress-tests/publisher.py [--messages 2000] [--repeat 5]

The figures are CPU time of the publishing process, medians of several rounds in which the two take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import redis

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import django  # noqa: E402

from tests.servers import Valkey  # noqa: E402

USERS = [f"user{number}" for number in range(10)]
MESSAGE = b"x" * 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with Valkey() as valkey:
        os.environ.update(DJANGO_SETTINGS_MODULE="fanout.site.settings", REDIS_URL=valkey.url, DATABASE=":memory:")
        django.setup()
        ours, bare = publish_message(), pipeline(valkey.client())
        for publish in (ours, bare):
            assert round_trips(valkey.client(), publish) == 1, "all in one round trip"
        costs = [(cost(ours, options.messages), cost(bare, options.messages)) for _ in range(options.repeat)]
    for name, each in zip(("publish_message", "redis-py pipeline"), zip(*costs, strict=True), strict=True):
        print(f"{name:18} {statistics.median(each):6.0f} µs CPU")
    print(f"{'ratio':18} {statistics.median(mine / theirs for mine, theirs in costs):6.2f}")
    return 0


def publish_message() -> Callable[[], object]:
    from ws4redis.publisher import RedisPublisher  # needs the settings

    return lambda: RedisPublisher(facility="news", users=USERS).publish_message(MESSAGE)


def pipeline(client: redis.Redis) -> Callable[[], object]:
    names = [f"user:{name}:news" for name in USERS]

    def publish() -> object:
        with client.pipeline(transaction=True) as commands:
            for name in names:
                commands.execute_command("SETEX", name, 3600, MESSAGE)
                commands.publish(name, MESSAGE)
            return commands.execute()

    return publish


def round_trips(client: redis.Redis, publish: Callable[[], object]) -> int:
    """How often Redis was written to; each of its transactions is sent in one piece."""
    publish()
    before = client.info("commandstats")["cmdstat_exec"]["calls"]
    publish()
    return int(client.info("commandstats")["cmdstat_exec"]["calls"]) - int(before)


def cost(publish: Callable[[], object], messages: int) -> float:
    """Microseconds of CPU for each message."""
    begin = time.process_time()
    for _ in range(messages):
        publish()
    return (time.process_time() - begin) / messages * 1e6


if __name__ == "__main__":
    sys.exit(main())
