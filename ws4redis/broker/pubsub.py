"""The one subscription of this process."""

from __future__ import annotations

import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import ResponseError

from ws4redis.broker.connection import Push, SubscriberConnection
from ws4redis.broker.pending import Command, PendingReply, confirmed
from ws4redis.core.metrics import counters
from ws4redis.core.publication import Publication
from ws4redis.exceptions import RedisUnavailable

if TYPE_CHECKING:
    from redis import Redis

    from ws4redis.runtime.port import Runtime

logger = logging.getLogger("ws4redis")

#: channels in one SUBSCRIBE when all are subscribed again
_SUBSCRIBE_AT_ONCE = 1000

#: the delays before Redis is tried again grow up to this, in seconds
_LONGEST_DELAY_SECONDS = 1.0

#: a connect that takes longer has died, or waits for a name server; then another one is started
_LONGEST_TRY_TICKS = 5


class Receiver(Protocol):
    """What is needed of the hub."""

    @property
    def channels(self) -> Sequence[bytes]: ...

    @property
    def controls(self) -> Collection[bytes]:
        """The channels whose publications take effect before what follows is addressed."""

    def deliver(self, publications: list[Publication]) -> Iterable[None]:
        """Each step is a pause in a long fan-out."""


class PubSub:
    """Subscribes, reads all that Redis has sent, and reconnects by itself after a loss.

    Args:
        client: returns the client whose Redis it is.
        hub: knows the channels with members; is given the publications, in order.
        restored: is called when everything is subscribed, at first and after each loss.
        resubscribing: is called before that, at first and after each loss; what it asks is answered when everything is
            subscribed.
    """

    def __init__(
        self,
        runtime: Runtime,
        client: Callable[[], Redis],
        hub: Receiver,
        restored: Callable[[], None],
        resubscribing: Callable[[], None] = lambda: None,
    ) -> None:
        self.runtime = runtime
        self._client = client
        self._hub = hub
        self._restored = restored
        self._resubscribing = resubscribing
        self._subscription: SubscriberConnection | None = None
        #: Redis has confirmed every subscription
        self.subscribed = False
        #: those whose replies are on their way, in order
        self._pending: deque[PendingReply] = deque()
        #: those for the next connection
        self._unsent: dict[PendingReply, None] = {}
        #: the tick of the last read, or of the last step of a fan-out
        self._last_received = runtime.ticks
        #: since everything was subscribed; the first is logged, each lengthens the delay
        self._failures = 0
        #: channels whose UNSUBSCRIBE Redis has not confirmed
        self._unsubscribing: Counter[bytes] = Counter()
        #: the fan-out under way; nothing is read meanwhile
        self._fanout: Iterator[None] | None = None
        #: the tick of the last try to connect; None while nothing tries
        self._tried_at: int | None = None
        self._confirmation: PendingReply | None = None

    def start(self) -> None:
        self._tried_at = self.runtime.ticks
        self.runtime.spawn(self._connect)

    def tick(self) -> None:
        """Called each second; the greenlet or thread that connects may have died."""
        if self._subscription is not None:
            return
        if self._tried_at is None or self.runtime.ticks - self._tried_at > _LONGEST_TRY_TICKS:
            self.start()
            self.runtime.spawn(logger.error, "connecting to Redis hangs, starting again")

    @property
    def pauses(self) -> bool:
        """Whether a fan-out is under way, so that nothing is read."""
        return self._fanout is not None

    @property
    def silent(self) -> int:
        """Ticks since Redis has sent something; at most one while it works, for the probe comes back."""
        return self.runtime.ticks - self._last_received

    @property
    def unsent(self) -> int:
        """Bytes that Redis has not taken."""
        return self._subscription.unsent if self._subscription is not None else 0

    # called by the connections, under the lock; none of these waits

    def subscribe(self, channels: Sequence[bytes]) -> None:
        self._put_confirmed("SUBSCRIBE", channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        if self._subscription is not None:
            self._unsubscribing.update(channels)
        self._put_confirmed("UNSUBSCRIBE", channels)

    def ask(
        self,
        command: Command,
        on_reply: Callable[[Any], None],
        on_error: Callable[[ResponseError], None] | None = None,
    ) -> PendingReply:
        """Ask Redis at a known point between the publications.

        What was published before that point has been delivered when the callback runs, what comes later has not. While
        there is no connection the command waits.
        """
        return self._put(PendingReply(command, on_reply, on_error, self._unsent))

    def publish(self, channel: bytes, payload: bytes) -> None:
        """On the same connection; dropped while there is none."""
        if self._subscription is not None:
            self._put(PendingReply(("PUBLISH", channel, payload), lambda _count: None))

    def mark(self, reached: Callable[[], None]) -> PendingReply:
        """Call back when everything that Redis has published until now has been delivered."""
        return self.ask(("ECHO", "mark"), lambda _mark: reached())

    def reconnect(self) -> None:
        """Drop a connection that is silent, and make another."""
        self._lost(self._subscription, RedisUnavailable("the subscription has fallen silent"))

    # inside

    def _put(self, pending: PendingReply) -> PendingReply:
        if self._subscription is None:
            self._unsent[pending] = None
            return pending
        self._pending.append(pending)
        try:
            self._subscription.send(pending.command)
        except Exception as error:
            # it was not asked, so it would get the reply to the next one
            self._lost(self._subscription, error)
        return pending

    def _put_confirmed(self, command: str, channels: Sequence[bytes]) -> None:
        if channels and self._subscription is not None:  # else _subscribe_all() subscribes to everything
            self._put(confirmed(command, channels))

    def _connect(self) -> None:
        """Connect and subscribe, however long it takes; may wait."""
        try:
            subscription = self._new_subscription()
        finally:
            self._tried_at = None
        with self.runtime.lock:
            self._subscribe_all(subscription)

    def _new_subscription(self) -> SubscriberConnection:
        while True:
            self._tried_at = self.runtime.ticks
            try:
                return SubscriberConnection(self.runtime, self._client())
            except Exception as error:
                self._log_failure(error)
            self.runtime.sleep(self._delay())

    def _delay(self) -> float:
        longest = min(_LONGEST_DELAY_SECONDS, 0.05 * 2 ** min(self._failures, 8))
        return random.uniform(longest / 2, longest)

    def _log_failure(self, error: Exception) -> None:
        if not isinstance(error, RedisUnavailable | ResponseError):
            logger.error("subscription failed, reconnecting", exc_info=error)
        elif not self._failures:
            logger.warning("Redis connection lost, websockets stay open and wait: %s", error)
        self._failures += 1

    def _subscribe_all(self, subscription: SubscriberConnection) -> None:
        """Subscribe to everything, and repeat what was not answered."""
        if self._subscription is not None:  # another try was quicker
            subscription.close()
            return
        try:
            self._resubscribing()
            self._send_all(subscription)
        except Exception as error:
            self._subscription = subscription
            self._lost(subscription, error)

    def _send_all(self, subscription: SubscriberConnection) -> None:
        if self._confirmation is not None:
            self._confirmation.cancel()
        # not PING, which is an error while Redis cannot write its snapshot (MISCONF)
        self._confirmation = PendingReply(("ECHO", "subscribed"), self._all_subscribed)
        channels = self._hub.channels
        parts = [channels[start : start + _SUBSCRIBE_AT_ONCE] for start in range(0, len(channels), _SUBSCRIBE_AT_ONCE)]
        subscriptions = [confirmed("SUBSCRIBE", each) for each in parts]
        unanswered = [each for each in self._pending if each.may_be_repeated]
        self._pending = deque([*subscriptions, self._confirmation, *unanswered, *self._unsent])
        self._unsent.clear()
        self._subscription = subscription
        subscription.start(partial(self._replied, subscription), partial(self._lost, subscription))
        for each in self._pending:
            subscription.send(each.command)

    def _all_subscribed(self, _pong: Any) -> None:
        if self._failures:
            self.runtime.spawn(logger.warning, "Redis connection restored, all channels are subscribed again")
        self._failures = 0
        self.subscribed = True
        self._restored()

    # called by the subscription, in no greenlet: what waits or logs is spawned, and nothing is raised

    def _lost(self, subscription: SubscriberConnection | None, error: Exception) -> None:
        """Also after a failure on this side: what the connection would send next can no longer be assigned."""
        if subscription is None or subscription is not self._subscription:
            return
        self.subscribed = False
        self._subscription = self._fanout = None
        self._unsubscribing.clear()
        counters["subscription lost"] += 1
        with suppress(Exception):
            subscription.close()
        with suppress(Exception):  # else _send_all() does it
            self._unsent.update(dict.fromkeys(each for each in self._pending if each.may_be_repeated))
            self._pending.clear()
        self._tried_at = self.runtime.ticks
        try:
            self.runtime.spawn(self._reconnect, error)
        except Exception:
            self._tried_at = None  # so tick() will do it

    def _reconnect(self, error: Exception) -> None:
        try:
            self._log_failure(error)
            self.runtime.sleep(self._delay())
        finally:
            self._tried_at = None
        self._connect()

    def _replied(self, subscription: SubscriberConnection, replies: list[Any]) -> None:
        if subscription is not self._subscription:
            subscription.close()
            return
        self._advance(subscription, self._deliver(replies))

    def _advance(self, subscription: SubscriberConnection, work: Iterator[None]) -> None:
        """Run the fan-out until its next pause, in which nothing is read."""
        self._last_received = self.runtime.ticks
        try:
            for _ in work:
                if subscription is self._subscription:
                    if self._fanout is None:
                        self._fanout = work
                        subscription.pause()
                    self.runtime.call_soon(partial(self._continue, subscription, work))
                return
            if self._fanout is not None:
                self._fanout = None
                subscription.resume()
        except Exception as error:
            self._lost(subscription, error)

    def _continue(self, subscription: SubscriberConnection, work: Iterator[None]) -> None:
        if work is self._fanout:  # else it was dropped
            self._advance(subscription, work)

    def _confirmed(self, reply: Push) -> None:
        if reply[0] == b"unsubscribe":
            self._has_unsubscribed(reply[1])
        if reply[0] in (b"subscribe", b"unsubscribe") and self._pending[0].confirm():
            self._pending.popleft()

    def _has_unsubscribed(self, channel: bytes) -> None:
        # not by Counter's "-=", which looks at all entries
        if self._unsubscribing[channel] > 1:
            self._unsubscribing[channel] -= 1
        else:
            del self._unsubscribing[channel]

    def _deliver(self, replies: list[Any]) -> Iterator[None]:
        """Deliver publications, in batches as large as the replies between them allow.

        A publication on a control channel goes alone: what comes before it has been delivered to the end, and what
        follows is addressed when it has taken effect.
        """
        controls = self._hub.controls
        batch: list[Publication] = []
        for reply in replies:
            if isinstance(reply, Push):
                if reply[0] == b"message":
                    channel = reply[1]
                    if controls and channel in controls:
                        if batch:
                            yield from self._hub.deliver(batch)
                            batch = []
                        if channel not in self._unsubscribing:
                            yield from self._hub.deliver([Publication(channel, reply[2])])
                    # before the confirmation it is for earlier members, and not for those that have joined since
                    elif channel not in self._unsubscribing:
                        batch.append(Publication(channel, reply[2]))
                else:
                    self._confirmed(reply)
                continue
            if batch:
                yield from self._hub.deliver(batch)
                batch = []
            self._pending.popleft().resolve(reply)
        if batch:
            yield from self._hub.deliver(batch)
