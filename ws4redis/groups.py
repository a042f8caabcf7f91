"""Groups that change while their members are connected.

The login signal stores the names of a user's groups in the session. A later change is kept in Redis, where it wins over
all sessions that are older, and is published on a channel of the same name.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest

from ws4redis import redis_client
from ws4redis.channels import Identity, groups_channel, identity_of

logger = logging.getLogger("ws4redis")


def update_groups(user: Any, groups: Iterable[str] | None = None) -> int:
    """Let the open websockets of a user follow his groups, and all that he opens later (SET, PUBLISH).

    Args:
        user: a user of Django's.
        groups: the names of all groups that he is in from now on; by default those of ``user.groups``.

    Returns:
        how many loop processes have a websocket of this user that uses groups.

    Raises:
        TypeError: ``user`` is no user, or ``groups`` is no list of names.
        RedisUnavailable: Redis did not take it within ``WS4REDIS_TIMEOUT``; nothing has changed.
    """
    if not hasattr(user, "get_username"):
        raise TypeError(f"update_groups() takes a user, not {type(user).__name__}")
    names = [group.name for group in user.groups.all()] if groups is None else list(groups)
    if isinstance(groups, str) or not all(isinstance(name, str) for name in names):
        raise TypeError("groups must be a list of names")
    channel = groups_channel(user.get_username())
    payload = json.dumps({"groups": names, "at": time.time()})
    with redis_client.redis_errors(), redis_client.client().pipeline() as pipeline:
        return int(pipeline.set(channel, payload).publish(channel, payload).execute()[1])


def with_newer_groups(identity: Identity, update: bytes | None) -> Identity:
    """The identity as ``update_groups()`` has changed it, unless the user has logged in since."""
    if update is None:
        return identity
    try:
        told = json.loads(update)
        names, at = tuple(str(name) for name in told["groups"]), float(told["at"])
        "".join(names).encode()  # JSON may name what is no text
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        logger.warning("what Redis has as the groups of %r is not understood: %.100r", identity.username, update)
        return identity
    return identity._replace(groups=names) if at > identity.groups_at else identity


def current_identity(request: HttpRequest | None) -> Identity:
    """Whom a request stands for, in the groups of now (GET)."""
    identity = identity_of(request)
    if not identity.username:
        return identity
    with redis_client.redis_errors():
        return with_newer_groups(identity, redis_client.client().get(groups_channel(identity.username)))
