"""The websockets, with a client that was made elsewhere, as Sentinel's ``master_for()`` makes one."""

import os

import gevent.socket
import redis.connection

redis.connection.socket = gevent.socket
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.site06.settings_client"
from ws4redis.uwsgi_runserver import uWSGIWebsocketServer  # noqa: E402

application = uWSGIWebsocketServer(redis.StrictRedis.from_url(os.environ["REDIS_URL"]))
