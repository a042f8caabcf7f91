"""Sample of the page "Test your site"."""

from django.contrib.auth.models import Group
from django.test import TestCase
from transaction import rename

from ws4redis.publisher import RedisPublisher


class RenameTests(TestCase):
    def test_all_are_told(self):
        with self.captureOnCommitCallbacks(execute=True):
            rename(Group.objects.create(name="readers"), "subscribers")
        message = RedisPublisher().fetch_message(None, facility="groups", audience="broadcast")
        self.assertEqual(message, b"now subscribers")
