"""Identity: what remains of a request once it is a websocket."""

from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """A user's row in the database, by which the groups are found."""

    model: Any
    pk: Any


class Identity(NamedTuple):
    """The user and the session of a request; an empty field adds no channel and cannot be searched for."""

    username: str = ""
    groups: tuple[str, ...] = ()
    session_key: str = ""
    #: the stamp as of which they are the groups, such as "5f0c2a9be1d3778a:17"; empty where it is not known
    groups_at: str = ""
    #: None where there is none, or where the site's own hook says what the groups are
    row: Row | None = None
    #: the user's primary key; empty where a hook's own user has none
    user_pk: str = ""
    #: what Django stored at the login, and what a change of the password changes; empty where the session has none
    session_hash: str = ""


#: shared by all clients that have neither a user nor a session
ANONYMOUS = Identity()
