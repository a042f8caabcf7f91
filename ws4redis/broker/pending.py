"""Commands whose replies come between the publications."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis.exceptions import ResponseError

Command = Sequence[str | bytes]


class PendingReply:
    """A command whose reply comes between the publications.

    Args:
        on_reply: None where no reply is expected, but confirmations.
        on_error: is given the error that Redis replies; None lets the subscription fail.
        unsent: the commands for the next connection, from which a cancelled one is removed; None where this one is
            not repeated after a loss.
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
        return self._on_reply is None

    @property
    def may_be_repeated(self) -> bool:
        return self._unsent is not None and not self.done

    def cancel(self) -> None:
        """Call neither callback. Of a command that was sent already, its place among the replies remains."""
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


def confirmed(command: str, channels: Sequence[bytes]) -> PendingReply:
    return PendingReply((command, *channels), None, confirmations=len(channels))
