"""Two ways to do the same, which take turns in one process; for scripts that print what each costs, and the ratio."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import django

from tests.servers import Valkey


def parse_arguments(description: str | None, things: str, number: int) -> argparse.Namespace:
    """How many ``things``, and ``repeat``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(f"--{things}", type=int, default=number)
    parser.add_argument("--repeat", type=int, default=5)
    return parser.parse_args()


@contextmanager
def site() -> Iterator[Valkey]:
    """fanout's site in this process, with a Redis of its own and its users in memory."""
    with Valkey() as valkey:
        os.environ.update(DJANGO_SETTINGS_MODULE="fanout.site.settings", REDIS_URL=valkey.url, DATABASE=":memory:")
        django.setup()
        yield valkey


def compare(ways: Mapping[str, Callable[[Any], object]], things: Sequence[Any], repeat: int) -> None:
    """Print the CPU time of both ways for each thing, and that of the first divided by that of the second.

    Medians of ``repeat`` rounds.
    """
    rounds = [[cost(way, things) for way in ways.values()] for _ in range(repeat)]
    for name, costs in zip(ways, zip(*rounds, strict=True), strict=True):
        print(f"{name:18} {statistics.median(costs):6.0f} µs CPU")
    print(f"{'ratio':18} {statistics.median(first / second for first, second in rounds):6.2f}")


def cost(way: Callable[[Any], object], things: Sequence[Any]) -> float:
    """Microseconds of CPU for each thing."""
    begin = time.process_time()
    for thing in things:
        way(thing)
    return (time.process_time() - begin) / len(things) * 1e6
