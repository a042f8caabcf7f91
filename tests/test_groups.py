"""Groups that change: the one call, and what it means for sessions; the doors' part is in ``test_identities``."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests.servers import Valkey
from ws4redis import settings
from ws4redis.channels import SELF, Identity
from ws4redis.exceptions import RedisUnavailable
from ws4redis.groups import update_groups, with_newer_groups
from ws4redis.publisher import RedisPublisher

JOHN = Identity("john", ("a", "b"), "key", groups_at=1000.0)

UPDATES: list[tuple[str, bytes | None, tuple[str, ...]]] = [
    ("none", None, ("a", "b")),
    ("newer than the login", b'{"groups": ["c"], "at": 1000.5}', ("c",)),
    ("older than the login", b'{"groups": ["c"], "at": 999.5}', ("a", "b")),
    ("out of all groups", b'{"groups": [], "at": 2000}', ()),
    ("a name with a colon and an umlaut", '{"groups": ["ü:x"], "at": 2000}'.encode(), ("ü:x",)),
]


@pytest.mark.parametrize(("update", "groups"), [row[1:] for row in UPDATES], ids=[row[0] for row in UPDATES])
def test_which_groups_hold(update: bytes | None, groups: tuple[str, ...]) -> None:
    assert with_newer_groups(JOHN, update) == JOHN._replace(groups=groups)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"hi",
        b"\xff",
        b"[]",
        b"{}",
        b'{"groups": 1, "at": 2000}',
        b'{"groups": []}',
        b"[" * 100_000,
        b'{"groups": [], "at": 1' + b"0" * 400 + b"}",
        b'{"groups": ["\\ud800"], "at": 2e9}',
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
