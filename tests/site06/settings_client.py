"""For ``wsgi_client``, which is told by others where Redis is: nobody listens here."""

from tests.site06.settings import *  # noqa: F403

WS4REDIS_CONNECTION = {"host": "127.0.0.1", "port": 1}
