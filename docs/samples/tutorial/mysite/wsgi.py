import os

# before gevent patches anything
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

from django.core.wsgi import get_wsgi_application

from ws4redis import settings
from ws4redis.uwsgi_runserver import uWSGIWebsocketServer

django_app = get_wsgi_application()
websocket_app = uWSGIWebsocketServer()


def application(environ, start_response):
    if environ["PATH_INFO"].startswith(settings.WEBSOCKET_URL):
        return websocket_app(environ, start_response)
    return django_app(environ, start_response)
