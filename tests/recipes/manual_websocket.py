"""As the manual of django-websocket-redis has it: only redis-py's sockets are patched."""

import os

import gevent.socket
import redis.connection

redis.connection.socket = gevent.socket
os.environ.update(DJANGO_SETTINGS_MODULE="tests.recipes.settings")
from ws4redis.uwsgi_runserver import uWSGIWebSocketServer  # noqa: E402

application = uWSGIWebSocketServer()
