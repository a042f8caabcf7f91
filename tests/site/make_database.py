"""Makes the test site's database: john and mary are in the group chatusers, admin is in none."""

import django
from django.core.management import call_command

if __name__ == "__main__":
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    from django.contrib.auth import get_user_model

    User = get_user_model()
    Group = User._meta.get_field("groups").related_model
    group = Group.objects.create(name="chatusers")
    for name in ("john", "mary"):
        natural_key = name if User.USERNAME_FIELD == "username" else f"{name}@example.com"
        User.objects.create_user(natural_key, password="secret").groups.add(group)
    if User.USERNAME_FIELD == "username":
        User.objects.create_superuser("admin", password="secret")
