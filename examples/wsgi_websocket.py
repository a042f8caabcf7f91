"""The websocket loop alone: websockets and nothing else, under uWSGI with gevent. ``wsgi_django`` is its other half."""

import os

# before gevent patches anything
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatserver.settings")

from ws4redis.uwsgi_runserver import uWSGIWebsocketServer

application = uWSGIWebsocketServer()
