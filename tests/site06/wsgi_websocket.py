"""The websockets, with Django in another uWSGI."""

import os

import gevent.socket
import redis.connection

redis.connection.socket = gevent.socket
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site06.settings")
from ws4redis.uwsgi_runserver import uWSGIWebsocketServer  # noqa: E402

application = uWSGIWebsocketServer()
