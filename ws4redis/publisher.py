"""Publishing from anywhere: a view, a Celery task, a shell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpRequest

from ws4redis.auth.groups import current_identity, in_groups_of_now
from ws4redis.auth.identity import identity_of
from ws4redis.broker import client as redis_client
from ws4redis.core import channels
from ws4redis.core.channels import groups_keys
from ws4redis.core.deprecated import Historic, historic_names, imported
from ws4redis.core.identity import Identity
from ws4redis.redis_store import RedisStore

__getattr__ = historic_names(
    __name__,
    {
        "redis_connection_pool": Historic(
            "ws4redis.broker.client.client().connection_pool", lambda: redis_client.client().connection_pool
        ),
        "conn_args": Historic(
            "ws4redis.broker.client.connection_options()", lambda: redis_client.connection_options()[1]
        ),
        **imported(
            ConnectionPool="redis.ConnectionPool",
            StrictRedis="redis.Redis",
            UnixDomainSocketConnection="redis.connection.UnixDomainSocketConnection",
            is_authenticated="ws4redis._compat.is_authenticated",
            settings="ws4redis.settings",
        ),
    },
)


class RedisPublisher(RedisStore):
    """Publishes to an audience on a facility.

    Any combination of audiences, all sent in one round trip::

        RedisPublisher(facility="news", broadcast=True).publish_message("hello")
        RedisPublisher(facility="news", users=[SELF, "mary"], request=request).publish_message("hello")

    Args:
        facility: what follows ``WEBSOCKET_URL`` in the URL of the listening websockets.
        broadcast: True addresses all websockets of the facility.
        users: user names, or ``SELF``.
        groups: group names, or ``SELF`` for all groups of the request's user.
        sessions: session keys, or ``SELF``.
        request: whose user, groups and session ``SELF`` stands for; None allows no ``SELF``.

    Raises:
        ValueError: an audience without a facility, or ``SELF`` without a request.
    """

    def __init__(self, **audience: Any) -> None:
        super().__init__(redis_client.client())
        self._publishers.update(self._get_message_channels(**audience))

    @staticmethod
    def _get_message_channels(
        request: HttpRequest | None = None,
        facility: str | None = None,
        broadcast: bool = False,
        groups: Iterable[Any] = (),
        users: Iterable[Any] = (),
        sessions: Iterable[Any] = (),
    ) -> list[str]:
        """The arguments are those of the class; a subclass may take more."""
        identify = current_identity if groups else identity_of
        return channels.addressed_channels(facility, broadcast, groups, users, sessions, request, identify=identify)

    def fetch_message(self, request: HttpRequest | None, facility: str, audience: str = "any") -> bytes | None:
        """The last message for this request: of its session, user, groups, or broadcast, the first that there is.

        Args:
            audience: session, user, group, broadcast or any.

        Raises:
            RedisUnavailable: Redis did not answer within ``WS4REDIS_TIMEOUT``.
        """
        wanted = ("session", "user", "group", "broadcast") if audience == "any" else (audience,)
        identity = identity_of(request)
        values, stored_groups = self._last_messages(wanted, facility, identity)
        if stored_groups:
            present = in_groups_of_now(request, identity, *stored_groups)
            if present.groups != identity.groups:
                values, _ = self._last_messages(wanted, facility, present)
        return next((value for value in values if value), None)

    def _last_messages(
        self, audiences: Sequence[str], facility: str, identity: Identity
    ) -> tuple[list[bytes | None], list[bytes | None]]:
        """The last messages of an identity's channels, and those of ``groups_keys()`` where groups matter (MGET)."""
        names = [
            name
            for audience in audiences
            if audience in channels.AUDIENCES
            for name in channels.own_channels(audience, facility, identity)
        ]
        keys = groups_keys(identity.username) if identity.username and "group" in audiences else ()
        if not names and not keys:
            return [], []
        with redis_client.redis_errors():
            values = self._connection.mget([*names, *keys])
        return values[: len(names)], values[len(names) :]
