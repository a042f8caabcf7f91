"""Who is addressed: each message belongs to a stream, and each socket hears some.

There is one stream for all sockets, ``broadcast``, some for groups of them, such as ``group3``, and for the socket of
visitor 17 alone ``user17`` and ``session17``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

BROADCAST, GROUP, USER, SESSION = AUDIENCES = ("broadcast", "group", "user", "session")

#: visitor n is in group n % GROUPS
GROUPS = 10


class Post(NamedTuple):
    """A message to be published."""

    stream: str
    number: int


def stream(audience: str, visitor: int) -> str:
    """Of this audience, the stream that a visitor hears."""
    if audience == BROADCAST:
        return audience
    return f"{audience}{visitor % GROUPS if audience == GROUP else visitor}"


def split(stream: str) -> tuple[str, int]:
    """The audience, and the number of the group or the visitor."""
    audience = stream.rstrip("0123456789")
    return audience, int(stream[len(audience) :] or 0)


def heard(audiences: Sequence[str], visitors: int) -> list[list[str]]:
    """The streams of each visitor's socket."""
    return [[stream(audience, visitor) for audience in audiences] for visitor in range(visitors)]


def posts(audiences: Sequence[str], visitors: int, messages: int) -> Iterator[Post]:
    """So many messages on each of the streams, that is to each socket by each of its audiences."""
    streams = list(dict.fromkeys(stream(audience, n) for audience in audiences for n in range(visitors)))
    for number in range(messages):
        for each in streams:
            yield Post(each, number)
