"""Makes the test site's database: john and mary are in the group chatusers, admin is in none."""

import django
from django.core.management import call_command

if __name__ == "__main__":
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import Group, User

    group = Group.objects.create(name="chatusers")
    for name in ("john", "mary"):
        User.objects.create_user(name, password="secret").groups.add(group)
    User.objects.create_superuser("admin", password="secret")
