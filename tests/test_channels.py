from __future__ import annotations

import itertools
import warnings
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, TooManyFieldsSent
from django.http import HttpRequest, QueryDict
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject

from tests.django_setup import database
from ws4redis.auth.identity import identity_of, identity_once
from ws4redis.checks import assure_prefix
from ws4redis.core import channels as names
from ws4redis.core.channels import (
    SELF,
    audience_channel,
    broadcast_channel,
    facility_of,
    groups_channel,
    own_channels,
)
from ws4redis.core.identity import ANONYMOUS, Identity
from ws4redis.endpoints.flags import flags_of

addressed_channels = partial(names.addressed_channels, identify=identity_of)


class Session(dict):  # type: ignore[type-arg]
    def __init__(self, key: str | None, **values: Any) -> None:
        super().__init__({f"ws4redis:{name}": value for name, value in values.items()})
        self.session_key = key


def request_of(visitor: str) -> HttpRequest:
    request = RequestFactory().get("/")
    john = SimpleNamespace(is_authenticated=True, get_username=lambda: "john")
    mary = SimpleNamespace(is_authenticated=True, get_username=lambda: "mary", pk=7)
    unsaved = SimpleNamespace(is_authenticated=True, get_username=lambda: "new", pk=None)
    anonymous = SimpleNamespace(is_authenticated=False, get_username=lambda: "")
    visitors: dict[str, dict[str, Any]] = {
        "john": {"user": john, "session": Session("key", memberof=["chatusers", "writers"])},
        "without groups": {"user": john, "session": Session("key")},
        "without session": {"user": john},
        "None as session": {"user": john, "session": None},
        "with a primary key": {"user": mary},
        "not in the database": {"user": unsaved},
        "anonymous": {"user": anonymous, "session": Session("key", memberof=["chatusers"])},
        "without key": {"user": anonymous, "session": Session(None)},
        "None": {"user": None, "session": None},
        "bare": {},
    }
    for name, value in visitors[visitor].items():
        setattr(request, name, value)
    return request


# names

# prefix, audience, name, facility, channel
NAMES = [
    (None, "broadcast", None, "foobar", "broadcast:foobar"),
    ("", "broadcast", None, "foobar", "broadcast:foobar"),
    ("ws", "broadcast", None, "foobar", "ws:broadcast:foobar"),
    (None, "user", "john", "foobar", "user:john:foobar"),
    ("ws", "user", "john", "foobar", "ws:user:john:foobar"),
    ("ws", "group", "chatters", "foobar", "ws:group:chatters:foobar"),
    ("ws", "session", "wnqd0", "foobar", "ws:session:wnqd0:foobar"),
    (None, "user", "john@example.com", "foobar", "user:john@example.com:foobar"),
    (None, "user", 7, "foobar", "user:7:foobar"),
    (None, "group", "größe", "a/b:c/", "group:größe:a/b:c/"),
    (None, "broadcast", None, "消息 🎉", "broadcast:消息 🎉"),
    (None, "broadcast", None, "", "broadcast:"),
    ("a:b", "group", "c:d", "e:f", "a:b:group:c%3Ad:e:f"),
    # of two names none is the other's with the beginning of a facility
    (None, "group", "a", "b:c", "group:a:b:c"),
    (None, "group", "a:b", "c", "group:a%3Ab:c"),
    (None, "group", "a%3Ab", "c", "group:a%253Ab:c"),
    (None, "session", "eyJ:1q:x_Y", "c", "session:eyJ%3A1q%3Ax_Y:c"),
    (None, "user", "::%", "", "user:%3A%3A%25:"),
    (None, "user", "{facility}", "%s", "user:{facility}:%s"),
]


