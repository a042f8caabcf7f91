"""Control channels: their publications change a connection, and are not sent to its client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ws4redis.broker.pending import PendingReply
    from ws4redis.broker.pubsub import PubSub
    from ws4redis.core.publication import Batch


class Owner(Protocol):
    """The subscriptions of the connection."""

    def control_by(self, call: Callable[[], bool | None]) -> bool | None:
        """Call a handler; the client may come back to channels that it unsubscribes from."""

    def go_on(self) -> None:
        """Send what was held back, if nothing is pending any more."""

    def guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """A failure of the callback drops this connection, and not the subscription of all."""

    def failed(self) -> None: ...


class ControlSubscription:
    """A member of the hub for one connection; the arguments are those of ``Connection.subscribe_control``."""

    __slots__ = ("_handler", "_keys", "_missed", "_owner", "_pending", "_restore", "channel", "settled")
    direct = echo_filter = None
    control = True

    def __init__(
        self,
        owner: Owner,
        channel: bytes,
        handler: Callable[[bytes], bool | None],
        keys: Sequence[bytes] | None,
        restore: Callable[..., bool | None] | None,
    ) -> None:
        self.channel = channel
        self._owner = owner
        self._handler = handler
        self._keys = (channel,) if keys is None else keys
        self._restore = restore or self._restore_last
        #: what was published before the values of ``keys`` came
        self._missed: list[bytes] = []
        self._pending: PendingReply | None = None
        #: the values have come, and the handler knows what they mean
        self.settled = False

    def start(self, pubsub: PubSub) -> None:
        """Read the keys: at the beginning, and after a loss of Redis."""
        self.cancel()
        self.settled = False
        self._pending = pubsub.ask(("MGET", *self._keys), self._owner.guarded(self._replied))

    def cancel(self) -> None:
        self._missed.clear()
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    @property
    def waits(self) -> bool:
        """For the values of ``keys``."""
        return self._pending is not None

    def deliver(self, batches: Sequence[Batch]) -> None:
        payloads = [each.payload for batch in batches for each in batch.publications]
        if self._pending is not None:
            self._missed += payloads
            return
        for payload in payloads:
            self._call(partial(self._handler, payload))
        self._owner.go_on()

    def failed(self) -> None:
        self._owner.failed()

    def _replied(self, values: Sequence[bytes | None]) -> None:
        self._pending = None
        missed, self._missed = self._missed, []
        self._call(partial(self._restore, *values))
        for payload in missed:
            self._call(partial(self._handler, payload))
        self._owner.go_on()

    def _call(self, call: Callable[[], bool | None]) -> None:
        self.settled = self._owner.control_by(call) is not False

    def _restore_last(self, value: bytes | None) -> bool | None:
        return None if value is None else self._handler(value)
