"""A server for each part of the site: ``/ws/<part>/...`` goes to the one that knows how."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site06.settings")
from importlib import import_module

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.wsgi import get_wsgi_application

try:
    from ws4redis.uwsgi_runserver import uWSGIWebsocketServer as WebsocketServer
except ImportError:  # manage.py runserver
    from ws4redis.django_runserver import WebsocketRunServer as WebsocketServer
from ws4redis import settings as ws4redis_settings
from ws4redis.exceptions import HandshakeError


class HeaderServer(WebsocketServer):
    """The proxy says who it is."""

    def process_request(self, request):
        from django.contrib.auth.models import User

        name = request.META.get("HTTP_X_USER")
        if name is None:
            super().process_request(request)
        elif not User.objects.filter(username=name).exists():
            raise PermissionDenied("unknown user")
        else:
            request.session = import_module(settings.SESSION_ENGINE).SessionStore(request.META.get("HTTP_X_SESSION"))
            request.user = User.objects.get(username=name)


class ListenOnlyServer(WebsocketServer):
    """Who comes here always hears the broadcast and never says anything."""

    def process_subscriptions(self, request):
        channels, echo = super().process_subscriptions(request)
        return [each for each in channels if each.startswith("subscribe-")] + ["subscribe-broadcast"], echo


class EchoServer(WebsocketServer):
    """Always echoes."""

    def process_subscriptions(self, request):
        return super().process_subscriptions(request)[0], True


class KeyServer(WebsocketServer):
    """Asks for one header more."""

    def assure_protocol_requirements(self, environ):
        super().assure_protocol_requirements(environ)
        if environ.get("HTTP_X_API_KEY") != "right":
            raise HandshakeError("The API key is missing")


class TrustingServer(WebsocketServer):
    """The proxy has checked everything."""

    def assure_protocol_requirements(self, environ):
        pass


def subscribed_by(name):
    ws4redis_settings.WS4REDIS_SUBSCRIBER = f"tests.site06.subscriber.{name}"
    return WebsocketServer()


_django_app = get_wsgi_application()
_websocket_apps = {
    "header": HeaderServer(),
    "listen": ListenOnlyServer(),
    "echo": EchoServer(),
    "key": KeyServer(),
    "trusting": TrustingServer(),
    "team": subscribed_by("TeamSubscriber"),
    "leaving": subscribed_by("LeavingSubscriber"),
    "once": subscribed_by("OnceSubscriber"),
    "oldonce": subscribed_by("OldOnceSubscriber"),
    "filtering": subscribed_by("FilteringSubscriber"),
    "pattern": subscribed_by("PatternSubscriber"),
}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith(settings.WEBSOCKET_URL):
        return _websocket_apps[path.split("/")[2]](environ, start_response)
    if path.startswith("/open/"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(len(_websocket_apps[path.split("/")[2]].websockets)).encode()]
    return _django_app(environ, start_response)