@pytest.mark.contract(
    "3 names: the prefix comes first with a colon; without one there is none",
    "3 names: the channel of the broadcast",
    "3 names: the channel of a user, by get_username(), which may be an e-mail address",
    "3 names: the channel of a group, by its name",
    "3 names: the channel of a session, by its key",
    "3 names: what is addressed may be anything that can be written, e.g. a number",
    "3 names: a publisher's facility is taken as it is",
    "3 names: decided: in names of users, groups and sessions a colon is %3A and a percent sign %25",
    "differs from 0.6: `:` and `%` in names of users, groups and sessions",
)
@pytest.mark.parametrize(("prefix", "audience", "name", "facility", "channel"), NAMES)
def test_names(prefix: str | None, audience: str, name: Any, facility: str, channel: str) -> None:
    with override_settings(WS4REDIS_PREFIX=prefix):
        if audience == "broadcast":
            assert broadcast_channel(facility) == channel
            assert addressed_channels(facility, broadcast=True) == [channel]
        else:
            assert audience_channel(audience, name, facility) == channel
            assert addressed_channels(facility, **{f"{audience}s": [name]}) == [channel]  # type: ignore[arg-type]


def test_groups_are_told_under_an_escaped_name() -> None:
    assert groups_channel("a:b%c") == "ws4redis:memberof:a%3Ab%25c"


@pytest.mark.contract("3 names: decided: in names of users, groups and sessions a colon is %3A and a percent sign %25")
def test_no_two_audiences_share_a_channel() -> None:
    parts = ["", "a", "b", ":", "%", "%3A", "3A"]
    names = ["".join(pair) for pair in itertools.product(parts, parts)]
    wanted = {
        (audience, name, facility)
        for audience, name, facility in itertools.product(("user", "group", "session"), names, names)
    }
    assert len({audience_channel(*each) for each in wanted}) == len(wanted)


# prefix, the part that names an audience
PREFIXES = [
    (None, None),
    ("", None),
    ("ws", None),
    ("shop:v2", None),
    ("users", None),
    ("my-group", None),
    ("User", None),
    ("user", "user"),
    ("x:group", "group"),
    ("x:group:", "group"),
    ("session", "session"),
    ("broadcast", "broadcast"),
    # what a site named x says to everybody on the facility shop
    ("x:broadcast:shop", "broadcast"),
]


@pytest.mark.parametrize(("prefix", "part"), PREFIXES)
def test_a_prefix_names_no_audience(prefix: str | None, part: str | None) -> None:
    with override_settings(WS4REDIS_PREFIX=prefix):
        if part is None:
            assure_prefix()
            return
        with pytest.raises(ImproperlyConfigured, match=repr(part)):
            assure_prefix()


# who a request stands for

IDENTITIES = [
    ("john", Identity("john", ("chatusers", "writers"), "key")),
    ("without groups", Identity("john", (), "key")),
    ("without session", Identity("john")),
    ("None as session", Identity("john")),
    ("with a primary key", Identity("mary", user_pk="7")),
    ("not in the database", Identity("new")),
    ("anonymous", Identity(session_key="key")),
    ("without key", Identity()),
    ("None", Identity()),
    ("bare", Identity()),
]


@pytest.mark.parametrize(("visitor", "identity"), IDENTITIES)
def test_identities(visitor: str, identity: Identity) -> None:
    assert identity_of(request_of(visitor)) == identity


@pytest.mark.parametrize("visitor", ["without key", "None", "bare"])
def test_nobody_is_nobody(visitor: str) -> None:
    """One object for all, so that it costs a connection nothing."""
    assert identity_of(None) is identity_of(request_of(visitor)) is ANONYMOUS


def test_an_identity_is_taken_once_from_the_same_user_and_session() -> None:
    request = request_of("john")
    first = identity_once(request)
    assert first == identity_of(request)
    assert identity_once(request) is first
    request.session = Session("other")  # type: ignore[assignment]
    assert identity_once(request) == Identity("john", (), "other")
    request.user = None  # type: ignore[assignment]
    assert identity_once(request) == Identity(session_key="other")


