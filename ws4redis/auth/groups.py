"""Groups that change while their members are connected.

The login signal stores the names of a user's groups in the session, with the stamp that Redis had before they were
read. A later change is stored in Redis under a new stamp, and published on a channel of the same name. A stamp is
``<epoch>:<number>``: the number counts the changes, the epoch is a random one that ends when Redis loses its data. Two
stamps thus tell which came later, or that only the database knows.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from secrets import token_hex
from typing import Any, NamedTuple

from django.http import HttpRequest
from redis import Redis

from ws4redis.auth.identity import identity_of
from ws4redis.broker import client as redis_client
from ws4redis.broker.scripts import Script
from ws4redis.core.channels import groups_keys
from ws4redis.core.identity import Identity
from ws4redis.exceptions import RedisUnavailable

logger = logging.getLogger("ws4redis")

_STAMP = re.compile(r"([0-9a-f]+):(\d{1,15})", re.ASCII)

_MAKE_STAMP = Script("read_stamp", "make_stamp")
_UPDATE = Script("read_stamp", "update_groups")
_OFFER = Script("offer_groups")

#: what the database has said may expire: it is asked again
_LOOKED_UP_SECONDS = 24 * 3600

#: Redis loses its data seldom, and hardly ever while the database is asked
_TRIES = 3


class Stamp(NamedTuple):
    epoch: str
    number: int


class Update(NamedTuple):
    groups: tuple[str, ...]
    at: Stamp
    #: the database has said it, not ``update_groups()``
    looked_up: bool


def update_groups(user: Any, groups: Iterable[str] | None = None) -> int:
    """Let the open websockets of a user follow their groups, and all that they open later (SET, PUBLISH).

    Args:
        user: a user of Django's.
        groups: the names of all groups that the user is in from now on; by default those of ``user.groups``.

    Returns:
        how many loop processes have a websocket of this user that uses groups.

    Raises:
        TypeError: ``user`` is no user, or ``groups`` is no list of names.
        RedisUnavailable: Redis did not take it within ``WS4REDIS_TIMEOUT``; nothing has changed.
    """
    if not hasattr(user, "get_username"):
        raise TypeError(f"update_groups() takes a user, not {type(user).__name__}")
    names = names_of_groups(user) if groups is None else list(groups)
    if isinstance(groups, str) or not all(isinstance(name, str) for name in names):
        raise TypeError("groups must be a list of names")
    keys = groups_keys(user.get_username())
    with redis_client.redis_errors():
        return int(_UPDATE(redis_client.client(), keys, token_hex(8), json.dumps(names)))


def names_of_groups(user: Any) -> list[str]:
    return [group.name for group in user.groups.all()]


def current_stamp(redis: Redis) -> str:
    """The current stamp; made where Redis has none.

    Raises:
        RedisUnavailable: Redis did not answer within ``WS4REDIS_TIMEOUT``.
    """
    key = groups_keys("")[0]
    with redis_client.redis_errors():
        stamp = redis.get(key)
        if _parsed(stamp) is None:
            stamp = _MAKE_STAMP(redis, [key], token_hex(8))
    return str(stamp, "ascii")


def with_newer_groups(identity: Identity, update: bytes | None) -> Identity:
    """The identity after an update that was published or stored, unless the identity is known to be the newer."""
    parsed = _parse_update(identity, update)
    if parsed is None or (parsed.looked_up and identity.row is None):
        return identity
    known = _parsed(identity.groups_at)
    if known is not None and known.epoch == parsed.at.epoch and known.number >= parsed.at.number:
        return identity
    return identity._replace(groups=parsed.groups, groups_at=f"{parsed.at.epoch}:{parsed.at.number}")


def with_kept_groups(identity: Identity, stamp: bytes | None, update: bytes | None) -> Identity | None:
    """The identity with its current groups, by what Redis has stored; None where only the database knows them.

    Args:
        stamp: the value of the first of ``groups_keys()``.
        update: the value of the second.
    """
    if identity.row is None:
        return with_newer_groups(identity, update)
    now, known = _parsed(stamp), _parsed(identity.groups_at)
    if now is not None and known == now:
        return identity
    if now is None or (known is not None and known.epoch == now.epoch and known.number > now.number):
        return None
    parsed = _parse_update(identity, update)
    if parsed is None or parsed.at.epoch != now.epoch:
        return None
    return with_newer_groups(identity, update)


def is_of_the_epoch(identity: Identity, stamp: bytes | None) -> bool:
    """Whether Redis has lost nothing since these were the identity's groups, unless it was this user's key alone."""
    now, known = _parsed(stamp), _parsed(identity.groups_at)
    return now is not None and known is not None and known.epoch == now.epoch and known.number <= now.number


def current_identity(request: HttpRequest | None, redis: Redis | None = None) -> Identity:
    """The request's identity with its current groups (MGET, and the database where Redis does not know them).

    Args:
        redis: by default that of ``WS4REDIS_CONNECTION``.
    """
    identity = identity_of(request)
    if not identity.username:
        return identity
    with redis_client.redis_errors():
        kept = (redis or redis_client.client()).mget(groups_keys(identity.username))
    return in_groups_of_now(request, identity, *kept)


def in_groups_of_now(
    request: HttpRequest | None, identity: Identity, stamp: bytes | None, update: bytes | None
) -> Identity:
    """The same, by what Redis has stored or else by the database; for views, where that may be asked."""
    known = with_kept_groups(identity, stamp, update)
    if known is not None:
        return known
    # not published: the view may be in a transaction that does not last
    return identity._replace(groups=tuple(names_of_groups(request.user)))  # type: ignore[union-attr]


def look_up_groups(identity: Identity, redis: Redis) -> None:
    """Ask the database, unless Redis knows by now, and publish the user's groups as an update; blocks.

    Raises:
        RedisUnavailable: Redis did not take it within ``WS4REDIS_TIMEOUT``.
    """
    keys = groups_keys(identity.username)
    for _ in range(_TRIES):
        stamp = current_stamp(redis)
        epoch = stamp.partition(":")[0]
        with redis_client.redis_errors():
            update = redis.get(keys[1])
        parsed = _parse_update(identity, update)
        if parsed is None or parsed.at.epoch != epoch:
            update = json.dumps({"groups": _names_in_database(identity), "at": stamp, "looked_up": True})
        with redis_client.redis_errors():
            if _OFFER(redis, keys, stamp, epoch, update, _LOOKED_UP_SECONDS):
                return
    raise RedisUnavailable(f"Redis has lost its data {_TRIES} times")


def _names_in_database(identity: Identity) -> list[str]:
    """Empty for a user who was deleted, renamed or deactivated."""
    assert identity.row is not None
    user = identity.row.model._default_manager.filter(pk=identity.row.pk).first()
    if user is None or user.get_username() != identity.username or not getattr(user, "is_active", True):
        return []
    return names_of_groups(user)


def _parsed(stamp: str | bytes | None) -> Stamp | None:
    text = stamp.decode("ascii", "replace") if isinstance(stamp, bytes) else stamp
    match = _STAMP.fullmatch(text or "")
    return Stamp(match[1], int(match[2])) if match else None


def _parse_update(identity: Identity, update: bytes | None) -> Update | None:
    """None where there is none, or where it is none of ours, which is logged."""
    if update is None:
        return None
    try:
        parsed = json.loads(update)
        names, at = tuple(str(name) for name in parsed["groups"]), _parsed(parsed["at"])
        "".join(names).encode()  # JSON may name what is no text
        if at is not None:
            return Update(names, at, parsed.get("looked_up") is True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    logger.warning("cannot read the groups of %r in Redis: %.100r", identity.username, update)
    return None
