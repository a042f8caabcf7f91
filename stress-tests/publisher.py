"""What ``publish_message`` to ten users costs, beside a bare redis-py pipeline that does the same, in one run.

    python stress-tests/publisher.py [--messages 2000] [--repeat 5]

The figures are CPU time of the publishing process, medians of several rounds in which the two take turns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import redis

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from turns import compare, parse_arguments, site  # noqa: E402

USERS = [f"user{number}" for number in range(10)]
MESSAGE = b"x" * 100


def main() -> int:
    options = parse_arguments(__doc__, "messages", 2000)
    with site() as valkey:
        ours, bare = publish_message(), pipeline(valkey.client())
        for publish in (ours, bare):
            assert round_trips(valkey.client(), publish) == 1, "all in one round trip"
        messages = [MESSAGE] * options.messages
        compare({"publish_message": ours, "redis-py pipeline": bare}, messages, options.repeat)
    return 0


def publish_message() -> Callable[[bytes], object]:
    from ws4redis.publisher import RedisPublisher  # needs the settings

    return lambda message: RedisPublisher(facility="news", users=USERS).publish_message(message)


def pipeline(client: redis.Redis) -> Callable[[bytes], object]:
    names = [f"user:{name}:news" for name in USERS]

    def publish(message: bytes) -> object:
        with client.pipeline(transaction=True) as commands:
            for name in names:
                commands.execute_command("SETEX", name, 3600, message)
                commands.publish(name, message)
            return commands.execute()

    return publish


def round_trips(client: redis.Redis, publish: Callable[[bytes], object]) -> int:
    """How often Redis was written to; each transaction and each script is sent in one piece."""
    publish(MESSAGE)
    before = pieces(client)
    publish(MESSAGE)
    return pieces(client) - before


def pieces(client: redis.Redis) -> int:
    statistics = client.info("commandstats")
    return sum(int(statistics.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("exec", "evalsha"))


if __name__ == "__main__":
    sys.exit(main())
