"""What is measured. Each scenario gets a subject that has just been started, and a crowd without sockets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from fanout import processes
from fanout.arrivals import faults
from fanout.crowd import Crowd
from fanout.results import Measured
from fanout.subjects import Subject
from tests.servers import wait_for

#: sockets opened and closed before anything is measured: what is made once has been made
_WARM_UP = 20

#: beyond what a thing should take, in seconds
_PATIENCE = 60.0


class Plan(NamedTuple):
    sockets: int
    messages: int = 0
    #: messages a second; 0 is all at once
    rate: float = 0
    #: how long idle sockets are watched
    idle_seconds: float = 0


class Refused(Exception):
    """Not all sockets could be opened."""


def fan_out(subject: Subject, crowd: Crowd, plan: Plan) -> Measured:
    """All sockets listen, so many messages are published."""
    connect_all(subject, crowd, plan.sockets)
    crowd.order("expect", messages=plan.messages)
    before = cpu_seconds(subject)
    crowd.begin("collect", patience=_PATIENCE + (plan.messages / plan.rate if plan.rate else 0))
    subject.send(plan.messages, plan.rate)
    collected = crowd.end()
    cpu = cpu_seconds(subject) - before
    arrived = crowd.order("count")
    received = arrived["received"]
    return Measured(
        sockets=plan.sockets,
        messages=plan.messages,
        expected=plan.sockets * plan.messages,
        received=sum(received),
        faults=faults(plan.sockets, plan.messages, received, arrived["unexpected"], arrived["ended"]),
        cpu_seconds=cpu,
        seconds=collected["complete_after"],
        crowd_cpu_seconds=collected["cpu_seconds"],
    )


def connect(subject: Subject, crowd: Crowd, plan: Plan) -> Measured:
    """Anonymous visitors connect, a bounded number at the same time, and stay."""
    before = cpu_seconds(subject)
    connected = connect_all(subject, crowd, plan.sockets)
    cpu = cpu_seconds(subject) - before
    return Measured(
        sockets=plan.sockets,
        expected=plan.sockets,
        received=connected["connected"],
        cpu_seconds=cpu,
        seconds=connected["seconds"],
        crowd_cpu_seconds=connected["cpu_seconds"],
    )


def idle(subject: Subject, crowd: Crowd, plan: Plan) -> Measured:
    """Sockets are open, and nothing happens."""
    memory = memory_bytes(subject)
    connected = connect_all(subject, crowd, plan.sockets)
    before = cpu_seconds(subject)
    time.sleep(plan.idle_seconds)
    cpu = cpu_seconds(subject) - before
    arrived = crowd.order("count")
    return Measured(
        sockets=plan.sockets,
        expected=plan.sockets,
        received=connected["connected"],
        faults=faults(plan.sockets, 0, arrived["received"], arrived["unexpected"], arrived["ended"]),
        cpu_seconds=cpu,
        seconds=plan.idle_seconds,
        memory_bytes=memory_bytes(subject) - memory,
    )


class Scenario(NamedTuple):
    measure: Callable[[Subject, Crowd, Plan], Measured]
    plan: Plan
    #: for --quick: the machinery and the counts, not the times
    quick: Plan
    with_floor: bool = True


SCENARIOS = {
    "paced": Scenario(fan_out, Plan(1000, 500, 50), Plan(100, 50, 100)),
    "burst": Scenario(fan_out, Plan(1000, 1000), Plan(100, 50)),
    "connect": Scenario(connect, Plan(2000), Plan(100)),
    "idle": Scenario(idle, Plan(10_000, idle_seconds=5), Plan(100, idle_seconds=0.2), with_floor=False),
}


def warm_up(subject: Subject, crowd: Crowd) -> None:
    opened = sum(map(processes.descriptors, subject.pids()))
    connect_all(subject, crowd, _WARM_UP)
    crowd.order("leave")
    opened += _WARM_UP // 2
    wait_for(lambda: sum(map(processes.descriptors, subject.pids())) < opened, "the warm-up's sockets are closed")


def connect_all(subject: Subject, crowd: Crowd, sockets: int) -> dict[str, Any]:
    patience = _PATIENCE + sockets / 100
    connected = crowd.order("connect", port=subject.port, path=subject.path, sockets=sockets, patience=patience)
    if connected["connected"] < sockets:
        said = "; ".join(connected["refused"]) or f"no answer within {patience:.0f} s"
        raise Refused(f"{subject.name} opened {connected['connected']} of {sockets} sockets: {said}")
    return connected


def cpu_seconds(subject: Subject) -> float:
    return sum(map(processes.cpu_seconds, subject.pids()))


def memory_bytes(subject: Subject) -> int:
    return sum(map(processes.memory_bytes, subject.pids()))
