"""The one subscription of this process."""

from __future__ import annotations

import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
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
    """

    def __init__(self, runtime: Runtime, client: Callable[[], Redis], hub: Hub, restored: Callable[[], None]) -> None:
        self._runtime = runtime
        self._client = client
        self._hub = hub
        self._restored = restored
        self._subscription: Subscription | None = None
        #: those whose answers are on their way, in order
        self._questions: deque[Question] = deque()
        #: those that are asked when Redis is back
        self._unsent: dict[Question, None] = {}
        #: the tick in which Redis has said something last
        self._heard = runtime.ticks
        self._failures = 0
        #: channels that Redis was told to forget, and has not confirmed
        self._leaving: Counter[bytes] = Counter()

    def start(self) -> None:
        self._runtime.spawn(self._connect)

    @property
    def subscribed(self) -> bool:
        """Whether all that is wanted is being heard, as far as can be told from here."""
        return self._subscription is not None and not self._failures

    @property
    def silent(self) -> int:
        """For how many ticks Redis has said nothing; at most one while it is there, for the canary is heard."""
        return self._runtime.ticks - self._heard

    # called by the connections, under the lock; none of these waits

    def subscribe(self, channels: Sequence[bytes]) -> None:
        if channels:
            self._send(("SUBSCRIBE", *channels))

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        if channels:
            if self._subscription is not None:
                self._leaving.update(channels)
            self._send(("UNSUBSCRIBE", *channels))

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

    def give_up(self) -> None:
        """Connect anew: this connection has fallen silent."""
        if self._subscription is not None:
            self._subscription.give_up()

    # inside

    def _put(self, question: Question) -> Question:
        if self._subscription is None:
            self._unsent[question] = None
        else:
            self._questions.append(question)
            self._send(question.command)
        return question

    def _send(self, command: Command) -> None:
        if self._subscription is not None:  # else _begin() asks for everything
            self._subscription.send(command)

    def _connect(self) -> None:
        """Until it succeeds; may wait."""
        while True:
            try:
                subscription = Subscription(self._runtime, self._client())
                break
            except Exception as error:
                self._complain(error)
            self._runtime.sleep(self._delay())
        with self._runtime.lock:
            self._begin(subscription)

    def _delay(self) -> float:
        longest = min(_LONGEST_DELAY_SECONDS, 0.05 * 2 ** min(self._failures, 8))
        return random.uniform(longest / 2, longest)

    def _complain(self, error: Exception) -> None:
        if not isinstance(error, RedisUnavailable | ResponseError):
            logger.error("the subscription failed; it is begun again", exc_info=error)
        if not self._failures:
            logger.warning("Redis is away, websockets stay open and wait: %s", error)
        self._failures += 1

    def _begin(self, subscription: Subscription) -> None:
        """Subscribe to everything, and ask what was not answered."""
        self._subscription = subscription
        subscription.start(self._replied, self._lost)
        channels = self._hub.channels
        for start in range(0, len(channels), _SUBSCRIBE_AT_ONCE):
            subscription.send(("SUBSCRIBE", *channels[start : start + _SUBSCRIBE_AT_ONCE]))
        waiting = [*self._unsent]
        self._unsent.clear()
        # not PING, which is an error while Redis cannot write its snapshot (MISCONF)
        for question in [Question(("ECHO", "subscribed"), self._all_subscribed), *waiting]:
            self._put(question)

    def _all_subscribed(self, _pong: Any) -> None:
        if self._failures:
            self._runtime.spawn(logger.warning, "Redis is back, all channels are subscribed again")
        self._failures = 0
        self._restored()

    # called by the subscription, in no greenlet: what waits or logs is spawned

    def _lost(self, error: Exception) -> None:
        tally["subscription lost"] += 1
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        self._unsent.update(dict.fromkeys(each for each in self._questions if each.may_be_repeated))
        self._questions.clear()
        self._leaving.clear()
        self._runtime.spawn(self._come_back, error)

    def _come_back(self, error: Exception) -> None:
        self._complain(error)
        self._runtime.sleep(self._delay())
        self._connect()

    def _replied(self, replies: list[Any]) -> None:
        self._heard = self._runtime.ticks
        subscription = self._subscription
        work = self._hand_on(replies)
        for _ in work:
            assert subscription is not None
            subscription.pause()
            self._runtime.soon(partial(self._go_on, subscription, work))
            return

    def _go_on(self, subscription: Subscription, work: Iterator[None]) -> None:
        """After a pause; what Redis sends in the meantime waits."""
        done = True
        try:
            for _ in work:
                self._runtime.soon(partial(self._go_on, subscription, work))
                done = False
                return
        finally:
            if done:
                subscription.resume()

    def _has_left(self, channel: bytes) -> None:
        # not by Counter's "-=", which looks at all that leave
        if self._leaving[channel] > 1:
            self._leaving[channel] -= 1
        else:
            del self._leaving[channel]

    def _hand_on(self, replies: list[Any]) -> Iterator[None]:
        """Deliver publications, in as large batches as the answers between them allow."""
        batch: list[Publication] = []
        for reply in replies:
            if isinstance(reply, Push):
                if reply[0] == b"message":
                    # before the confirmation it is for those who have left, not for who has come since
                    if reply[1] not in self._leaving:
                        batch.append(Publication(reply[1], reply[2]))
                elif reply[0] == b"unsubscribe":
                    self._has_left(reply[1])
                continue
            if batch:
                yield from self._hub.deliver(batch)
                batch = []
            try:
                self._questions.popleft().answer(reply)
            except Exception as error:
                tell = partial(logger.error, "an answer of Redis could not be handled; the others can", exc_info=error)
                self._runtime.spawn(tell)
        if batch:
            yield from self._hub.deliver(batch)
