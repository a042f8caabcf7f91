"""Groups that change: the one call, and what it means for sessions; the doors' part is in ``test_identities``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.django_setup import database
from tests.servers import Valkey
from ws4redis import settings
from ws4redis.auth.groups import current_identity, look_up_groups, update_groups, with_kept_groups, with_newer_groups
from ws4redis.auth.identity import identity_of
from ws4redis.core.channels import SELF
from ws4redis.core.identity import Identity, Row
from ws4redis.exceptions import RedisUnavailable
from ws4redis.models import store_groups_in_session
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import RedisStore

ROW = Row(None, 1)

#: after a login at the third change of the epoch ab
JOHN = Identity("john", ("a", "b"), "key", "ab:3", ROW)

# what is published -> the groups and the stamp of who hears it
UPDATES: list[tuple[str, bytes | None, tuple[str, ...], str]] = [
    ("none", None, ("a", "b"), "ab:3"),
    ("newer than the login", b'{"groups": ["c"], "at": "ab:4"}', ("c",), "ab:4"),
    ("as of the login", b'{"groups": ["c"], "at": "ab:3"}', ("a", "b"), "ab:3"),
    ("older than the login", b'{"groups": ["c"], "at": "ab:2"}', ("a", "b"), "ab:3"),
    ("of another epoch", b'{"groups": ["c"], "at": "cd:1"}', ("c",), "cd:1"),
    ("looked up", b'{"groups": ["c"], "at": "cd:1", "looked_up": true}', ("c",), "cd:1"),
    ("out of all groups", b'{"groups": [], "at": "ab:12"}', (), "ab:12"),
    ("a name with a colon and an umlaut", '{"groups": ["ü:x"], "at": "ab:9"}'.encode(), ("ü:x",), "ab:9"),
]


@pytest.mark.parametrize(("update", "groups", "at"), [row[1:] for row in UPDATES], ids=[row[0] for row in UPDATES])
def test_which_groups_hold_when_an_update_is_heard(update: bytes | None, groups: tuple[str, ...], at: str) -> None:
    assert with_newer_groups(JOHN, update) == JOHN._replace(groups=groups, groups_at=at)


LATER, EARLIER, ELSEWHERE = (b'{"groups": ["c"], "at": "%s"}' % at for at in (b"ab:4", b"ab:2", b"cd:1"))

# the session's stamp, that of Redis, the kept update -> the groups; None where the database decides
KEPT: list[tuple[str, str, bytes | None, bytes | None, tuple[str, ...] | None]] = [
    ("nobody's groups have changed", "ab:3", b"ab:3", None, ("a", "b")),
    ("nobody's have changed since", "ab:3", b"ab:3", EARLIER, ("a", "b")),
    ("others' have changed, and the user's before the login", "ab:3", b"ab:9", EARLIER, ("a", "b")),
    ("the user's have changed since", "ab:3", b"ab:9", LATER, ("c",)),
    ("who knows whose have changed", "ab:3", b"ab:9", None, None),
    ("the user's change is lost", "ab:3", b"ab:4", None, None),
    ("Redis has lost all", "ab:3", None, None, None),
    ("Redis has lost the stamp", "ab:3", None, LATER, None),
    ("Redis has lost all and begun anew", "ab:3", b"cd:1", None, None),
    ("it knows the user again", "ab:3", b"cd:1", ELSEWHERE, ("c",)),
    ("what is kept is of an epoch that has ended", "ab:3", b"ef:1", ELSEWHERE, None),
    ("Redis is back at an earlier state", "ab:3", b"ab:2", EARLIER, None),
    ("Redis was away at the login", "", b"ab:3", None, None),
    ("a session without a stamp, and a kept update", "", b"ab:9", LATER, ("c",)),
    ("a session of another version", "1795188168.5", b"ab:3", None, None),
    ("no stamp", "ab:3", b"\xff", LATER, None),
    ("an odd one", "ab:3", b"ab:3:3", LATER, None),
    ("one without end", "ab:3", b"ab:" + b"9" * 5000, LATER, None),
    ("an update that is none", "ab:3", b"ab:9", b"{}", None),
]


@pytest.mark.parametrize(("at", "stamp", "update", "groups"), [row[1:] for row in KEPT], ids=[row[0] for row in KEPT])
def test_who_decides_what_groups_hold(
    at: str, stamp: bytes | None, update: bytes | None, groups: tuple[str, ...] | None
) -> None:
    identity = with_kept_groups(JOHN._replace(groups_at=at), stamp, update)
    assert groups == (identity.groups if identity is not None else None)


# the site's own word: no database has been asked for this user
HOOKS: list[tuple[str, bytes | None, bytes | None, tuple[str, ...]]] = [
    ("Redis knows nothing", None, None, ("a", "b")),
    ("others' groups have changed", b"ab:9", None, ("a", "b")),
    ("update_groups() has changed them", b"ab:9", LATER, ("c",)),
    (
        "the database has spoken for a session",
        b"ab:9",
        b'{"groups": ["c"], "at": "ab:4", "looked_up": true}',
        ("a", "b"),
    ),
]


@pytest.mark.parametrize(("stamp", "update", "groups"), [row[1:] for row in HOOKS], ids=[row[0] for row in HOOKS])
def test_what_a_hook_says_is_believed(stamp: bytes | None, update: bytes | None, groups: tuple[str, ...]) -> None:
    said = Identity("john", ("a", "b"), "key")
    for identity in (with_kept_groups(said, stamp, update), with_newer_groups(said, update)):
        assert identity is not None and identity.groups == groups


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"hi",
        b"\xff",
        b"[]",
        b"{}",
        b'{"groups": 1, "at": "ab:9"}',
        b'{"groups": []}',
        b'{"groups": [], "at": 2000.5}',
        b'{"groups": [], "at": ["ab:9"]}',
        b"[" * 100_000,
        b'{"groups": [], "at": "ab:' + b"9" * 400 + b'"}',
        b'{"groups": ["\\ud800"], "at": "ab:9"}',
    ],
)
def test_what_is_no_update_changes_nothing(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert with_newer_groups(JOHN, garbage) == JOHN
    assert "the groups of 'john'" in caplog.text


class User(SimpleNamespace):
    is_authenticated = True

    def get_username(self) -> str:
        return "john"


def user_in(*names: str) -> User:
    groups = [SimpleNamespace(name=name) for name in names]
    return User(groups=SimpleNamespace(all=lambda: groups))


@pytest.fixture
def clean_redis(redis_server: Valkey, settings_of_redis: None) -> Any:
    settings.WS4REDIS_PREFIX = "groups"
    yield redis_server.client()
    del settings.WS4REDIS_PREFIX
    redis_server.client().delete(*redis_server.client().keys("groups:*"))


CALLS: list[tuple[str, Any, list[str]]] = [
    ("the user's own groups", (user_in("a", "b"),), ["a", "b"]),
    ("the names that are given", (user_in("a"), ["c"]), ["c"]),
    ("any iterable", (user_in("a"), iter(("c", "d"))), ["c", "d"]),
    ("none", (user_in("a"), []), []),
]


@pytest.mark.contract("asks identity: #17, #49, #277: groups without the database, of another kind, that change")
@pytest.mark.parametrize(("arguments", "names"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_what_is_kept_and_published(clean_redis: Any, arguments: Any, names: list[str]) -> None:
    with clean_redis.pubsub() as listener:
        listener.subscribe("groups:ws4redis:memberof:john")
        listener.get_message(timeout=5)
        assert update_groups(*arguments) == 1
        kept = clean_redis.get("groups:ws4redis:memberof:john")
        assert json.loads(kept)["groups"] == names
        assert listener.get_message(timeout=5)["data"] == kept
    assert clean_redis.ttl("groups:ws4redis:memberof:john") == -1
    assert update_groups(*arguments[:1]) == 0, "nobody listens any more"


@pytest.mark.parametrize("arguments", [("john",), (None,), (user_in("a"), "b"), (user_in("a"), [1]), (user_in(), 5)])
def test_bad_arguments_are_refused(arguments: Any) -> None:
    with pytest.raises(TypeError):
        update_groups(*arguments)


def test_redis_is_away() -> None:
    settings.WS4REDIS_CONNECTION = {"host": "127.0.0.1", "port": 1}
    try:
        with pytest.raises(RedisUnavailable):
            update_groups(user_in("a"))
    finally:
        del settings.WS4REDIS_CONNECTION


@pytest.mark.contract("11.4 groups: decided: a later change can be published")
def test_a_view_of_an_older_session_follows(clean_redis: Any) -> None:
    request: Any = SimpleNamespace(user=user_in(), session=Session({"ws4redis:memberof": ["a"]}))
    for group in ("a", "b"):
        RedisPublisher(facility="f", groups=[group]).publish_message(group)
    publisher = RedisPublisher()
    assert publisher.fetch_message(request, "f", "group") == b"a"
    update_groups(request.user, ["b"])
    assert publisher.fetch_message(request, "f", "group") == b"b"
    assert publisher.fetch_message(request, "f") == b"b"
    assert RedisPublisher(facility="f", groups=[SELF], request=request)._publishers == {"groups:group:b:f"}
    update_groups(request.user, [])
    assert publisher.fetch_message(request, "f", "group") is None
    assert RedisPublisher(facility="f", groups=[SELF], request=request)._publishers == set()


class Session(dict):  # type: ignore[type-arg]
    session_key = "key"


# a user of the database, whose groups Redis may not know


@pytest.fixture(scope="module")
def people() -> Iterator[Any]:
    with database():
        from django.contrib.auth.models import User

        yield User.objects


@pytest.fixture
def john(people: Any, clean_redis: Any) -> Any:
    return people.get(username="john")


def logged_in(user: Any) -> Any:
    """A request with the session of a login."""
    from django.contrib.sessions.backends.signed_cookies import SessionStore

    request = SimpleNamespace(user=user, session=SessionStore())
    store_groups_in_session(type(user), user, request)  # type: ignore[arg-type]
    return request


def groups_now(request: Any) -> list[str]:
    return sorted(current_identity(request).groups)


def test_the_later_of_login_and_change_counts(john: Any) -> None:
    """Told by a counter of Redis; each change is one more."""
    before = logged_in(john)
    for number in range(12):
        update_groups(john, [f"told {number}"])
        assert groups_now(before) == [f"told {number}"]
    assert groups_now(logged_in(john)) == ["chatusers", "writers"]
    update_groups(user_in("other"), [])
    assert groups_now(before) == []


def test_a_ban_while_the_login_reads_the_groups(john: Any) -> None:
    class Reading:
        """The groups of a user who is banned when they have just been read."""

        @staticmethod
        def all() -> list[Any]:
            groups = list(john.groups.all())
            update_groups(john, [])
            return groups

    user = SimpleNamespace(groups=Reading(), pk=john.pk, get_username=john.get_username)
    request = logged_in(user)
    request.user = john
    assert request.session["ws4redis:memberof"] == ["chatusers", "writers"]
    assert groups_now(request) == []


LOST: dict[str, Callable[[Any], Any]] = {
    "everything": lambda redis: redis.delete(*redis.keys("groups:*")),
    "the stamp": lambda redis: redis.delete("groups:ws4redis:memberof"),
    "the user's key": lambda redis: redis.delete("groups:ws4redis:memberof:john"),
    "the stamp is none": lambda redis: redis.set("groups:ws4redis:memberof", "mine"),
    "the user's key is none": lambda redis: redis.set("groups:ws4redis:memberof:john", "mine"),
    "the last changes": lambda redis: redis.eval(
        "redis.call('SET', KEYS[1], string.match(redis.call('GET', KEYS[1]), '^%x+:') .. '0')",
        1,
        "groups:ws4redis:memberof",
    ),
}


@pytest.mark.parametrize("lose", LOST.values(), ids=LOST)
def test_what_redis_has_lost_the_database_decides(john: Any, clean_redis: Any, lose: Callable[[Any], Any]) -> None:
    update_groups(john, [])
    older = logged_in(john)
    older.session["ws4redis:memberof"] = ["a group of old"]
    update_groups(john, ["told"])
    lose(clean_redis)
    publisher = RedisPublisher()
    for group in ("a group of old", "told", "writers"):
        RedisPublisher(facility="f", groups=[group]).publish_message(group)
    assert groups_now(older) == ["chatusers", "writers"]
    assert publisher.fetch_message(older, "f", "group") == b"writers"
    assert RedisPublisher(facility="f", groups=[SELF], request=older)._publishers == {
        "groups:group:chatusers:f",
        "groups:group:writers:f",
    }
    assert RedisStore._get_message_channels(older, "f", groups=[SELF]) == [
        "groups:group:chatusers:f",
        "groups:group:writers:f",
    ]
    kept = clean_redis.get("groups:ws4redis:memberof:john")
    assert b"writers" not in (kept or b""), "a view tells nobody: its transaction may not last"


@pytest.mark.contract("differs from 0.6: groups that change")
def test_a_session_without_a_stamp(john: Any) -> None:
    """As django-websocket-redis has made it, or a login while Redis was away."""
    request = logged_in(john)
    del request.session["ws4redis:memberof_at"]
    request.session["ws4redis:memberof"] = ["a group of old"]
    assert groups_now(request) == ["chatusers", "writers"]


def test_a_login_needs_no_redis(people: Any) -> None:
    settings.WS4REDIS_CONNECTION = {"host": "127.0.0.1", "port": 1}
    try:
        request = logged_in(people.get(username="john"))
    finally:
        del settings.WS4REDIS_CONNECTION
    assert request.session["ws4redis:memberof"] == ["chatusers", "writers"]
    assert not request.session["ws4redis:memberof_at"]


def test_a_lookup_is_kept_for_a_day_and_published(john: Any, clean_redis: Any) -> None:
    identity = identity_of(logged_in(john))
    with clean_redis.pubsub() as listener:
        listener.subscribe("groups:ws4redis:memberof:john")
        listener.get_message(timeout=5)
        for _ in range(2):
            look_up_groups(identity, clean_redis)
            kept = clean_redis.get("groups:ws4redis:memberof:john")
            assert listener.get_message(timeout=5)["data"] == kept
            assert sorted(json.loads(kept)["groups"]) == ["chatusers", "writers"]
    assert 0 < clean_redis.ttl("groups:ws4redis:memberof:john") <= 24 * 3600


def test_a_lookup_does_not_undo_a_change(john: Any, clean_redis: Any) -> None:
    """Whether the change comes before it, or while the database is read, and also where its key is lost again."""
    request = logged_in(john)
    identity = identity_of(request)

    class Reading:
        """A manager of users."""

        def filter(self, pk: Any) -> Any:
            users = john._meta.default_manager.filter(pk=pk)
            names = [SimpleNamespace(name=each.name) for each in john.groups.all()]
            update_groups(john, [])
            if lost:
                clean_redis.delete("groups:ws4redis:memberof:john")
            user = SimpleNamespace(get_username=users.get().get_username, groups=SimpleNamespace(all=lambda: names))
            return SimpleNamespace(first=lambda: user)

    slow = identity._replace(row=Row(SimpleNamespace(_default_manager=Reading()), john.pk))
    for lost in (False, True):
        look_up_groups(slow, clean_redis)
        kept = clean_redis.get("groups:ws4redis:memberof:john")
        assert (json.loads(kept)["groups"] == []) if kept else lost
        clean_redis.delete("groups:ws4redis:memberof:john")
    update_groups(john, ["told"])
    look_up_groups(identity, clean_redis)
    assert groups_now(request) == ["told"]


# who is in no group, although a session says otherwise
GONE: dict[str, dict[str, Any]] = {
    "inactive": {"is_active": False},
    "renamed": {"username": "paula"},
    "deleted": {"pk": -1},
}


@pytest.mark.parametrize("changes", GONE.values(), ids=GONE)
def test_who_is_gone_is_in_no_group(people: Any, clean_redis: Any, changes: dict[str, Any]) -> None:
    paul = people.create_user("paul")
    try:
        paul.groups.set(people.get(username="john").groups.all())
        identity = identity_of(logged_in(paul))
        if "pk" in changes:
            identity = identity._replace(row=Row(type(paul), -1))
        else:
            people.filter(pk=paul.pk).update(**changes)
        look_up_groups(identity, clean_redis)
        assert json.loads(clean_redis.get("groups:ws4redis:memberof:paul"))["groups"] == []
    finally:
        paul.delete()
