"""Who is measured, in which order, and how each comes up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import django

import ws4redis
from fanout import django_channels, floor, nchan
from fanout.results import OURS
from fanout.subjects import Website, running
from tests.servers import Server, Valkey


class Entrant(NamedTuple):
    #: given the settings of our server
    start: Callable[[Mapping[str, str]], AbstractContextManager[Any]]
    #: what is missing, in words
    why_not: Callable[[], str | None]
    version: Callable[[], str]


def _fed_by_redis(server: Callable[..., Server]) -> Callable[[Mapping[str, str]], AbstractContextManager[Any]]:
    @contextmanager
    def start(settings: Mapping[str, str]) -> Iterator[Server]:
        with running(Valkey()) as valkey, running(server(valkey, **settings)) as subject:
            yield subject

    return start


def _without_settings(server: Callable[..., Server]) -> Callable[..., Server]:
    return lambda valkey, **settings: server(valkey)


#: in the order in which each round measures them
ENTRANTS = {
    "nchan": Entrant(lambda settings: running(nchan.Nchan()), nchan.why_not, nchan.version),
    "channels": Entrant(
        _fed_by_redis(_without_settings(django_channels.Channels)), django_channels.why_not, django_channels.version
    ),
    "floor": Entrant(_fed_by_redis(_without_settings(floor.Floor)), floor.why_not, floor.version),
    OURS: Entrant(_fed_by_redis(Website), lambda: None, lambda: f"{ws4redis.__version__}, Django {django.__version__}"),
}

PEERS = ("nchan", "channels")
