"""Names of channels: an audience and a facility become a Redis channel.

A channel name is also the key of the channel's last message. The URL of a websocket names its channels by flags such
as ``subscribe-broadcast``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ws4redis import settings
from ws4redis.core.deprecated import callers_level
from ws4redis.core.identity import Identity

#: where the login signal stores the names of the user's groups
GROUPS_SESSION_KEY = "ws4redis:memberof"

#: and the stamp that Redis had before it read them
GROUPS_STAMP_SESSION_KEY = "ws4redis:memberof_at"

#: in the order in which a new client gets last messages
AUDIENCES = ("broadcast", "group", "user", "session")

ECHO = "echo"

#: in bytes: it is part of each channel's name, which Redis and each listening process keep
MAX_FACILITY_SIZE = 1024


class SELF_TYPE:
    def __repr__(self) -> str:
        return "SELF"


#: stands for the request's own user, groups or session in the lists given to a publisher
SELF = SELF_TYPE()


def prefix() -> str:
    text = settings.WS4REDIS_PREFIX
    return f"{text}:" if text else ""


def escaped(name: object) -> str:
    """A name of a user, group or session as it stands in a channel's name, where a colon ends it."""
    return str(name).replace("%", "%25").replace(":", "%3A")


def broadcast_channel(facility: str) -> str:
    return f"{prefix()}broadcast:{facility}"


def audience_channel(audience: str, name: object, facility: str) -> str:
    """``audience`` is user, group or session."""
    return f"{prefix()}{audience}:{escaped(name)}:{facility}"


def groups_channel(username: str) -> str:
    """The channel that tells of changes of a user's groups, and the key of the last one."""
    return f"{prefix()}{GROUPS_SESSION_KEY}:{escaped(username)}"


def groups_keys(username: str) -> tuple[str, str]:
    """The key of the stamp that counts the changes of all users' groups, and that of a user's last change."""
    return f"{prefix()}{GROUPS_SESSION_KEY}", groups_channel(username)


def own_channels(audience: str, facility: str, identity: Identity) -> list[str]:
    """The channels of one audience that belong to one identity; none where it has no such name."""
    if audience == "broadcast":
        return [broadcast_channel(facility)]
    if audience == "group":
        return [audience_channel(audience, name, facility) for name in identity.groups if name]
    name = identity.username if audience == "user" else identity.session_key
    return [audience_channel(audience, name, facility)] if name else []


def addressed_channels(
    facility: str | None = None,
    broadcast: bool = False,
    groups: Iterable[Any] = (),
    users: Iterable[Any] = (),
    sessions: Iterable[Any] = (),
    request: Any = None,
    *,
    identify: Callable[[Any], Identity],
) -> list[str]:
    """The channels that a publisher addresses, each once, in the order broadcast, groups, users, sessions.

    Raises:
        ValueError: an audience without a facility, ``SELF`` without a request, or something that is no list.
    """
    if facility is None:
        if broadcast or groups or users or sessions:
            raise ValueError("facility is missing: a publisher with an audience needs facility='...'")
        return []
    channels = [broadcast_channel(facility)] if broadcast is True else []
    identity: Identity | None = None
    for audience, names in (("group", groups), ("user", users), ("session", sessions)):
        for name in _listed(names, audience):
            if name is not SELF:
                channels.append(audience_channel(audience, name, facility))
                continue
            if request is None:
                raise ValueError(f"{audience}s=[SELF] needs request=: without it nobody knows who SELF is")
            identity = identity or identify(request)
            channels += own_channels(audience, facility, identity)
    return list(dict.fromkeys(channels))


def _listed(names: Any, audience: str) -> Iterable[Any]:
    if names is None or names is False:
        return ()
    if names is True or hasattr(names, "encode"):  # a str, or a lazy one
        name = SELF if names is True else str(names)
        warnings.warn(
            f"{audience}s={names!r} is deprecated, pass a list: [{name!r}]", DeprecationWarning, callers_level()
        )
        return (name,)
    if isinstance(names, bytes) or not isinstance(names, Iterable):
        raise ValueError(f"{audience}s must be a list of names, not {type(names).__name__}")
    return names


def facility_of(path: str) -> str:
    """What follows ``WEBSOCKET_URL`` in the (decoded) path; a proxy may have stripped that prefix."""
    url = settings.WEBSOCKET_URL
    return path.replace(url, "", 1) if url in path else path.removeprefix("/")


class ChannelRequest(NamedTuple):
    """What a websocket was opened with: enough to find its channels, again when the groups change."""

    identity: Identity
    facility: str
    flags: Sequence[str]

    def channels(self, direction: str) -> list[str]:
        """``direction`` is subscribe or publish."""
        return [
            name
            for audience in AUDIENCES
            if f"{direction}-{audience}" in self.flags
            for name in own_channels(audience, self.facility, self.identity)
        ]

    @property
    def depends_on_groups(self) -> bool:
        return bool(self.identity.username) and not {"subscribe-group", "publish-group"}.isdisjoint(self.flags)
