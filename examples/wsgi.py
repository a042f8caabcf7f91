"""Both loops in one uWSGI: pages by Django, websockets by ws4redis."""

import os

# before gevent patches anything
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatserver.settings")

from django.core.wsgi import get_wsgi_application

from ws4redis import settings
from ws4redis.uwsgi_runserver import uWSGIWebsocketServer

_django_app = get_wsgi_application()
_websocket_app = uWSGIWebsocketServer()


def application(environ, start_response):
    if environ["PATH_INFO"].startswith(settings.WEBSOCKET_URL):
        return _websocket_app(environ, start_response)
    return _django_app(environ, start_response)
