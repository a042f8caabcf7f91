"""The one subscription of this process."""

from __future__ import annotations

import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import hiredis
from redis.exceptions import ResponseError

from ws4redis.broker.connection import Push, SubscriberConnection
from ws4redis.core.metrics import counters
from ws4redis.core.publication import Publication
from ws4redis.exceptions import RedisUnavailable

if TYPE_CHECKING:
    from redis import Redis

    from ws4redis.loop.hub import Hub
    from ws4redis.runtime.port import Runtime

logger = logging.getLogger("ws4redis")

Command = Sequence[str | bytes]

#: channels in one SUBSCRIBE when all are subscribed again
_SUBSCRIBE_AT_ONCE = 1000

#: the delays before Redis is tried again grow up to this, in seconds
_LONGEST_DELAY_SECONDS = 1.0

#: who has not tried again by then has died, or waits for a name server; then another one tries, too
_LONGEST_TRY_TICKS = 5


class PendingReply:
    """A command whose reply comes between the publications.

    Args:
        on_error: is given the error that Redis replies; without it, the subscription fails.
        unsent: what is asked when Redis is back; a cancelled one is taken out.
        confirmations: of SUBSCRIBE and UNSUBSCRIBE, one for each channel in place of a reply.
    """

    __slots__ = ("_on_error", "_on_reply", "_unsent", "command", "confirmations")

    def __init__(
        self,
        command: Command,
        on_reply: Callable[[Any], None] | None,
        on_error: Callable[[ResponseError], None] | None = None,
        unsent: dict[PendingReply, None] | None = None,
        confirmations: int = 0,
    ) -> None:
        self.command = command
        self._on_reply = on_reply
        self._on_error = on_error
        self._unsent = unsent
        self.confirmations = confirmations

    @property
    def done(self) -> bool:
        """It was resolved or cancelled."""
        return self._on_reply is None

    @property
    def may_be_repeated(self) -> bool:
        return self._unsent is not None and not self.done

    def cancel(self) -> None:
        """Call nobody. Where the command is sent already, nothing but its place is kept."""
        self._on_reply = self._on_error = None
        self.command = ()
        if self._unsent is not None:
            self._unsent.pop(self, None)

    def resolve(self, reply: Any) -> None:
        """
        Raises:
            ResponseError: Redis has replied with an error, for which this command has no callback.
        """
        on_reply, on_error = self._on_reply, self._on_error
        self._on_reply = self._on_error = None
        if not isinstance(reply, hiredis.ReplyError):
            if on_reply is not None:
                on_reply(reply)
        elif on_error is not None:
            on_error(ResponseError(str(reply)))
        elif on_reply is not None or self.confirmations:
            raise ResponseError(f"Redis rejects {self.command[0]!r}: {reply}")

    def confirm(self) -> bool:
        """One channel is confirmed; True where this was the last.

        Raises:
            ResponseError: nothing was to be confirmed.
        """
        if not self.confirmations:
            raise ResponseError(f"Redis confirms a channel in place of a reply to {self.command[:1]!r}")
        self.confirmations -= 1
        return not self.confirmations


