"""What the parts of the loop are handed: by each other, and from the floors above."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ws4redis.hearing import Follower, OwnMessages
    from ws4redis.loop.absences import Absences
    from ws4redis.loop.backlog import Backlog
    from ws4redis.loop.hub import Hub
    from ws4redis.loop.pubsub import PubSub
    from ws4redis.loop.runtime import Runtime
    from ws4redis.websocket import WebSocket


class Shared(Protocol):
    """What exists once per process."""

    runtime: Runtime
    hub: Hub
    pubsub: PubSub
    absences: Absences
    #: what waits for a browser that is too slow; None where it is closed
    new_backlog: Callable[[], Backlog] | None


class Source(Protocol):
    """Has a Redis connection of its own."""

    def get_file_descriptor(self) -> int | None: ...

    def parse_response(self) -> Any:
        """The next reply, such as ``[b"message", channel, payload]``; waits for it."""

    def has_more(self) -> bool:
        """Whether the next reply has been received."""


class View(Protocol):
    """What happens on a connection; called in a greenlet, one call at a time."""

    #: the keys under which the connection is counted while it lives
    seats: tuple[str, ...]

    #: bytes that the browser has sent so far, compressed as they came; counted by the connection
    bytes_received: int

    @property
    def channels(self) -> tuple[bytes, ...]:
        """The Redis channels that are sent on to the browser."""

    @property
    def own_messages(self) -> OwnMessages | None:
        """What the browser has published itself and shall not get back; None where it gets everything."""

    @property
    def groups_channel(self) -> bytes | None:
        """Where Redis tells that the visitor's groups have changed; None where they do not matter."""

    @property
    def groups_keys(self) -> tuple[bytes, ...]:
        """The two keys that tell in which groups the visitor is now."""

    @property
    def send_kept(self) -> Callable[[WebSocket], None] | None:
        """Sends the channels' last messages, in place of the loop; may wait."""

    @property
    def source(self) -> Source | None:
        """What reads from Redis for this browser alone, in place of the loop."""

    def set_listener(self, listener: Follower | None) -> None:
        """Who must be told when ``channels`` have changed."""

    def regroup(self, update: bytes | None) -> bool:
        """Change ``channels`` as an update of the groups asks for; called by the loop, must not block.

        Returns whether it is known in which groups the visitor is.
        """

    def settle_groups(self, stamp: bytes | None, update: bytes | None) -> bool:
        """The same by the values of ``groups_keys``, at the beginning and after a loss of Redis.

        Returns False where Redis does not know them: then the visitor is in none until the update that this brings
        about.
        """

    def on_message(self, message: str | bytes) -> None: ...

    def on_close(self) -> None: ...
