"""The one subscription of this process."""

from __future__ import annotations

import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from ws4redis.exceptions import RedisUnavailable
from ws4redis.loop.subscription import Push, Subscription
from ws4redis.loop.tally import tally
from ws4redis.publication import Publication

if TYPE_CHECKING:
    from redis import Redis

    from ws4redis.loop.hub import Hub
    from ws4redis.loop.runtime import Runtime

logger = logging.getLogger("ws4redis")

Command = Sequence[str | bytes]

#: channels in one SUBSCRIBE when all are subscribed again
_SUBSCRIBE_AT_ONCE = 1000

#: the delays before Redis is tried again grow up to this, in seconds
_LONGEST_DELAY_SECONDS = 1.0

#: who has not tried again by then has died, or waits for a name server; then another one tries, too
_LONGEST_TRY_TICKS = 5


class Question:
    """A command whose answer comes between the publications.

    Args:
        unsent: the questions that are asked when Redis is back; this one is taken out when it is cancelled.
    """

    __slots__ = ("_callback", "_unsent", "command")

    def __init__(
        self, command: Command, callback: Callable[[Any], None], unsent: dict[Question, None] | None = None
    ) -> None:
        self.command = command
        self._callback: Callable[[Any], None] | None = callback
        self._unsent = unsent

    @property
    def may_be_repeated(self) -> bool:
        return self._unsent is not None and self._callback is not None

    def cancel(self) -> None:
        """Nobody waits for the answer any more. Where the command is sent already, nothing but its place is kept."""
        self._callback = None
        self.command = ()
        if self._unsent is not None:
            self._unsent.pop(self, None)

    def answer(self, reply: Any) -> None:
        if self._callback is not None:
            self._callback(reply)


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
        self._runtime = runtime
        self._client = client
        self._hub = hub
        self._restored = restored
        self._begins = begins
        self._subscription: Subscription | None = None
        #: those whose answers are on their way, in order
        self._questions: deque[Question] = deque()
        #: those that are asked when Redis is back
        self._unsent: dict[Question, None] = {}
        #: the tick in which something was received last, or a step of a fan-out was made
        self._heard = runtime.ticks
        self._failures = 0
        #: channels that Redis was told to forget, and has not confirmed
        self._leaving: Counter[bytes] = Counter()
        #: the fan-out that is not yet at its end; nothing is read meanwhile
        self._work: Iterator[None] | None = None
        #: the tick in which Redis was tried last; None while nobody tries
        self._trying: int | None = None
        self._confirmation: Question | None = None

    def start(self) -> None:
        self._trying = self._runtime.ticks
        self._runtime.spawn(self._connect)

    def tick(self) -> None:
        """A second has gone by; what connects may have died."""
        if self._subscription is not None:
            return
        if self._trying is None or self._runtime.ticks - self._trying > _LONGEST_TRY_TICKS:
            self.start()
            self._runtime.spawn(logger.error, "nobody connects to Redis any more; it is begun again")

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
        return self._runtime.ticks - self._heard

    @property
    def unsent(self) -> int:
        """Bytes that Redis has not taken."""
        return self._subscription.unsent if self._subscription is not None else 0

    # called by the connections, under the lock; none of these waits

    def subscribe(self, channels: Sequence[bytes]) -> None:
        if channels:
            try:
                self._send(("SUBSCRIBE", *channels))
            except Exception as error:
                self._lost(self._subscription, error)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        if channels:
            try:
                if self._subscription is not None:
                    self._leaving.update(channels)
                self._send(("UNSUBSCRIBE", *channels))
            except Exception as error:
                self._lost(self._subscription, error)

    def fetch(self, channels: Sequence[bytes], callback: Callable[[list[bytes | None]], None]) -> Question:
        """Read the channels' last messages, at a known point between the publications.

        What was published before that point has been delivered when the callback runs, what comes later has not. While
        Redis is away the answer waits.
        """
        return self._put(Question(("MGET", *channels), callback, self._unsent))

    def publish(self, channel: bytes, payload: bytes) -> None:
        """On the same connection; dropped while Redis is away."""
        if self._subscription is not None:
            self._put(Question(("PUBLISH", channel, payload), lambda _count: None))

    def mark(self, reached: Callable[[], None]) -> Question:
        """Call back at a point behind which nothing comes that Redis has published before now."""
        return self._put(Question(("ECHO", "mark"), lambda _mark: reached(), self._unsent))

    def give_up(self) -> None:
        """Connect anew: this connection has fallen silent."""
        self._lost(self._subscription, RedisUnavailable("the subscription has fallen silent"))

    # inside

    def _put(self, question: Question) -> Question:
        if self._subscription is None:
            self._unsent[question] = None
            return question
        self._questions.append(question)
        try:
            self._send(question.command)
        except Exception as error:
            # it was not asked, so it would get the answer to the next one
            self._lost(self._subscription, error)
        return question

    def _send(self, command: Command) -> None:
        if self._subscription is not None:  # else _begin() asks for everything
            self._subscription.send(command)

    def _connect(self) -> None:
        """Until it succeeds; may wait."""
        try:
            subscription = self._new_subscription()
        finally:
            self._trying = None
        with self._runtime.lock:
            self._begin(subscription)

    def _new_subscription(self) -> Subscription:
        while True:
            self._trying = self._runtime.ticks
            try:
                return Subscription(self._runtime, self._client())
            except Exception as error:
                self._complain(error)
            self._runtime.sleep(self._delay())

    def _delay(self) -> float:
        longest = min(_LONGEST_DELAY_SECONDS, 0.05 * 2 ** min(self._failures, 8))
        return random.uniform(longest / 2, longest)

    def _complain(self, error: Exception) -> None:
        if not isinstance(error, RedisUnavailable | ResponseError):
            logger.error("the subscription failed; it is begun again", exc_info=error)
        elif not self._failures:
            logger.warning("Redis is away, websockets stay open and wait: %s", error)
        self._failures += 1

    def _begin(self, subscription: Subscription) -> None:
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

    def _ask_everything(self, subscription: Subscription) -> None:
        if self._confirmation is not None:
            self._confirmation.cancel()
        # not PING, which is an error while Redis cannot write its snapshot (MISCONF)
        self._confirmation = Question(("ECHO", "subscribed"), self._all_subscribed)
        unanswered = [each for each in self._questions if each.may_be_repeated]
        self._questions = deque([self._confirmation, *unanswered, *self._unsent])
        self._unsent.clear()
        channels = self._hub.channels
        self._subscription = subscription
        subscription.start(partial(self._replied, subscription), partial(self._lost, subscription))
        for start in range(0, len(channels), _SUBSCRIBE_AT_ONCE):
            subscription.send(("SUBSCRIBE", *channels[start : start + _SUBSCRIBE_AT_ONCE]))
        for question in self._questions:
            subscription.send(question.command)

    def _all_subscribed(self, _pong: Any) -> None:
        if self._failures:
            self._runtime.spawn(logger.warning, "Redis is back, all channels are subscribed again")
        self._failures = 0
        self._restored()

    # called by the subscription, in no greenlet: what waits or logs is spawned, and nothing is raised

    def _lost(self, subscription: Subscription | None, error: Exception) -> None:
        """Also where it is not the connection that failed: what it would say next is no longer understood."""
        if subscription is None or subscription is not self._subscription:
            return
        self._subscription = self._work = None
        self._leaving.clear()
        tally["subscription lost"] += 1
        with suppress(Exception):
            subscription.close()
        with suppress(Exception):  # else it is done when Redis is asked again
            self._unsent.update(dict.fromkeys(each for each in self._questions if each.may_be_repeated))
            self._questions.clear()
        self._trying = self._runtime.ticks
        try:
            self._runtime.spawn(self._come_back, error)
        except Exception:
            self._trying = None  # so start() will do it

    def _come_back(self, error: Exception) -> None:
        try:
            self._complain(error)
            self._runtime.sleep(self._delay())
        finally:
            self._trying = None
        self._connect()

    def _replied(self, subscription: Subscription, replies: list[Any]) -> None:
        if subscription is not self._subscription:
            subscription.close()
            return
        self._go_on(subscription, self._hand_on(replies))

    def _go_on(self, subscription: Subscription, work: Iterator[None]) -> None:
        """Until the next pause, in which what Redis sends waits."""
        self._heard = self._runtime.ticks
        try:
            for _ in work:
                if subscription is self._subscription:
                    if self._work is None:
                        self._work = work
                        subscription.pause()
                    self._runtime.soon(partial(self._continue, subscription, work))
                return
            if self._work is not None:
                self._work = None
                subscription.resume()
        except Exception as error:
            self._lost(subscription, error)

    def _continue(self, subscription: Subscription, work: Iterator[None]) -> None:
        if work is self._work:  # else it was given up
            self._go_on(subscription, work)

    def _has_left(self, channel: bytes) -> None:
        # not by Counter's "-=", which looks at all that leave
        if self._leaving[channel] > 1:
            self._leaving[channel] -= 1
        else:
            del self._leaving[channel]

    def _hand_on(self, replies: list[Any]) -> Iterator[None]:
        """Deliver publications, in as large batches as the answers between them allow.

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
                elif reply[0] == b"unsubscribe":
                    self._has_left(reply[1])
                continue
            if batch:
                yield from self._hub.deliver(batch)
                batch = []
            self._questions.popleft().answer(reply)
        if batch:
            yield from self._hub.deliver(batch)
