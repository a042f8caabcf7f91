"""What will happen, made of a seed: the same seed, seconds and sockets make the same schedule."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

#: visitor n is in room n % rooms; of the visitors of a room every fifth is in the same group
GROUPS_OF_A_ROOM = 5
_VISITORS_OF_A_ROOM = 100

#: how long before the end no worker is ended any more, so that what it leaks has time to show
_LAST_WORKERS = 0.25

_MESSAGES_PER_SECOND = 20


class Fault(NamedTuple):
    #: which of the two workers, where it is about one
    worker: int = 0
    #: how long Redis is away or hangs, in seconds
    away: float = 0.0


class Leave(NamedTuple):
    visitors: tuple[int, ...]
    #: with the closing handshake
    politely: bool
    #: until they come back, in seconds
    away: float


class Stall(NamedTuple):
    visitors: tuple[int, ...]
    seconds: float


class Burst(NamedTuple):
    """On one channel."""

    audience: str
    number: int
    messages: int
    #: of each message
    padding: int


class Ban(NamedTuple):
    """A visitor is taken out of the group, between messages to it, and let in again."""

    visitor: int
    #: until then, in seconds; 0 is at once
    away: float
    #: as many before it and after it
    messages: int


class Action(NamedTuple):
    #: seconds since the begin
    at: float
    name: str
    what: Fault | Leave | Stall | Burst | Ban


REDIS_FAULTS = ("redis-killed", "redis-stopped", "redis-hangs", "subscriptions-cut")
WORKER_FAULTS = ("worker-killed", "worker-HUP", "worker-TERM", "master-HUP", "touch-reload")

#: an outage is short, or long enough for health to be red
_OUTAGES = ((0.2, 2.0), (6.5, 9.0))


def rooms(sockets: int) -> int:
    return max(2, sockets // _VISITORS_OF_A_ROOM)


def schedule(seed: int, seconds: float, sockets: int) -> list[Action]:
    parts = [
        _faults(random.Random(f"{seed} faults"), seconds),
        _leaves(random.Random(f"{seed} leaves"), seconds, sockets),
        _stalls(random.Random(f"{seed} stalls"), seconds, sockets),
        _bursts(random.Random(f"{seed} bursts"), seconds, sockets),
        _talk(random.Random(f"{seed} talk"), seconds, sockets),
        _bans(random.Random(f"{seed} bans"), seconds, sockets),
    ]
    return sorted((action for part in parts for action in part), key=lambda action: action.at)


def _faults(rng: random.Random, seconds: float) -> Iterator[Action]:
    """Each kind once, in any order, then all again."""
    at, deck = 2.0, list[str]()
    while at < seconds - 4:
        if not deck:
            deck = rng.sample([*REDIS_FAULTS, *WORKER_FAULTS], len(REDIS_FAULTS + WORKER_FAULTS))
        name = deck.pop()
        fault = Fault(rng.randrange(2), rng.uniform(*rng.choice(_OUTAGES)))
        if name in REDIS_FAULTS or at < seconds * (1 - _LAST_WORKERS):
            yield Action(at, name, fault)
            at += rng.uniform(2, 7) + (fault.away if name in REDIS_FAULTS[:3] else 0)


def _leaves(rng: random.Random, seconds: float, sockets: int) -> Iterator[Action]:
    """One in a hundred now and then, seldom one in five."""
    at = 1.0
    while at < seconds:
        share = rng.choice((0.01, 0.01, 0.01, 0.01, 0.2))
        visitors = tuple(rng.sample(range(sockets), max(1, int(sockets * share))))
        yield Action(at, "leave", Leave(visitors, rng.random() < 0.5, rng.uniform(0.1, 5)))
        at += rng.uniform(0.5, 3)


def _stalls(rng: random.Random, seconds: float, sockets: int) -> Iterator[Action]:
    """Some of a room do not read, while bursts come there that are too much for their outboxes, or not."""
    at = 3.0
    while at < seconds - 4:
        room = rng.randrange(rooms(sockets))
        here = range(room, sockets, rooms(sockets))
        length = rng.uniform(2, 15)
        yield Action(at, "stall", Stall(tuple(rng.sample(here, max(1, len(here) // 10))), length))
        for number in range(rng.choice((1, 3, 8))):
            yield Action(at + 0.5 + number, "burst", Burst("broadcast", room, 100, 1000))
        at += rng.uniform(4, 10)


def _bursts(rng: random.Random, seconds: float, sockets: int) -> Iterator[Action]:
    at = 1.5
    while at < seconds:
        yield Action(at, "burst", _anywhere(rng, sockets, rng.randrange(50, 500), rng.randrange(300)))
        at += rng.uniform(1, 5)


def _talk(rng: random.Random, seconds: float, sockets: int) -> Iterator[Action]:
    for number in range(int(seconds * _MESSAGES_PER_SECOND)):
        yield Action(number / _MESSAGES_PER_SECOND, "talk", _anywhere(rng, sockets, 1, 0))


def _bans(rng: random.Random, seconds: float, sockets: int) -> Iterator[Action]:
    at = 1.0
    while at < seconds - 8:
        away = rng.choice((0.0, rng.uniform(0.5, 5)))
        yield Action(at, "ban", Ban(rng.randrange(sockets), away, rng.randrange(1, 10)))
        at += rng.uniform(0.1, 0.7)


def _anywhere(rng: random.Random, sockets: int, messages: int, padding: int) -> Burst:
    audience = rng.choice(("broadcast", "broadcast", "group", "user"))
    numbers = {
        "broadcast": rooms(sockets),
        "group": rooms(sockets) * GROUPS_OF_A_ROOM,
        "user": sockets,
    }
    return Burst(audience, rng.randrange(numbers[audience]), messages, padding)
