"""No models: at login the names of the user's groups are stored in the session, for the websocket loop to read."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest

from ws4redis.auth.groups import current_stamp, names_of_groups
from ws4redis.broker import client as redis_client
from ws4redis.core.channels import GROUPS_SESSION_KEY, GROUPS_STAMP_SESSION_KEY

logger = logging.getLogger("ws4redis")


@receiver(user_logged_in)
def store_groups_in_session(sender: Any, user: Any, request: HttpRequest, **kwargs: Any) -> None:
    if hasattr(user, "groups") and getattr(request, "session", None) is not None:
        # the stamp first: a change that comes in between must not count as known here
        stamp = _stamp()
        request.session[GROUPS_SESSION_KEY] = names_of_groups(user)
        request.session[GROUPS_STAMP_SESSION_KEY] = stamp


def _stamp() -> str:
    """Empty where Redis does not reply: the groups are then looked up in the database."""
    try:
        return current_stamp(redis_client.client())
    except Exception as error:
        logger.info("cannot read the stamp of groups for a login, they will be looked up: %s", error)
        return ""
