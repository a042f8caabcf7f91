"""The one subscription of this process."""

from __future__ import annotations

import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from ws4redis.exceptions import RedisUnavailable
from ws4redis.publication import Publication
from ws4redis.subscription import Subscription, is_push

if TYPE_CHECKING:
    from redis import Redis

    from ws4redis.loop.runtime import Runtime

logger = logging.getLogger("ws4redis")

Command = Sequence[str | bytes]

#: channels in one SUBSCRIBE when all are subscribed again
_SUBSCRIBE_AT_ONCE = 1000

#: the delays before Redis is tried again grow up to this, in seconds
_LONGEST_DELAY_SECONDS = 1.0


class Question:
    """A command whose answer comes between the publications."""

    __slots__ = ("_callback", "command")

    def __init__(self, command: Command, callback: Callable[[Any], None]) -> None:
        self.command = command
        self._callback: Callable[[Any], None] | None = callback

    @property
    def cancelled(self) -> bool:
        return self._callback is None

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self._callback = None

    def answer(self, reply: Any) -> None:
        if self._callback is not None:
            self._callback(reply)


class PubSub:
    """Subscribes, reads all that Redis has sent, and comes back by itself after a loss.

    Args:
        runtime: the kind of concurrency.
        client: returns the client whose Redis it is.
        wanted: returns the channels to which somebody listens; asked after each loss.
        deliver: is given the publications of each read, in order.
        restored: is called when everything is subscribed, at first and after each loss.
    """

    def __init__(
        self,
        runtime: Runtime,
        client: Callable[[], Redis],
        wanted: Callable[[], Iterable[bytes]],
        deliver: Callable[[list[Publication]], None],
        restored: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._client = client
        self._wanted = wanted
        self._deliver = deliver
        self._restored = restored
        self._subscription: Subscription | None = None
        self._questions: deque[Question] = deque()
        self._outgoing: list[Command] = []
        self._flushing = False
        self._failures = 0
        #: channels that Redis was told to forget, and has not confirmed
        self._leaving: Counter[bytes] = Counter()

    def start(self) -> None:
        self._runtime.spawn(self._run)

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
        return self._put(Question(("MGET", *channels), callback))

    def publish(self, channel: bytes, payload: bytes) -> None:
        """On the same connection; dropped while Redis is away."""
        if self._subscription is not None:
            self._put(Question(("PUBLISH", channel, payload), lambda _count: None))

    def give_up(self) -> None:
        """Connect anew: this connection has fallen silent."""
        if self._subscription is not None:
            self._subscription.close()  # the reader notices

    # inside

    def _put(self, question: Question) -> Question:
        self._questions.append(question)
        self._send(question.command)
        return question

    def _send(self, command: Command) -> None:
        if self._subscription is None:
            return  # _subscribe_again() asks for everything
        self._outgoing.append(command)
        if not self._flushing:
            self._flushing = True
            self._runtime.spawn(self._flush)

    def _flush(self) -> None:
        """Send what has gathered; by one greenlet at a time, lest two commands mix."""
        while True:
            with self._runtime.lock:
                commands, self._outgoing = self._outgoing, []
                subscription = self._subscription
                if not commands or subscription is None:
                    self._flushing = False
                    return
            try:
                subscription.send(commands)
            except Exception:  # a TLS socket that is closed meanwhile raises just anything
                subscription.close()  # the reader notices

    def _run(self) -> None:
        while True:
            try:
                subscription = Subscription(self._client())
                self._subscribe_again(subscription)
                self._read(subscription)
            except (RedisUnavailable, ResponseError) as error:
                self._lost(error)
            except Exception as error:
                logger.exception("the subscription failed; it is started again")
                self._lost(error)
            self._runtime.sleep(self._delay())

    def _delay(self) -> float:
        longest = min(_LONGEST_DELAY_SECONDS, 0.05 * 2 ** min(self._failures, 8))
        return random.uniform(longest / 2, longest)

    def _lost(self, error: Exception) -> None:
        with self._runtime.lock:
            if self._subscription is not None:
                self._subscription.close()
                self._subscription = None
            self._outgoing = []
            self._leaving.clear()
            self._questions = deque(each for each in self._questions if not each.cancelled)
        if not self._failures:
            logger.warning("Redis is away, websockets stay open and wait: %s", error)
        self._failures += 1

    def _subscribe_again(self, subscription: Subscription) -> None:
        with self._runtime.lock:
            names = list(self._wanted())
            commands: list[Command] = [
                ("SUBSCRIBE", *names[start : start + _SUBSCRIBE_AT_ONCE])
                for start in range(0, len(names), _SUBSCRIBE_AT_ONCE)
            ]
            waiting = [each for each in self._questions if not each.cancelled]
            self._questions = deque([Question(("PING",), self._all_subscribed), *waiting])
            self._outgoing = commands + [each.command for each in self._questions]
            self._subscription = subscription
            if self._flushing:
                return
            self._flushing = True
        self._flush()

    def _all_subscribed(self, _pong: Any) -> None:
        if self._failures:
            logger.warning("Redis is back, all channels are subscribed again")
        self._failures = 0
        self._restored()

    def _read(self, subscription: Subscription) -> None:
        while True:
            replies = subscription.receive()
            with self._runtime.lock:
                self._hand_on(replies)
            # while Redis has more to tell, receive() does not wait: let others have their turn
            self._runtime.sleep(0)

    def _has_left(self, channel: bytes) -> None:
        # not by Counter's "-=", which looks at all that leave
        if self._leaving[channel] > 1:
            self._leaving[channel] -= 1
        else:
            del self._leaving[channel]

    def _hand_on(self, replies: list[Any]) -> None:
        """Deliver publications, in as large batches as the answers between them allow."""
        batch: list[Publication] = []
        for reply in replies:
            if is_push(reply):
                if reply[0] == b"message":
                    # before the confirmation it is for those who have left, not for who has come since
                    if reply[1] not in self._leaving:
                        batch.append(Publication(reply[1], reply[2]))
                elif reply[0] == b"unsubscribe":
                    self._has_left(reply[1])
                continue
            if batch:
                self._deliver(batch)
                batch = []
            try:
                self._questions.popleft().answer(reply)
            except Exception:
                logger.exception("an answer of Redis could not be handled; the others can")
        if batch:
            self._deliver(batch)
