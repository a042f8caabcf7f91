"""Django, set up once for the tests that need its apps; import it before any model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import django

django.setup()


@contextmanager
def database() -> Iterator[None]:
    """A migrated database in memory with john, in the groups chatusers and writers, and mary, in none."""
    from django.contrib.auth.models import Group, User
    from django.test.utils import setup_databases, teardown_databases

    configuration = setup_databases(verbosity=0, interactive=False)
    john = User.objects.create_user("john", password="secret")
    john.groups.add(Group.objects.create(name="chatusers"), Group.objects.create(name="writers"))
    User.objects.create_user("mary", password="secret")
    yield
    teardown_databases(configuration, verbosity=0)
