"""The site that ``abuse.py`` attacks: websockets with the defaults of all settings, and a view that publishes.

Settings, URLs, view and hook are in one module, which needs nothing of the tests, so that it serves an older package,
too. ``PACKAGE`` is the folder from which ws4redis must come; any ``WS4REDIS_*`` setting may be given as JSON.
"""

import json
import os
from pathlib import Path

from django.http import HttpResponse
from django.urls import path

import ws4redis

if Path(ws4redis.__file__).resolve().parent != Path(os.environ["PACKAGE"]).resolve() / "ws4redis":
    raise ImportError(f"this is the ws4redis in {ws4redis.__file__}, not the one in {os.environ['PACKAGE']}")

SECRET_KEY = "for stress tests only"
ALLOWED_HOSTS = ["127.0.0.1", "chat.example.com"]
ROOT_URLCONF = "abuse_site"
USE_TZ = True
INSTALLED_APPS = ["ws4redis"]

WEBSOCKET_URL = "/ws/"
WS4REDIS_CONNECTION = os.environ["REDIS_URL"]

for name, value in os.environ.items():
    if name.startswith("WS4REDIS_"):
        globals()[name] = json.loads(value)


class User:
    is_authenticated = True

    def __init__(self, name):
        self._name = name

    def get_username(self):
        return self._name


def identify(request):
    """Visitors say themselves who they are."""
    request.session = None
    request.user = User(request.GET["user"])


def publish(request):
    from ws4redis.publisher import RedisPublisher

    RedisPublisher(facility="site", broadcast=True).publish_message("from a view")
    return HttpResponse(status=204)


urlpatterns = [path("publish", publish)]


def application():
    """Made when it is asked for: this module is that of the settings, too."""
    from django.core.wsgi import get_wsgi_application

    from ws4redis.uwsgi_runserver import uWSGIWebsocketServer

    pages, websockets = get_wsgi_application(), uWSGIWebsocketServer()

    def serve(environ, start_response):
        is_websocket = environ["PATH_INFO"].startswith(WEBSOCKET_URL)
        return (websockets if is_websocket else pages)(environ, start_response)

    return serve
