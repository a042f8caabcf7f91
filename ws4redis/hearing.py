"""What one browser hears, as its subscriber knows it: the channels, and what it has said itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, Protocol

from ws4redis.exceptions import UpgradeRefused
from ws4redis.publication import Publication

#: returns that one browser waits for
_MOST_EXPECTED = 10_000


class Follower(Protocol):
    def follow(self) -> None:
        """The names have changed."""


def check_number(channels: int, most: int) -> None:
    """
    Raises:
        UpgradeRefused: 403, there are more channels than ``WS4REDIS_MAX_CHANNELS``.
    """
    if channels > most:
        raise UpgradeRefused(403, f"That would be {channels} channels; {most} are allowed.")


class Subscriptions:
    """Which channels a browser hears; the part of redis-py's ``PubSub`` that makes sense where the loop listens.

    Args:
        most: how many there may be (``WS4REDIS_MAX_CHANNELS``).
    """

    __slots__ = ("listener", "most", "names")

    def __init__(self, most: int) -> None:
        self.most = most
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
        check_number(len(set(wanted)), self.most)
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


class Said:
    """One message that a browser publishes."""

    __slots__ = ("doubtful", "under_way")

    def __init__(self) -> None:
        #: Redis has not yet answered
        self.under_way = True
        #: the subscription was interrupted, so that what Redis has published may never come back
        self.doubtful = False


class OwnMessages:
    """What a browser has published and not yet got back; each return is swallowed once.

    Compared by content, for Redis carries no sender. Of two equal messages, one's own and somebody else's, one arrives:
    which of the two nobody can tell.

    Where the subscription is interrupted, a return may never come, and would be swallowed at the cost of somebody
    else's. So what is doubtful is expected up to a mark in the stream, behind which it cannot come any more.
    """

    __slots__ = ("_doubtful", "_expected", "_lock", "_marking", "mark")

    def __init__(self) -> None:
        #: channel and message -> those that will return, in order
        self._expected: dict[tuple[bytes, bytes], list[Said]] = {}
        # what is said and what is heard may be threads of their own
        self._lock = threading.Lock()
        #: calls back at a point of the stream behind which nothing comes that was published before; set by the loop
        self.mark: Callable[[Callable[[], None]], object] | None = None
        #: what is forgotten at the next mark but one, or at the next where none was asked for
        self._doubtful: set[Said] = set()
        self._marking = False

    def __bool__(self) -> bool:
        return bool(self._expected)

    def expect(self, channel: bytes, payload: bytes, said: Said | None = None) -> None:
        """Where ``said`` is given, ``published()`` follows."""
        if said is None:
            said = Said()
            said.under_way = False
        with self._lock:
            waiting = self._expected.setdefault((channel, payload), [])
            waiting.append(said)
            # what was expected first will never come
            if len(waiting) > _MOST_EXPECTED:
                del waiting[0]
            if len(self._expected) > _MOST_EXPECTED:
                del self._expected[next(iter(self._expected))]

    def published(self, said: Said, sure: bool = True) -> None:
        """Redis has answered; or it is not known whether it did."""
        with self._lock:
            said.under_way = False
            said.doubtful |= not sure
        if said.doubtful:
            self._forget_later({said})

    def forget(self, channel: bytes, payload: bytes, said: Said | None = None) -> bool:
        """One return less is expected, the first or that of ``said``; False where none was."""
        key = (channel, payload)
        with self._lock:
            waiting = self._expected.get(key, ())
            if not waiting or (said is not None and said not in waiting):
                return False
            waiting.remove(waiting[0] if said is None else said)
            if not waiting:
                del self._expected[key]
            return True

    def interrupted(self, channels: Collection[bytes] | None = None) -> None:
        """The stream was, of these channels or of all."""
        with self._lock:
            concerned = {
                each
                for key, waiting in self._expected.items()
                if channels is None or key[0] in channels
                for each in waiting
            }
            for each in concerned:
                each.doubtful = True
            ended = {each for each in concerned if not each.under_way}
        if ended:
            self._forget_later(ended)

    def others(self, publications: Iterable[Publication]) -> list[Publication]:
        """The publications without the own ones."""
        return [each for each in publications if not self.forget(each.channel, each.payload)]

    def clear(self) -> None:
        self._expected.clear()

    def _forget_later(self, said: set[Said]) -> None:
        if self.mark is None:
            self._forget(said)
            return
        with self._lock:
            self._doubtful |= said
            asked, self._marking = self._marking, True
        if not asked:
            self._ask_for_mark()

    def _ask_for_mark(self) -> None:
        assert self.mark is not None
        said, self._doubtful = self._doubtful, set()
        self.mark(partial(self._reached, said))

    def _reached(self, said: set[Said]) -> None:
        self._forget(said)
        with self._lock:
            self._marking = bool(self._doubtful)
        if self._marking:
            self._ask_for_mark()

    def _forget(self, said: set[Said]) -> None:
        with self._lock:
            left = {key: [each for each in waiting if each not in said] for key, waiting in self._expected.items()}
            self._expected = {key: waiting for key, waiting in left.items() if waiting}
