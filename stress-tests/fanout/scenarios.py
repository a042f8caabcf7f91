"""What is measured. Each scenario gets a subject that has just been started, and a crowd without sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import quantiles
from typing import Any, NamedTuple

from fanout import processes, wire
from fanout.arrivals import faults
from fanout.crowd import Crowd
from fanout.pace import paced
from fanout.results import CORE, CPU_EACH, MEMORY, P99, Figure, Measured
from fanout.streams import AUDIENCES, BROADCAST, USER, heard, posts, stream
from fanout.subjects import Conversational, Subject, Visit
from tests.servers import wait_for

#: sockets opened and closed before anything is measured: what is made once has been made
_WARM_UP = 20

#: browsers that connect at the same time
_AT_ONCE = 100

#: beyond what a thing should take, in seconds
_PATIENCE = 60.0


class Plan(NamedTuple):
    sockets: int
    #: on each stream; what a socket hears or says
    messages: int = 0
    #: pipelines a second, or what all browsers say a second; 0 is as fast as it goes
    rate: float = 0
    #: messages that are published in one round trip; 0 is all
    pipeline: int = 1
    #: how long idle sockets are watched
    idle_seconds: float = 0
    #: sockets that are open besides
    parked: int = 0


class Refused(Exception):
    """Not all sockets could be opened."""


Measure = Callable[[Any, Crowd, Plan, Sequence[str]], Measured]


def fan_out(subject: Subject, crowd: Crowd, plan: Plan, audiences: Sequence[str], timed: bool = False) -> Measured:
    """All sockets listen, so many messages are published."""
    streams = heard(audiences, plan.sockets)
    connect_all(subject, crowd, subject.listeners(streams))
    crowd.order("expect", messages=plan.messages, streams=streams, timed=timed)
    published = list(posts(audiences, plan.sockets, plan.messages))
    size = plan.pipeline or len(published)
    pipelines = [published[start : start + size] for start in range(0, len(published), size)]
    expected = plan.sockets * plan.messages * len(audiences)
    before = cpu_seconds(subject)
    slowly = len(pipelines) / plan.rate if plan.rate else 0
    crowd.begin("collect", patience=_PATIENCE + slowly + expected / 1000)
    times = []
    for number in paced(len(pipelines), plan.rate):
        times.append(time.monotonic())
        subject.publish(pipelines[number])
    collected = crowd.end()
    cpu = cpu_seconds(subject) - before
    return Measured(
        sockets=plan.sockets,
        messages=plan.messages,
        expected=expected,
        cpu_seconds=cpu,
        seconds=collected["complete_after"],
        crowd_cpu_seconds=collected["cpu_seconds"],
        milliseconds=_delays(times, collected["times"]) if timed else {},
        **_arrived(crowd, plan),
    )


def latency(subject: Subject, crowd: Crowd, plan: Plan, audiences: Sequence[str]) -> Measured:
    """The same; how long it takes from right before a message is published until the last socket has it."""
    return fan_out(subject, crowd, plan, audiences, timed=True)


def connect(subject: Subject, crowd: Crowd, plan: Plan, audiences: Sequence[str]) -> Measured:
    """Visitors connect, a bounded number at the same time, and stay."""
    visits = subject.listeners(heard(audiences, plan.sockets))
    before = cpu_seconds(subject)
    connected = connect_all(subject, crowd, visits)
    cpu = cpu_seconds(subject) - before
    return Measured(
        sockets=plan.sockets,
        expected=plan.sockets,
        received=connected["connected"],
        cpu_seconds=cpu,
        seconds=connected["seconds"],
        crowd_cpu_seconds=connected["cpu_seconds"],
    )


def churn(subject: Conversational, crowd: Crowd, plan: Plan, audiences: Sequence[str]) -> Measured:
    """Beside many that stay, browsers come, say something, hear it, and leave."""
    connect_all(subject, crowd, subject.listeners(heard(audiences, plan.parked)))
    visits = [subject.soliloquist(number) for number in range(_WARM_UP + plan.sockets)]
    arguments = {"port": subject.port, "at_once": min(_AT_ONCE, 50), "patience": _PATIENCE + plan.sockets / 100}
    crowd.order("churn", visits=visits[:_WARM_UP], **arguments)
    before = cpu_seconds(subject)
    visited = crowd.order("churn", visits=visits[_WARM_UP:], **arguments)
    cpu = cpu_seconds(subject) - before
    arrived = _arrived(crowd, plan._replace(sockets=plan.parked))
    return Measured(
        sockets=plan.sockets,
        expected=plan.sockets,
        received=visited["visited"],
        faults=visited["refused"] + arrived["faults"],
        cpu_seconds=cpu,
        seconds=visited["seconds"],
        crowd_cpu_seconds=visited["cpu_seconds"],
    )


def heartbeats(subject: Subject, crowd: Crowd, plan: Plan, audiences: Sequence[str]) -> Measured:
    """Browsers say that they are there, and are answered."""
    connect_all(subject, crowd, subject.listeners(heard(audiences, plan.sockets)))
    return _speak(subject, crowd, plan, plan.sockets, "beat", text=wire.HEARTBEAT, times=plan.messages)


def published(subject: Conversational, crowd: Crowd, plan: Plan, audiences: Sequence[str]) -> Measured:
    """Browsers publish, and one listens."""
    listener = subject.listeners([[BROADCAST]])
    connect_all(subject, crowd, [subject.speaker()] * plan.sockets + listener)
    said = [stream(USER, number) for number in range(plan.sockets)]
    crowd.order("expect", messages=plan.messages, streams=[*[[]] * plan.sockets, said])
    return _speak(subject, crowd, plan, plan.sockets + 1, "say", streams=said, messages=plan.messages)


def _speak(subject: Subject, crowd: Crowd, plan: Plan, sockets: int, order: str, **arguments: Any) -> Measured:
    """Browsers say something, and so many sockets hear what they should."""
    before = cpu_seconds(subject)
    spoken = crowd.order(order, rate=plan.rate, **arguments)
    crowd.order("collect", patience=_PATIENCE)
    cpu = cpu_seconds(subject) - before
    return Measured(
        sockets=plan.sockets,
        messages=plan.messages,
        expected=plan.sockets * plan.messages,
        cpu_seconds=cpu,
        seconds=spoken["seconds"],
        crowd_cpu_seconds=spoken["cpu_seconds"],
        **_arrived(crowd, plan._replace(sockets=sockets)),
    )


def idle(subject: Subject, crowd: Crowd, plan: Plan, audiences: Sequence[str]) -> Measured:
    """Sockets are open, and nothing happens."""
    return _idle(subject, crowd, plan, audiences, _arrived)


def assured(subject: Subject, crowd: Crowd, plan: Plan, audiences: Sequence[str]) -> Measured:
    """The same, while the server tells each browser that it is there."""
    return _idle(subject, crowd, plan, audiences, _assured)


def _idle(
    subject: Subject,
    crowd: Crowd,
    plan: Plan,
    audiences: Sequence[str],
    arrived: Callable[[Crowd, Plan], Mapping[str, Any]],
) -> Measured:
    visits = subject.listeners(heard(audiences, plan.sockets))
    memory = memory_bytes(subject)
    connected = connect_all(subject, crowd, visits)
    before = cpu_seconds(subject)
    time.sleep(plan.idle_seconds)
    cpu = cpu_seconds(subject) - before
    return Measured(
        sockets=plan.sockets,
        expected=plan.sockets,
        received=connected["connected"],
        faults=arrived(crowd, plan)["faults"],
        cpu_seconds=cpu,
        seconds=plan.idle_seconds,
        memory_bytes=memory_bytes(subject) - memory,
    )


class Scenario(NamedTuple):
    title: str
    measure: Measure
    figure: Figure
    plan: Plan
    #: for --quick: the machinery and the counts, not the times
    quick: Plan
    #: what each socket hears
    audiences: Sequence[str] = (BROADCAST,)
    #: beside which others our server is measured, and with which plan where that is another
    others: Mapping[str, Plan | None] = {}
    #: of our server
    settings: Mapping[str, str] = {}


_PACED = Scenario(
    "1,000 sockets, 50 messages a second",
    fan_out,
    CPU_EACH,
    Plan(1000, 500, 50),
    Plan(100, 50, 100),
    others={"floor": None, "nchan": None, "channels": Plan(1000, 50, 5)},
)

SCENARIOS = {
    "paced": _PACED,
    "paced-send": _PACED._replace(
        title="the same without io_uring", others={"floor": None}, settings={"WS4REDIS_IO_URING": "false"}
    ),
    "burst": Scenario(
        "1,000 sockets, 1,000 messages at once",
        fan_out,
        CPU_EACH,
        Plan(1000, 1000, pipeline=0),
        Plan(100, 50, pipeline=0),
        others={"floor": None, "nchan": None, "channels": Plan(1000, 50, pipeline=0)},
    ),
    "few": Scenario(
        "100 sockets, 200 messages a second",
        fan_out,
        CPU_EACH,
        Plan(100, 2000, 200),
        Plan(20, 50, 200),
        others={"floor": None},
    ),
    "many": Scenario(
        "10,000 sockets, 2 messages a second",
        fan_out,
        CPU_EACH,
        Plan(10_000, 20, 2),
        Plan(200, 10, 20),
        others={"floor": None, "nchan": None},
    ),
    "unicast": Scenario(
        "10,000 users, a message for each, 100 in a pipeline",
        fan_out,
        CPU_EACH,
        Plan(10_000, 3, 50, pipeline=100),
        Plan(100, 5, 50, pipeline=20),
        audiences=(USER,),
        others={"floor": None},
    ),
    "unicast-singly": Scenario(
        "10,000 users, 1,000 messages a second",
        fan_out,
        CPU_EACH,
        Plan(10_000, 1, 1000),
        Plan(100, 2, 500),
        audiences=(USER,),
        others={"floor": None},
    ),
    "mixed": Scenario(
        "1,000 users, each of 4 audiences, 100 in a pipeline",
        fan_out,
        CPU_EACH,
        Plan(1000, 50, 100, pipeline=100),
        Plan(100, 5, 100, pipeline=20),
        audiences=AUDIENCES,
        others={"floor": None},
    ),
    "connect": Scenario(
        "2,000 anonymous visitors",
        connect,
        CPU_EACH,
        Plan(2000),
        Plan(100),
        others={"floor": None, "nchan": None, "channels": None},
    ),
    "connect-session": Scenario(
        "2,000 users with a session, 4 audiences",
        connect,
        CPU_EACH,
        Plan(2000),
        Plan(100),
        audiences=AUDIENCES,
    ),
    "churn-100": Scenario(
        "2,000 come, say something and leave, 100 stay",
        churn,
        CPU_EACH,
        Plan(2000, parked=100),
        Plan(50, parked=10),
    ),
    "churn-10000": Scenario(
        "2,000 come, say something and leave, 10,000 stay",
        churn,
        CPU_EACH,
        Plan(2000, parked=10_000),
        Plan(50, parked=200),
    ),
    "heartbeats": Scenario(
        "1,000 browsers, 2,000 heartbeats a second",
        heartbeats,
        CPU_EACH,
        Plan(1000, 10, 2000),
        Plan(100, 5, 1000),
        others={"channels": None},
        settings={"WS4REDIS_HEARTBEAT": wire.HEARTBEAT},
    ),
    "published": Scenario(
        "100 browsers publish 1,000 messages a second",
        published,
        CPU_EACH,
        Plan(100, 100, 1000),
        Plan(20, 10, 500),
        others={"channels": None},
    ),
    "idle": Scenario(
        "10,000 anonymous sockets",
        idle,
        MEMORY,
        Plan(10_000, idle_seconds=2),
        Plan(100, idle_seconds=0.2),
        others={"nchan": None, "channels": None},
    ),
    "idle-1000": Scenario(
        "1,000 anonymous sockets",
        idle,
        MEMORY,
        Plan(1000, idle_seconds=2),
        Plan(50, idle_seconds=0.2),
    ),
    "idle-session": Scenario(
        "10,000 users with a session, 4 audiences",
        idle,
        MEMORY,
        Plan(10_000, idle_seconds=2),
        Plan(100, idle_seconds=0.2),
        audiences=AUDIENCES,
    ),
    "idle-heartbeat": Scenario(
        "10,000 sockets, a heartbeat to each every 3 seconds",
        assured,
        CORE,
        Plan(10_000, idle_seconds=12),
        Plan(100, idle_seconds=4),
        settings={"WS4REDIS_HEARTBEAT": wire.HEARTBEAT},
    ),
    "latency": Scenario(
        "1,000 sockets, until the last has a message",
        latency,
        P99,
        Plan(1000, 300, 20),
        Plan(100, 50, 100),
        others={"floor": None, "nchan": None},
    ),
}


def warm_up(subject: Subject, crowd: Crowd, plan: Plan, audiences: Sequence[str]) -> None:
    # all of them at once, for who has accounts makes them now
    visits = subject.listeners(heard(audiences, max(plan.sockets, plan.parked, _WARM_UP)))
    connect_all(subject, crowd, visits[:_WARM_UP])
    opened = sum(map(processes.descriptors, subject.pids())) - _WARM_UP // 2
    crowd.order("leave")
    wait_for(lambda: sum(map(processes.descriptors, subject.pids())) < opened, "the warm-up's sockets are closed")


def connect_all(subject: Subject, crowd: Crowd, visits: Sequence[Visit]) -> dict[str, Any]:
    """Open these websockets, and no others are open."""
    patience = _PATIENCE + len(visits) / 100
    connected = crowd.order("connect", port=subject.port, visits=visits, at_once=_AT_ONCE, patience=patience)
    if connected["connected"] < len(visits):
        said = "; ".join(connected["refused"]) or f"no answer within {patience:.0f} s"
        raise Refused(f"{subject.name} opened {connected['connected']} of {len(visits)} sockets: {said}")
    return connected


def cpu_seconds(subject: Subject) -> float:
    return sum(map(processes.cpu_seconds, subject.pids()))


def memory_bytes(subject: Subject) -> int:
    return sum(map(processes.memory_bytes, subject.pids()))


def _arrived(crowd: Crowd, plan: Plan) -> dict[str, Any]:
    counted = crowd.order("count")
    found = faults(plan.sockets, counted["expected"], counted["received"], counted["unexpected"], counted["ended"])
    return {"received": sum(counted["received"]), "faults": found}


def _assured(crowd: Crowd, plan: Plan) -> dict[str, Any]:
    """Nothing came but heartbeats, and enough of them: one within four seconds."""
    counted = crowd.order("count")
    found = faults(plan.sockets, counted["expected"], counted["received"], 0, counted["ended"])
    wanted = plan.sockets * int(plan.idle_seconds / 4)
    if counted["unexpected"] < wanted:
        found.append(f"{counted['unexpected']} heartbeats came instead of {wanted} at least")
    return {"faults": found}


def _delays(begun: Sequence[float], done: Sequence[float]) -> dict[str, float]:
    """In milliseconds; of messages that have not arrived others tell."""
    delays = sorted((end - begin) * 1000 for begin, end in zip(begun, done, strict=False))
    if len(delays) < 2:
        return {}
    hundredths = quantiles(delays, n=100, method="inclusive")
    return {"p50": hundredths[49], "p99": hundredths[98], "most": delays[-1]}
