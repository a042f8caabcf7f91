"""Samples of the page "Publish"."""

import json

from ws4redis.exceptions import RedisUnavailable
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF


def to_everybody():
    RedisPublisher(facility="news", broadcast=True).publish_message("We are open")


def to_some():
    publisher = RedisPublisher(facility="news", users=["john", "mary"], groups=["editors"])
    publisher.publish_message("Please review")


def to_the_visitor(request):
    RedisPublisher(facility="cart", sessions=[SELF], request=request).publish_message("3 items")


def to_the_visitors_colleagues(request):
    RedisPublisher(facility="news", groups=[SELF], request=request).publish_message("I am back")


def an_object():
    RedisPublisher(facility="prices", broadcast=True).publish_message(json.dumps({"gold": 1234.5}))


def for_a_minute():
    RedisPublisher(facility="news", broadcast=True).publish_message("Doors close in a minute", expire=60)


def to_who_listens_now():
    RedisPublisher(facility="news", broadcast=True).publish_message("A knock", expire=0)


def what_was_last(request):
    return RedisPublisher().fetch_message(request, facility="cart", audience="session")


def if_somebody_listens():
    count = RedisPublisher(facility="news", broadcast=True).publish_message("Is anybody there?")
    return count > 0


def or_else():
    try:
        RedisPublisher(facility="news", broadcast=True).publish_message("Important")
    except RedisUnavailable:
        return "not sent"
    return "sent"
