"""Hooks and a subscriber, as a site would write them."""

import os
import threading
import time
from urllib.parse import unquote

import redis
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied

from ws4redis.publisher import RedisPublisher
from ws4redis.subscriber import RedisSubscriber


def only_broadcast(request, channels):
    return [each for each in channels if each.endswith("-broadcast")]


def returns_nothing(request, channels):
    """As the original manual's sample."""
    if request.META.get("HTTP_DENY_CHANNELS") == "YES":
        raise PermissionDenied("the secret reason")


def calls_is_authenticated(request, channels):
    """As the original manual's sample, for Django before 1.10."""
    if not request.user.is_authenticated():
        raise PermissionDenied("not allowed")
    return channels


def refuses_no_user(request, channels):
    if request.user is None:
        raise PermissionDenied("log in first")
    return channels


def refuses_no_session(request, channels):
    if not getattr(request, "user", None) or request.session == None:  # noqa: E711
        raise PermissionDenied("log in first")
    return channels


def wants_both(request, channels):
    return channels if request.user and request.session else []


def refuses_anonymous(request, channels):
    if request.user is None or not request.user.is_authenticated:
        raise PermissionDenied("log in first")
    return channels


class RefusingSubscriber(RedisSubscriber):
    def set_pubsub_channels(self, request, channels):
        if not request.session:
            raise PermissionDenied("log in first")
        super().set_pubsub_channels(request, channels)


def fails(request, channels):
    return request.no_such_attribute


def looks_into_the_database(request, channels):
    assert User.objects.filter(username="john").exists()
    return channels


def says_who_comes(request, channels):
    RedisPublisher(facility="doorman", broadcast=True).publish_message("somebody")
    return channels


def token_as_user(request):
    token = request.GET.get("token")
    if token == "bad":
        raise PermissionDenied("bad token")
    request.session = None
    request.user = User.objects.get(username=token) if token else AnonymousUser()


def second_subprotocol(offered):
    return offered[1] if len(offered) > 1 else None


class StoppingSubscriber(RedisSubscriber):
    """Stops at "stop", as at a breakpoint, until somebody says "go on" in the database of Redis."""

    def publish_message(self, message, expire=None):
        if message == b"stop":
            while not self._connection.get("go on"):
                time.sleep(0.05)
        return super().publish_message(message, expire)


class HoldingSubscriber(RedisSubscriber):
    """Holds a connection to Redis until somebody puts something into the list "gate" there."""

    def publish_message(self, message, expire=None):
        self._connection.blpop("gate")
        return super().publish_message(message, expire)


class RememberingSubscriber(RedisSubscriber):
    """Keeps the request, and answers each message with what it reads from it."""

    released = []  # noqa: RUF012

    def set_pubsub_channels(self, request, channels):
        super().set_pubsub_channels(request, channels)
        self.request = request

    def publish_message(self, message, expire=None):
        request = self.request
        answer = f"{request.COOKIES['name']} {request.user} {request.META['HTTP_X_NAME']} {message.decode()}"
        return super().publish_message(answer, expire=0)

    def release(self):
        type(self).released.append(threading.get_native_id())


def redis_from_environment():
    return redis.Redis.from_url(os.environ["OWN_REDIS_URL"], decode_responses=True)


def redis_by_sentinel():
    return redis.Sentinel([("127.0.0.1", int(os.environ["SENTINEL_PORT"]))], socket_timeout=1).master_for("main")


def not_redis():
    return "redis"


def named_by_header(request):
    """Names come from elsewhere, and may be anything."""
    request.session = None
    request.user = User(username=unquote(request.META.get("HTTP_X_NAME", "")))


def denied_by_name(request, channels):
    if request.path_info.startswith("/ws/secret"):
        raise PermissionDenied(f"{request.user} may not use {request.path_info}")
    return channels
