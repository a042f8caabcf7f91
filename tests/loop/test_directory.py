"""Who finds which connection, and that nothing is left behind."""

from __future__ import annotations

import pytest

from ws4redis.core.identity import ANONYMOUS, Identity
from ws4redis.loop.directory import Directory

JOHN = Identity("john", user_pk="1", session_key="a")

# what is entered: connection, identity -> who is found by user, by session
FOUND: dict[str, tuple[list[tuple[str, Identity]], dict[str, set[str]], dict[str, set[str]]]] = {
    "one": ([("x", JOHN)], {"1": {"x"}}, {"a": {"x"}}),
    "two tabs": ([("x", JOHN), ("y", JOHN)], {"1": {"x", "y"}}, {"a": {"x", "y"}}),
    "two devices": (
        [("x", JOHN), ("y", JOHN._replace(session_key="b"))],
        {"1": {"x", "y"}},
        {"a": {"x"}, "b": {"y"}},
    ),
    "a session without a user": ([("x", Identity(session_key="a"))], {}, {"a": {"x"}}),
    "a user without a session": ([("x", Identity("john", user_pk="1"))], {"1": {"x"}}, {}),
    "a hook's user without a key": ([("x", Identity("john"))], {}, {}),
    "nobody": ([("x", ANONYMOUS)], {}, {}),
    "another user on the same connection": (
        [("x", JOHN), ("x", Identity("mary", user_pk="2"))],
        {"1": set(), "2": {"x"}},
        {"a": set()},
    ),
    "nobody any more": ([("x", JOHN), ("x", ANONYMOUS)], {"1": set()}, {"a": set()}),
}


@pytest.mark.parametrize(("entered", "by_user", "by_session"), FOUND.values(), ids=FOUND)
def test_who_is_found(
    entered: list[tuple[str, Identity]], by_user: dict[str, set[str]], by_session: dict[str, set[str]]
) -> None:
    directory: Directory[str] = Directory()
    for connection, identity in entered:
        directory.add(connection, identity)
    assert {key: directory.by_user(key) for key in by_user} == by_user
    assert {key: directory.by_session(key) for key in by_session} == by_session
    assert directory.by_user("") == directory.by_session("") == directory.by_user("unknown") == set()
    for connection, _ in entered:
        directory.discard(connection)  # more than once, as where leaving has failed
    assert not any(vars(directory).values()), "nothing is left"


def test_nobody_costs_nothing() -> None:
    directory: Directory[str] = Directory()
    directory.add("x", ANONYMOUS)
    directory.discard("x")
    directory.discard("never entered")
    assert not any(vars(directory).values())


def test_what_is_found_may_leave_while_it_is_gone_through() -> None:
    directory: Directory[str] = Directory()
    for name in "xyz":
        directory.add(name, JOHN)
    for each in directory.by_user("1"):
        directory.discard(each)
    assert directory.by_user("1") == set()
