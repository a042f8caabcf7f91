from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.signals import m2m_changed
from django.dispatch import receiver

from ws4redis.auth.groups import update_groups


@receiver(m2m_changed, sender=User.groups.through)
def follow_groups(instance, action, reverse, pk_set, **kwargs):
    if action not in ("post_add", "post_remove", "post_clear"):
        return
    users = User.objects.filter(pk__in=pk_set or ()) if reverse else [instance]
    for user in users:
        transaction.on_commit(lambda user=user: update_groups(user))


def ban(user):
    user.groups.clear()
    transaction.on_commit(lambda: update_groups(user, []))
