"""Asking the database in which groups users are, where Redis has lost it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.db import connections
from redis import Redis

from ws4redis.auth.groups import look_up_groups
from ws4redis.core.identity import Identity

if TYPE_CHECKING:
    from ws4redis.runtime.port import Runtime

logger = logging.getLogger("ws4redis")

#: between a lookup that failed and the next one
_PAUSE_SECONDS = 1.0


class Lookups:
    """One lookup at a time, and one for all websockets of a user; the answer is published, as an update of groups.

    The latest user comes first: a client that waits for the upgrade times out, one that is connected does not. While
    the database fails it is asked again, once a second.

    Args:
        client: returns the client of the Redis where the process listens.
    """

    def __init__(self, runtime: Runtime, client: Callable[[], Redis]) -> None:
        self._runtime = runtime
        self._client = client
        self._waiting: OrderedDict[str, Identity] = OrderedDict()
        self._working = self._failing = False

    def ask(self, identity: Identity) -> None:
        """Called under the lock; does not wait."""
        self._waiting[identity.username] = identity
        self._waiting.move_to_end(identity.username)
        if not self._working:
            self._runtime.spawn(self._work)
            self._working = True

    # inside

    def _work(self) -> None:
        try:
            while (identity := self._next()) is not None:
                self._look_up(identity)
        except BaseException:
            self._working = False
            raise

    def _next(self) -> Identity | None:
        with self._runtime.lock:
            if self._waiting:
                return self._waiting.popitem()[1]
            self._working = False
            return None

    def _look_up(self, identity: Identity) -> None:
        try:
            self._runtime.run_in_thread(self._ask_database, identity)
        except Exception as error:
            with self._runtime.lock:
                self._waiting.setdefault(identity.username, identity)
                self._waiting.move_to_end(identity.username, last=False)
            self._log_failure(identity, error)
            self._runtime.sleep(_PAUSE_SECONDS)
        else:
            self._failing = False

    def _ask_database(self, identity: Identity) -> None:
        try:
            look_up_groups(identity, self._client())
        finally:
            connections.close_all()

    def _log_failure(self, identity: Identity, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            logger.error(
                "group lookup failed for %r, retrying; until then these websockets are in no group: %s",
                identity.username,
                error,
                exc_info=error,
            )
