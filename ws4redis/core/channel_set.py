"""The channels of one client, as its subscriber knows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from ws4redis.exceptions import UpgradeRefused


class Subscribing(Protocol):
    """What is needed of ``loop.endpoint.Connection``."""

    def subscribe(self, *channels: bytes) -> None: ...

    def unsubscribe(self, *channels: bytes) -> None: ...


def check_number(channels: int, most: int) -> None:
    """
    Raises:
        UpgradeRefused: 403, there are more channels than ``WS4REDIS_MAX_CHANNELS``.
    """
    if channels > most:
        raise UpgradeRefused(403, f"That would be {channels} channels; {most} are allowed.")


class ChannelSet:
    """The channels, with the part of redis-py's ``PubSub`` that applies where the loop delivers.

    Args:
        most: the number of channels that are allowed (``WS4REDIS_MAX_CHANNELS``).
    """

    __slots__ = ("connection", "most", "names")

    def __init__(self, most: int) -> None:
        self.most = most
        self.names: tuple[bytes, ...] = ()
        #: follows each change; None before the websocket is open, and when it is closed
        self.connection: Subscribing | None = None

    @property
    def channels(self) -> dict[bytes, None]:
        return dict.fromkeys(self.names)

    @property
    def subscribed(self) -> bool:
        """True where there are any."""
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
        before, now = self.channels, dict.fromkeys(names)
        self.names = tuple(now)
        if self.connection is None:
            return
        if left := before.keys() - now.keys():
            self.connection.unsubscribe(*left)
        if now.keys() - before.keys():
            self.connection.subscribe(*now)

    def psubscribe(self, *patterns: Any, **handlers: Any) -> None:
        raise NotImplementedError(
            "The loop listens to channels, not to patterns. A subscriber that overrides parse_response() has a Redis "
            "connection of its own, where patterns work."
        )


def _encoded(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name
