"""Visitors of the site: users in groups, each logged in, with a session in Redis.

Usage: ``python -m fanout.site.visitors NUMBER``; the session keys go to stdout.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

import django
from django.conf import settings
from django.contrib import auth
from django.core.management import call_command
from django.db import transaction
from django.http import HttpRequest

from fanout.streams import GROUP, GROUPS, USER, stream


def log_in(number: int) -> list[str]:
    """Returns the session keys."""
    from django.contrib.auth.models import Group, User

    groups = Group.objects.bulk_create(Group(name=f"{GROUP}{each}") for each in range(GROUPS))
    users = User.objects.bulk_create(User(username=stream(USER, each), password=f"!{each}") for each in range(number))
    in_group = {group.name: group.pk for group in groups}
    User.groups.through.objects.bulk_create(
        User.groups.through(user_id=user.pk, group_id=in_group[stream(GROUP, each)]) for each, user in enumerate(users)
    )
    return [_session_of(user) for user in User.objects.order_by("pk").prefetch_related("groups")]


def _session_of(user: auth.base_user.AbstractBaseUser) -> str:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore()
    auth.login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session.save()
    return str(request.session.session_key)


if __name__ == "__main__":
    django.setup()
    call_command("migrate", verbosity=0, interactive=False)
    with transaction.atomic():
        keys = log_in(int(sys.argv[1]))
    print(json.dumps(keys))
