"""The loop of a process: what it is told by options and settings."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

import tests.django_setup  # noqa: F401
from ws4redis.broker import client as redis_client
from ws4redis.loop.process import LoopProcess
from ws4redis.protocol.frames import message_frame
from ws4redis.runtime.threads import ThreadRuntime
from ws4redis.settings import Options


def process(**options: Any) -> LoopProcess:
    """One that is not started."""
    return LoopProcess(ThreadRuntime(), redis_client.client, Options(**options))


# options, what the loop has of them
OPTIONS: list[tuple[dict[str, Any], str, Any]] = [
    ({"timeout": 0.5}, "timeout", 0.5),
    ({"max_messages_per_second": 1, "max_bytes_per_second": None}, "allowance", (10, inf)),
    ({"io_uring": False}, "ring", None),
    ({}, "new_backlog", None),
]


@pytest.mark.parametrize(("options", "name", "value"), OPTIONS)
def test_options(options: dict[str, Any], name: str, value: Any) -> None:
    made = process(**options)
    assert getattr(made, name) == value
    assert made.options == Options(**options)


@pytest.mark.parametrize("policy", ["conflate", "drop"])
def test_a_backlog_has_half_of_the_outbox(policy: str) -> None:
    new_backlog = process(slow_browser=policy, outbox_size=1000).new_backlog
    assert new_backlog is not None
    assert new_backlog.args == (500, policy == "conflate")  # type: ignore[attr-defined]


def test_the_heartbeat_may_change() -> None:
    made = process()
    assert made.heartbeat is None
    for text in ("one", "one", "two", "", "three", None):
        before = made.heartbeat
        made.use_heartbeat(text)
        assert (made.heartbeat and made.heartbeat.frame) == (message_frame(text) if text else None)
        assert (made.heartbeat is before) == (bool(before) and before.text == text), "it is made anew where it differs"
