"""Sample of the page "Publish": what a transaction changes."""

from django.db import transaction

from ws4redis.publisher import RedisPublisher


def rename(group, name):
    publisher = RedisPublisher(facility="groups", broadcast=True)
    with transaction.atomic():
        group.name = name
        group.save()
        transaction.on_commit(lambda: publisher.publish_message(f"now {name}"), robust=True)
