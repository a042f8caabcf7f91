"""Subscribers and servers as sites write them: ``/ws/<part>/...`` goes to the one that knows how."""

import logging
import os

import redis
from django.core.exceptions import PermissionDenied
from django.core.wsgi import get_wsgi_application
from redis.backoff import ConstantBackoff
from redis.retry import Retry

try:
    from ws4redis.uwsgi_runserver import uWSGIWebsocketServer as WebsocketServer
except ImportError:  # manage.py runserver
    from ws4redis.django_runserver import WebsocketRunServer as WebsocketServer
from tests.site import copied
from ws4redis import settings
from ws4redis.exceptions import UpgradeRefused
from ws4redis.subscriber import RedisSubscriber

logger = logging.getLogger("django.tests")


class RoomSubscriber(RedisSubscriber):
    """Goes from room to room while its websocket is open: each is a broadcast."""

    def publish_message(self, message, expire=None):
        command, _, room = message.decode().partition(" ")
        name = f"{self.get_prefix()}broadcast:{room}"
        if command == "/join":
            self._subscription.subscribe(name)
            self._publishers.add(name)
        elif command == "/leave":
            self._subscription.unsubscribe(name)
            self._publishers.discard(name)
        elif command == "/leave-all":
            self._subscription.unsubscribe()
            self._publishers.clear()
        elif command == "/mark":
            self._connection.set(room, "reached", ex=60)
        else:
            super().publish_message(message, expire)


class ReadingSubscriber(RedisSubscriber):
    """Has a Redis connection of its own."""

    def parse_response(self):
        return super().parse_response()


class ReadingRoomSubscriber(ReadingSubscriber, RoomSubscriber):
    pass


class WaitingSubscriber(ReadingSubscriber):
    """Waits for the confirmation; by then redis-py has read the greeting, too."""

    def set_pubsub_channels(self, request, channels):
        super().set_pubsub_channels(request, channels)
        for name in self._subscription.channels:
            self._connection.publish(name, "a greeting")
        assert self.parse_response()[0] == b"subscribe"


class CountedSubscriber(RedisSubscriber):
    """Tells when it is released; ``/ws/<part>/<id>/<how>`` says what goes wrong."""

    path = None

    def set_pubsub_channels(self, request, channels):
        self.path = request.path_info
        logger.info("made %s", self.path)
        if self.path.endswith("/denied"):
            raise PermissionDenied("not you")
        super().set_pubsub_channels(request, channels)
        if self.path.endswith("/fails"):
            raise LookupError("a mistake of the site")

    def publish_message(self, message, expire=None):
        if message == b"fail":
            raise LookupError("another mistake")
        super().publish_message(message, expire)

    def release(self):
        logger.info("released %s", self.path)
        super().release()
        if "/leaves-badly/" in self.path:
            raise LookupError("a last mistake")


class CountedReadingSubscriber(CountedSubscriber, ReadingSubscriber):
    pass


class FullServer(WebsocketServer):
    def upgrade_websocket(self, environ, start_response):
        raise UpgradeRefused(503, "All seats are taken.")


class CarefulServer(WebsocketServer):
    """Does something before and after."""

    def upgrade_websocket(self, environ, start_response):
        logger.info("before %s", environ["PATH_INFO"])
        websocket = super().upgrade_websocket(environ, start_response)
        logger.info("after %s", environ["PATH_INFO"])
        return websocket


class ForgetfulServer(WebsocketServer):
    def upgrade_websocket(self, environ, start_response):
        pass


class InventiveServer(WebsocketServer):
    def upgrade_websocket(self, environ, start_response):
        return object()


class WrappingServer(WebsocketServer):
    """Too late: the connection is taken already."""

    def upgrade_websocket(self, environ, start_response):
        return [super().upgrade_websocket(environ, start_response)]


def server(subscriber, kind=WebsocketServer, *args):
    settings.WS4REDIS_SUBSCRIBER = subscriber
    try:
        return kind(*args)
    finally:
        del settings.WS4REDIS_SUBSCRIBER


#: connects again by itself
_persistent = redis.Redis.from_url(os.environ["REDIS_URL"], retry=Retry(ConstantBackoff(0.05), 20))

_django_app = get_wsgi_application()
_websocket_apps = {
    "rooms": server(RoomSubscriber),
    "reading": server(ReadingSubscriber),
    "reading-rooms": server(ReadingRoomSubscriber),
    "persistent": server(ReadingSubscriber, WebsocketServer, _persistent),
    "waiting": server(WaitingSubscriber),
    "counted": server(CountedSubscriber),
    "counted-reading": server(CountedReadingSubscriber),
    "full": server(CountedSubscriber, FullServer),
    "full-reading": server(CountedReadingSubscriber, FullServer),
    "careful": server(CountedSubscriber, CarefulServer),
    "forgetful": server(CountedSubscriber, ForgetfulServer),
    "inventive": server(CountedReadingSubscriber, InventiveServer),
    "wrapping": server(CountedSubscriber, WrappingServer),
    "copied": server(copied.CopiedSubscriber),
    "copied-channels": server(copied.ChannelsSubscriber),
    "copied-release": server(copied.ReleaseSubscriber),
    "copied-persisted": server(copied.PersistedSubscriber),
    "copied-given": server(copied.CopiedSubscriber, WebsocketServer, _persistent),
    "copied-rooms": server(copied.RoomsSubscriber),
    "copied-keeping": server(copied.KeepingSubscriber),
    "copied-cut": server(copied.CutSubscriber),
    "copied-busy": server(copied.BusySubscriber),
    "copied-patterns": server(copied.PatternSubscriber, WebsocketServer, _persistent),
    "store": server(copied.Store),
    "whole-store": server(copied.WholeStore),
}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith(settings.WEBSOCKET_URL):
        return _websocket_apps[path.split("/")[2]](environ, start_response)
    return _django_app(environ, start_response)