# audience, identity, channels
OWN_CHANNELS = [
    ("broadcast", Identity(), ["broadcast:news"]),
    ("user", Identity(), []),
    ("group", Identity(), []),
    ("session", Identity(), []),
    ("user", Identity("john", ("a", "b"), "key"), ["user:john:news"]),
    ("group", Identity("john", ("a", "", "b"), "key"), ["group:a:news", "group:b:news"]),
    ("session", Identity("john", ("a", "b"), "key"), ["session:key:news"]),
]


@pytest.mark.contract(
    "3 names: decided: a SELF that stands for nobody addresses no channel",
    "differs from 0.6: nobody's user and group channels",
)
@pytest.mark.parametrize(("audience", "identity", "channels"), OWN_CHANNELS)
def test_own_channels(audience: str, identity: Identity, channels: list[str]) -> None:
    assert own_channels(audience, "news", identity) == channels


# whom a publisher addresses

# audiences, channels without the facility
ADDRESSED = [
    ({}, []),
    ({"broadcast": True}, ["broadcast"]),
    ({"broadcast": False}, []),
    ({"broadcast": 1}, []),
    ({"users": ["john", "mary"]}, ["user:john", "user:mary"]),
    ({"users": ("john",), "groups": ("a",), "sessions": ("key",)}, ["group:a", "user:john", "session:key"]),
    (
        {"sessions": ["key"], "users": ["john"], "groups": ["b", "a"], "broadcast": True},
        ["broadcast", "group:b", "group:a", "user:john", "session:key"],
    ),
    ({"users": ["john", "mary", "john"]}, ["user:john", "user:mary"]),
    ({"users": [7, "7"]}, ["user:7"]),
    ({"users": {"john"}}, ["user:john"]),
    ({"users": frozenset({"john"})}, ["user:john"]),
    ({"users": (name for name in ("john", "mary"))}, ["user:john", "user:mary"]),
    ({"users": {"john": 1}.keys()}, ["user:john"]),
    ({"users": SimpleLazyObject(lambda: ["john"])}, ["user:john"]),
    ({"users": ["SELF"]}, ["user:SELF"]),
    ({"users": [], "groups": (), "sessions": set()}, []),
    ({"users": None, "groups": False, "sessions": None}, []),
]


@pytest.mark.contract(
    "4.1 SELF: one object, compared by identity",
    "4.3 RedisStore: channels come in the order broadcast, groups, users, sessions",
    "4.3 RedisStore: only True broadcasts",
    "4.3 RedisStore: each entry of a list or tuple counts once, with SELF expanded",
    "4.3 RedisStore: decided: False, and a True that stands for nobody, address nobody",
    "4.3 RedisStore: decided: sets, generators, querysets and lazy objects are lists, too",
    "differs from 0.6: `users=`, `groups=`, `sessions=`",
)
@pytest.mark.parametrize(("audiences", "channels"), ADDRESSED)
def test_addressed_channels(audiences: dict[str, Any], channels: list[str]) -> None:
    assert addressed_channels("news", **audiences) == [f"{channel}:news" for channel in channels]


@pytest.mark.contract("4.3 RedisStore: decided: sets, generators, querysets and lazy objects are lists, too")
def test_a_queryset_is_a_list() -> None:
    with database():
        from django.contrib.auth.models import User

        users = User.objects.order_by("username")
        for names in (users, users.values_list("username", flat=True)):
            assert addressed_channels("news", users=names) == ["user:john:news", "user:mary:news"]


ALL_SELF = {"users": [SELF], "groups": [SELF], "sessions": [SELF]}

# audiences, visitor, channels without the facility
SELVES = [
    (ALL_SELF, "john", ["group:chatusers", "group:writers", "user:john", "session:key"]),
    ({"groups": [SELF, "chatusers", "guests"]}, "john", ["group:chatusers", "group:writers", "group:guests"]),
    ({"users": ["mary", SELF, "john"]}, "john", ["user:mary", "user:john"]),
    (ALL_SELF, "without groups", ["user:john", "session:key"]),
    (ALL_SELF, "without session", ["user:john"]),
    (ALL_SELF, "None as session", ["user:john"]),
    (ALL_SELF, "anonymous", ["session:key"]),
    (ALL_SELF, "without key", []),
    (ALL_SELF, "None", []),
    (ALL_SELF, "bare", []),
    ({"users": [SELF, "mary"], "broadcast": True}, "bare", ["broadcast", "user:mary"]),
]