class PubSub:
    """Subscribes, reads all that Redis has sent, and comes back by itself after a loss.

    Args:
        runtime: the kind of concurrency.
        client: returns the client whose Redis it is.
        hub: knows the channels to which somebody listens; is given the publications, in order.
        restored: is called when everything is subscribed, at first and after each loss.
        begins: is called before anything is subscribed, at first and after each loss; what it asks is answered when
            everything is subscribed.
    """

    def __init__(
        self,
        runtime: Runtime,
        client: Callable[[], Redis],
        hub: Hub,
        restored: Callable[[], None],
        begins: Callable[[], None] = lambda: None,
    ) -> None:
        self.runtime = runtime
        self._client = client
        self._hub = hub
        self._restored = restored
        self._begins = begins
        self._subscription: SubscriberConnection | None = None
        #: those whose replies are on their way, in order
        self._pending: deque[PendingReply] = deque()
        #: those that are asked when Redis is back
        self._unsent: dict[PendingReply, None] = {}
        #: the tick in which something was received last, or a step of a fan-out was made
        self._heard = runtime.ticks
        self._failures = 0
        #: channels that Redis was told to forget, and has not confirmed
        self._leaving: Counter[bytes] = Counter()
        #: the fan-out that is not yet at its end; nothing is read meanwhile
        self._work: Iterator[None] | None = None
        #: the tick in which Redis was tried last; None while nobody tries
        self._trying: int | None = None
        self._confirmation: PendingReply | None = None

    def start(self) -> None:
        self._trying = self.runtime.ticks
        self.runtime.spawn(self._connect)

    def tick(self) -> None:
        """A second has gone by; what connects may have died."""
        if self._subscription is not None:
            return
        if self._trying is None or self.runtime.ticks - self._trying > _LONGEST_TRY_TICKS:
            self.start()
            self.runtime.spawn(logger.error, "nobody connects to Redis any more; it is begun again")

    @property
    def pauses(self) -> bool:
        """Whether a fan-out is under way, so that nothing is read."""
        return self._work is not None

    @property
    def subscribed(self) -> bool:
        """Whether all that is wanted is being heard, as far as can be told from here."""
        return self._subscription is not None and not self._failures

    @property
    def silent(self) -> int:
        """For how many ticks Redis has said nothing; at most one while it is there, for the canary is heard."""
        return self.runtime.ticks - self._heard

    @property
    def unsent(self) -> int:
        """Bytes that Redis has not taken."""
        return self._subscription.unsent if self._subscription is not None else 0

    # called by the connections, under the lock; none of these waits

    def subscribe(self, channels: Sequence[bytes]) -> None:
        self._put_confirmed("SUBSCRIBE", channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        if self._subscription is not None:
            self._leaving.update(channels)
        self._put_confirmed("UNSUBSCRIBE", channels)

    def ask(
        self,
        command: Command,
        on_reply: Callable[[Any], None],
        on_error: Callable[[ResponseError], None] | None = None,
    ) -> PendingReply:
        """Ask Redis at a known point between the publications.

        What was published before that point has been delivered when the callback runs, what comes later has not. While
        Redis is away the reply waits.
        """
        return self._put(PendingReply(command, on_reply, on_error, self._unsent))

    def publish(self, channel: bytes, payload: bytes) -> None:
        """On the same connection; dropped while Redis is away."""
        if self._subscription is not None:
            self._put(PendingReply(("PUBLISH", channel, payload), lambda _count: None))

    def mark(self, reached: Callable[[], None]) -> PendingReply:
        """Call back at a point behind which nothing comes that Redis has published before now."""
        return self.ask(("ECHO", "mark"), lambda _mark: reached())

    def reconnect(self) -> None:
        """This connection has fallen silent."""
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
        if channels and self._subscription is not None:  # else _begin() subscribes to everything
            self._put(_confirmed(command, channels))

    def _connect(self) -> None:
        """Until it succeeds; may wait."""
        try:
            subscription = self._new_subscription()
        finally:
            self._trying = None
        with self.runtime.lock:
            self._begin(subscription)

    def _new_subscription(self) -> SubscriberConnection:
        while True:
            self._trying = self.runtime.ticks
            try:
                return SubscriberConnection(self.runtime, self._client())
            except Exception as error:
                self._complain(error)
            self.runtime.sleep(self._delay())

    def _delay(self) -> float:
        longest = min(_LONGEST_DELAY_SECONDS, 0.05 * 2 ** min(self._failures, 8))
        return random.uniform(longest / 2, longest)

    def _complain(self, error: Exception) -> None:
        if not isinstance(error, RedisUnavailable | ResponseError):
            logger.error("the subscription failed; it is begun again", exc_info=error)
        elif not self._failures:
            logger.warning("Redis is away, websockets stay open and wait: %s", error)
        self._failures += 1

    def _begin(self, subscription: SubscriberConnection) -> None:
        """Subscribe to everything, and ask what was not answered."""
        if self._subscription is not None:  # another try was quicker
            subscription.close()
            return
        try:
            self._begins()
            self._ask_everything(subscription)
        except Exception as error:
            self._subscription = subscription
            self._lost(subscription, error)

    def _ask_everything(self, subscription: SubscriberConnection) -> None:
        if self._confirmation is not None:
            self._confirmation.cancel()
        # not PING, which is an error while Redis cannot write its snapshot (MISCONF)
        self._confirmation = PendingReply(("ECHO", "subscribed"), self._all_subscribed)
        channels = self._hub.channels
        parts = [channels[start : start + _SUBSCRIBE_AT_ONCE] for start in range(0, len(channels), _SUBSCRIBE_AT_ONCE)]
        subscriptions = [_confirmed("SUBSCRIBE", each) for each in parts]
        unanswered = [each for each in self._pending if each.may_be_repeated]
        self._pending = deque([*subscriptions, self._confirmation, *unanswered, *self._unsent])
        self._unsent.clear()
        self._subscription = subscription
        subscription.start(partial(self._replied, subscription), partial(self._lost, subscription))
        for each in self._pending:
            subscription.send(each.command)

    def _all_subscribed(self, _pong: Any) -> None:
        if self._failures:
            self.runtime.spawn(logger.warning, "Redis is back, all channels are subscribed again")
        self._failures = 0
        self._restored()

    # called by the subscription, in no greenlet: what waits or logs is spawned, and nothing is raised

    def _lost(self, subscription: SubscriberConnection | None, error: Exception) -> None:
        """Also where it is not the connection that failed: what it would say next is no longer understood."""
        if subscription is None or subscription is not self._subscription:
            return
        self._subscription = self._work = None
        self._leaving.clear()
        counters["subscription lost"] += 1
        with suppress(Exception):
            subscription.close()
        with suppress(Exception):  # else it is done when Redis is asked again
            self._unsent.update(dict.fromkeys(each for each in self._pending if each.may_be_repeated))
            self._pending.clear()
        self._trying = self.runtime.ticks
        try:
            self.runtime.spawn(self._come_back, error)
        except Exception:
            self._trying = None  # so start() will do it

    def _come_back(self, error: Exception) -> None:
        try:
            self._complain(error)
            self.runtime.sleep(self._delay())
        finally:
            self._trying = None
        self._connect()

    def _replied(self, subscription: SubscriberConnection, replies: list[Any]) -> None:
        if subscription is not self._subscription:
            subscription.close()
            return
        self._go_on(subscription, self._hand_on(replies))

    def _go_on(self, subscription: SubscriberConnection, work: Iterator[None]) -> None:
        """Until the next pause, in which what Redis sends waits."""
        self._heard = self.runtime.ticks
        try:
            for _ in work:
                if subscription is self._subscription:
                    if self._work is None:
                        self._work = work
                        subscription.pause()
                    self.runtime.call_soon(partial(self._continue, subscription, work))
                return
            if self._work is not None:
                self._work = None
                subscription.resume()
        except Exception as error:
            self._lost(subscription, error)

    def _continue(self, subscription: SubscriberConnection, work: Iterator[None]) -> None:
        if work is self._work:  # else it was given up
            self._go_on(subscription, work)

    def _confirmed(self, reply: Push) -> None:
        if reply[0] == b"unsubscribe":
            self._has_left(reply[1])
        if reply[0] in (b"subscribe", b"unsubscribe") and self._pending[0].confirm():
            self._pending.popleft()

    def _has_left(self, channel: bytes) -> None:
        # not by Counter's "-=", which looks at all that leave
        if self._leaving[channel] > 1:
            self._leaving[channel] -= 1
        else:
            del self._leaving[channel]

    def _hand_on(self, replies: list[Any]) -> Iterator[None]:
        """Deliver publications, in batches as large as the replies between them allow.

        A publication that changes who hears what goes alone: what comes before it has been delivered to the end, and
        what follows is addressed when it has taken effect.
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
                        if channel not in self._leaving:
                            yield from self._hub.deliver([Publication(channel, reply[2])])
                    # before the confirmation it is for those who have left, not for who has come since
                    elif channel not in self._leaving:
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


def _confirmed(command: str, channels: Sequence[bytes]) -> PendingReply:
    return PendingReply((command, *channels), None, confirmations=len(channels))
