"""The connections of this process by user and by session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from ws4redis.core.identity import Identity

T = TypeVar("T")


class Directory(Generic[T]):
    """Finds connections by identity; all calls are made under the lock.

    A connection that has neither a user nor a session is not entered, so it costs nothing.
    """

    def __init__(self) -> None:
        self._keys: dict[T, tuple[str, str]] = {}
        self._users: dict[str, set[T]] = {}
        self._sessions: dict[str, set[T]] = {}

    def add(self, connection: T, identity: Identity) -> None:
        """Enter the connection, in place of what is known of it."""
        self.discard(connection)
        keys = identity.user_pk, identity.session_key
        if any(keys):
            self._keys[connection] = keys
            for index, key in self._places(keys):
                index.setdefault(key, set()).add(connection)

    def discard(self, connection: T) -> None:
        """Forget the connection, if it is known."""
        for index, key in self._places(self._keys.pop(connection, ("", ""))):
            index[key].discard(connection)
            if not index[key]:
                del index[key]

    def by_user(self, pk: str) -> set[T]:
        """The connections of the user with this primary key; a set of the caller's own."""
        return {*self._users.get(pk, ())}

    def by_session(self, key: str) -> set[T]:
        """The connections that were opened with this session; a set of the caller's own."""
        return {*self._sessions.get(key, ())}

    def _places(self, keys: tuple[str, str]) -> Iterable[tuple[dict[str, set[T]], str]]:
        return [(index, key) for index, key in zip((self._users, self._sessions), keys, strict=True) if key]