@pytest.mark.contract(
    "3 names: decided: a SELF that stands for nobody addresses no channel",
    "3 names: decided: a session without a key has no channel",
    "4.1 SELF: among users it is the current one",
    "4.1 SELF: among groups it is all that the session knows, or none",
    "4.1 SELF: among sessions it is the current one",
    "4.3 RedisStore: each entry of a list or tuple counts once, with SELF expanded",
)
@pytest.mark.parametrize(("audiences", "visitor", "channels"), SELVES)
def test_self(audiences: dict[str, Any], visitor: str, channels: list[str]) -> None:
    got = addressed_channels("news", request=request_of(visitor), **audiences)
    assert got == [f"{channel}:news" for channel in channels]


@pytest.mark.contract(
    "4.1 SELF: decided: without a request it is an error",
    "asks identity: #92, #50: SELF without a request",
    "differs from 0.6: `SELF` without `request=`",
)
@pytest.mark.parametrize("audience", ["users", "groups", "sessions"])
def test_self_without_a_request(audience: str) -> None:
    with pytest.raises(ValueError, match="request"):
        addressed_channels("news", **{audience: ["one", SELF]})  # type: ignore[arg-type]


@pytest.mark.contract(
    "3 names: decided: an audience without a facility is an error",
    "differs from 0.6: no `facility=`",
)
@pytest.mark.parametrize(
    "audiences", [{"broadcast": True}, {"users": ["john"]}, {"groups": (name for name in "ab")}, {"sessions": True}]
)
def test_a_missing_facility(audiences: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="facility"):
        addressed_channels(**audiences)


@pytest.mark.contract("4.3 RedisStore: decided: what is no list is a ValueError")
@pytest.mark.parametrize("value", [b"john", 5, 1.5, object(), len], ids=type)
@pytest.mark.parametrize("audience", ["users", "groups", "sessions"])
def test_what_is_no_list(audience: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{audience} must be a list"):
        addressed_channels("news", **{audience: value})


# what was allowed before 0.4.0

# audience, value, visitor, channels without the facility
LEGACY = [
    ("users", True, "john", ["user:john"]),
    ("groups", True, "john", ["group:chatusers", "group:writers"]),
    ("sessions", True, "john", ["session:key"]),
    ("users", True, "bare", []),
    ("users", "mary", "john", ["user:mary"]),
    ("groups", "guests", "john", ["group:guests"]),
    ("sessions", "other", "john", ["session:other"]),
]


@pytest.mark.contract(
    "4.3 RedisStore: True for SELF and a string for one entry are deprecated, and warn",
    "4.3 RedisStore: decided: False, and a True that stands for nobody, address nobody",
    "differs from 0.6: `users=`, `groups=`, `sessions=`",
)
@pytest.mark.parametrize(("audience", "value", "visitor", "channels"), LEGACY)
def test_deprecated_forms_still_work(audience: str, value: Any, visitor: str, channels: list[str]) -> None:
    with pytest.warns(DeprecationWarning, match=f"^{audience}={value!r} is deprecated"):
        got = addressed_channels("news", request=request_of(visitor), **{audience: value})
    assert got == [f"{channel}:news" for channel in channels]


@pytest.mark.contract("4.3 RedisStore: True for SELF and a string for one entry are deprecated, and warn")
def test_lists_are_not_deprecated() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        addressed_channels("news", users=["john"], groups=(), sessions={"key"})


def test_true_without_a_request() -> None:
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match="request"):
        addressed_channels("news", users=True)  # type: ignore[arg-type]


# what a URL says

