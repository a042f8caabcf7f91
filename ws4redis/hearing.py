"""What one browser hears, as its subscriber knows it: the channels, and what it has said itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ws4redis import settings
from ws4redis.exceptions import UpgradeRefused
from ws4redis.publication import Publication

#: returns that one browser waits for
_MOST_EXPECTED = 10_000


class Follower(Protocol):
    def follow(self) -> None:
        """The names have changed."""


def check_number(channels: int) -> None:
    """
    Raises:
        UpgradeRefused: 403, there are more channels than ``WS4REDIS_MAX_CHANNELS``.
    """
    if channels > settings.WS4REDIS_MAX_CHANNELS:
        raise UpgradeRefused(403, f"That would be {channels} channels; {settings.WS4REDIS_MAX_CHANNELS} are allowed.")


class Subscriptions:
    """Which channels a browser hears; the part of redis-py's ``PubSub`` that makes sense where the loop listens."""

    __slots__ = ("listener", "names")

    def __init__(self) -> None:
        self.names: tuple[bytes, ...] = ()
        #: who must be told of a change; set by the loop
        self.listener: Follower | None = None

    @property
    def channels(self) -> dict[bytes, None]:
        return dict.fromkeys(self.names)

    @property
    def subscribed(self) -> bool:
        """Whether there are any."""
        return bool(self.names)

    def subscribe(self, *names: str | bytes) -> None:
        """
        Raises:
            UpgradeRefused: 403, that would be more than ``WS4REDIS_MAX_CHANNELS``.
        """
        wanted = (*self.names, *map(_encoded, names))
        check_number(len(set(wanted)))
        self.replace(wanted)

    def unsubscribe(self, *names: str | bytes) -> None:
        """Without names: from all."""
        left = set(map(_encoded, names)) if names else set(self.names)
        self.replace(name for name in self.names if name not in left)

    def reset(self) -> None:
        self.unsubscribe()

    close = reset

    def replace(self, names: Iterable[bytes]) -> None:
        before, self.names = self.names, tuple(dict.fromkeys(names))
        if self.listener is not None and before != self.names:
            self.listener.follow()

    def psubscribe(self, *patterns: Any, **handlers: Any) -> None:
        raise NotImplementedError(
            "The loop listens to channels, not to patterns. A subscriber that overrides parse_response() has a Redis "
            "connection of its own, where patterns work."
        )


def _encoded(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name


class OwnMessages:
    """What a browser has published and not yet got back; each return is swallowed once.

    Compared by content, for Redis carries no sender. Of two equal messages, one's own and somebody else's, one arrives:
    which of the two nobody can tell.
    """

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: dict[tuple[bytes, bytes], int] = {}
        # what is said and what is heard may be threads of their own
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def expect(self, channel: bytes, payload: bytes) -> None:
        key = (channel, payload)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1
            if len(self._counts) > _MOST_EXPECTED:  # what was expected first will never come
                del self._counts[next(iter(self._counts))]

    def forget(self, channel: bytes, payload: bytes) -> bool:
        """One return less is expected; False where none was."""
        key = (channel, payload)
        with self._lock:
            count = self._counts.get(key, 0)
            if count > 1:
                self._counts[key] = count - 1
            else:
                self._counts.pop(key, None)
        return count > 0

    def forget_channels(self, channels: Sequence[bytes]) -> None:
        with self._lock:
            self._counts = {key: count for key, count in self._counts.items() if key[0] not in channels}

    def others(self, publications: Iterable[Publication]) -> list[Publication]:
        """The publications without the own ones."""
        return [each for each in publications if not self.forget(each.channel, each.payload)]

    def clear(self) -> None:
        self._counts.clear()
