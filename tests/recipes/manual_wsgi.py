"""As the manual of django-websocket-redis has it: nothing is patched."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.recipes.settings")
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from ws4redis.uwsgi_runserver import uWSGIWebSocketServer

_django_app = get_wsgi_application()
_websocket_app = uWSGIWebSocketServer()


def application(environ, start_response):
    if environ.get("PATH_INFO").startswith(settings.WEBSOCKET_URL):
        return _websocket_app(environ, start_response)
    return _django_app(environ, start_response)