# WEBSOCKET_URL, path, facility
FACILITIES = [
    ("/ws/", "/ws/foobar", "foobar"),
    ("/ws/", "/ws/foobar/", "foobar/"),
    ("/ws/", "/ws/FooBar", "FooBar"),
    ("/ws/", "/ws/", ""),
    ("/ws/", "/ws/a/b:c", "a/b:c"),
    ("/ws/", "/ws/Grüße dich", "Grüße dich"),
    ("/ws/", "/ws/a/ws/b", "a/ws/b"),
    ("/ws/", "/ws/ws/b", "ws/b"),
    ("/ws/", "/site/ws/foobar", "/sitefoobar"),
    ("/ws/", "/foobar", "foobar"),
    ("/ws/", "/", ""),
    ("/ws/", "//foobar", "/foobar"),
    ("/websockets/v1/", "/websockets/v1/foobar", "foobar"),
    ("/", "/foobar", "foobar"),
    # as django-websocket-redis has it
    ("/ws", "/ws/foobar", "/foobar"),
    ("/ws", "/wsfoobar", "foobar"),
    ("ws/", "/ws/foobar", "/foobar"),
]


@pytest.mark.contract(
    "3 names: a websocket's facility is its path without the first WEBSOCKET_URL in it",
    "3 names: case matters in a facility",
    "3 names: a facility may have slashes and colons",
    "3 names: a slash at a facility's end belongs to it",
    "3 names: a facility may be empty",
    "3 names: decided: where a proxy has stripped WEBSOCKET_URL, the facility is the path without its first slash",
    "14 manual: 5 a proxy may strip WEBSOCKET_URL",
    "differs from 0.6: the facility where a proxy strips `WEBSOCKET_URL`",
)
@pytest.mark.parametrize(("url", "path", "facility"), FACILITIES)
def test_facilities(url: str, path: str, facility: str) -> None:
    with override_settings(WEBSOCKET_URL=url):
        assert facility_of(path) == facility


# query string, flags
FLAGS = [
    ("", []),
    ("subscribe-broadcast", ["subscribe-broadcast"]),
    ("subscribe-broadcast&publish-user&echo", ["subscribe-broadcast", "publish-user", "echo"]),
    ("subscribe-broadcast=1&echo=0", ["subscribe-broadcast", "echo"]),
    ("SUBSCRIBE-Broadcast", ["subscribe-broadcast"]),
    ("+subscribe-user+&%20echo", ["subscribe-user", "echo"]),
    ("echo&echo&ECHO", ["echo"]),
    ("subscribe=broadcast", ["subscribe-broadcast"]),
    ("Subscribe=Broadcast&publish=user", ["subscribe-broadcast", "publish-user"]),
    ("subscribe=broadcast&subscribe=user", ["subscribe-broadcast", "subscribe-user"]),
    ("subscribe=user&subscribe-user", ["subscribe-user"]),
    ("unknown=1&subscribe-session", ["unknown", "subscribe-session"]),
    ("subscribe=%62roadcast&subscrib%65-user", ["subscribe-broadcast", "subscribe-user"]),
    ("".join(f"a{number}&" for number in range(500)), [f"a{number}" for number in range(500)]),
]


@pytest.mark.contract(
    "7 URLs: only names of parameters count, not their values",
    "7 URLs: names of parameters are stripped, and their case does not matter",
    "7 URLs: decided: subscribe=user and publish=user are other spellings",
    "14 manual: 7 subscribe-user, and subscribe=user, too",
)
@pytest.mark.parametrize(("query", "flags"), FLAGS)
def test_flags(query: str, flags: list[str]) -> None:
    assert flags_of(RequestFactory().get(f"/?{query}")) == flags


def test_flags_that_a_hook_has_set() -> None:
    request = RequestFactory().get("/?subscribe-user")
    request.GET = QueryDict("echo&subscribe=broadcast")
    assert flags_of(request) == ["echo", "subscribe-broadcast"]


def test_too_many_flags() -> None:
    with pytest.raises(TooManyFieldsSent):
        flags_of(RequestFactory().get("/?" + "a&" * 1001))
