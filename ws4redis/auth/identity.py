"""The identity of a request: its user, groups and session."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Model
from django.http import HttpRequest

from ws4redis.core.channels import GROUPS_SESSION_KEY, GROUPS_STAMP_SESSION_KEY
from ws4redis.core.identity import ANONYMOUS, Identity, Row

#: where ``identity_once`` keeps what it has taken
_TAKEN = "_ws4redis_identity"


def identity_of(request: HttpRequest | None) -> Identity:
    """The identity as the request has it now."""
    user = getattr(request, "user", None)
    session = getattr(request, "session", None)
    session_key = getattr(session, "session_key", None) or ""
    if not user or not user.is_authenticated:
        return Identity(session_key=session_key) if session_key else ANONYMOUS
    pk = getattr(user, "pk", None)
    user_pk = "" if pk is None else str(pk)
    if session is None:
        return Identity(user.get_username(), user_pk=user_pk)
    return Identity(
        user.get_username(),
        tuple(session.get(GROUPS_SESSION_KEY, ())),
        session_key,
        str(session.get(GROUPS_STAMP_SESSION_KEY, "")),
        _row_of(user, session),
        user_pk,
        str(session.get(HASH_SESSION_KEY, "")),
    )


def identity_once(request: HttpRequest) -> Identity:
    """The same, taken once for as long as the request has this user and this session."""
    user, session = getattr(request, "user", None), getattr(request, "session", None)
    taken = vars(request).get(_TAKEN)
    if taken is None or taken[0] is not user or taken[1] is not session:
        taken = vars(request)[_TAKEN] = user, session, identity_of(request)
    return taken[2]  # type: ignore[no-any-return]


def _row_of(user: Any, session: Any) -> Row | None:
    """A hook's own users and sessions, such as a plain dict, have none."""
    if isinstance(session, SessionBase) and isinstance(user, Model) and hasattr(user.__class__, "groups"):
        return Row(user.__class__, user.pk)
    return None
