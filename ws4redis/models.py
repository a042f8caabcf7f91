"""No models: at login the names of the user's groups are stored in the session, for the websocket loop to read."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest

from ws4redis.channels import GROUPS_SESSION_KEY, GROUPS_TIME_SESSION_KEY


@receiver(user_logged_in)
def store_groups_in_session(sender: Any, user: Any, request: HttpRequest, **kwargs: Any) -> None:
    if hasattr(user, "groups") and getattr(request, "session", None) is not None:
        request.session[GROUPS_SESSION_KEY] = [group.name for group in user.groups.all()]
        request.session[GROUPS_TIME_SESSION_KEY] = time.time()
