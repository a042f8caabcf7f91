"""Channels with many members, which come, go and are unlisted while a fan-out pauses."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.loop.test_hub import Direct, Runtime, publications
from tests.wires import Wire
from ws4redis.core.echo import EchoFilter
from ws4redis.core.encoding import RAW, encoding_of
from ws4redis.core.publication import Publication
from ws4redis.loop import hub as hub_module
from ws4redis.loop.hub import Hub
from ws4redis.loop.large_channel import DescriptorTable
from ws4redis.protocol.deflate import Deflater, Options
from ws4redis.protocol.frames import Opcode

#: sends between two pauses
PAUSE_EVERY = 4

DEFLATED = encoding_of(RAW, Deflater(15, Options(), shared=True))


@pytest.fixture(params=["send", "io_uring"])
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr(hub_module, "PAUSE_EVERY", PAUSE_EVERY)
    monkeypatch.setattr(hub_module, "_LARGE", 2)
    monkeypatch.setattr(hub_module, "_WORTH_A_RING", 1)
    make_ring = request.getfixturevalue("make_ring") if request.param == "io_uring" else lambda size: None
    return Hub(Runtime(), make_ring(PAUSE_EVERY))  # type: ignore[arg-type]


def publish(hub: Hub, *payloads: bytes) -> Iterator[None]:
    """Up to the first pause."""
    pauses = iter(hub.deliver(publications(*[(b"a", each) for each in payloads])))
    next(pauses, None)
    return pauses


def many(hub: Hub, make_wire: Callable[..., Wire]) -> list[Direct]:
    """In the order in which a fan-out comes to them, with two pauses."""
    members = [Direct(hub, make_wire()) for _ in range(3 * PAUSE_EVERY)]
    return sorted(members, key=lambda each: each.direct.get_file_descriptor())


def texts(wire: Wire) -> list[bytes]:
    return [payload for opcode, payload in wire.frames() if opcode == Opcode.TEXT]


def listed(members: list[Direct]) -> list[bool]:
    return [each.direct.listed for each in members]


# what befalls a member while a fan-out pauses; whether it then gets what is published, if its turn is yet to come
EVENTS: dict[str, tuple[Callable[[Direct], object], bool]] = {
    "nothing": (lambda member: None, True),
    "it leaves": (lambda member: member.hub.leave(member, [b"a"]), False),
    "it leaves and comes back": (
        lambda member: (member.hub.leave(member, [b"a"]), member.hub.join(member, [b"a"])),
        False,
    ),
    "it is closing": (lambda member: member.direct.close(), False),
    "its descriptor is closed": (lambda member: member.direct.abort(), False),
    "it publishes": (lambda member: member.echo_filter.expect(b"a", b"own"), True),
    "it is unlisted twice": (lambda member: [member.expecting() for _ in range(2)], True),
    "it is unlisted and leaves": (lambda member: [member.expecting(), member.hub.leave(member, [b"a"])], False),
}


@pytest.mark.parametrize("served", [True, False])
@pytest.mark.parametrize(("befall", "gets_it"), EVENTS.values(), ids=EVENTS)
def test_in_a_pause_things_happen(
    hub: Hub, make_wire: Callable[..., Wire], befall: Callable[[Direct], object], gets_it: bool, served: bool
) -> None:
    """Who has got it gets it once; who has not gets it once or not at all, and nobody else minds."""
    members = many(hub, make_wire)
    pauses = publish(hub, b"1")
    unlucky = members[0 if served else -1]
    assert [texts(each.wire) for each in (members[0], members[-1])] == [[b"1"], []]
    befall(unlucky)
    list(pauses)
    others = members[1:-1]
    assert [texts(each.wire) for each in others] == len(others) * [[b"1"]]
    assert texts(members[0].wire) == []
    assert texts(members[-1].wire) == ([b"1"] if served or gets_it else [])
    unlucky.echo_filter.clear()
    list(publish(hub, b"2"))
    assert [texts(each.wire) for each in others] == len(others) * [[b"2"]]


@pytest.mark.parametrize("alone", [False, True])
def test_a_descriptor_that_is_used_again_gets_nothing_of_the_fan_out(
    hub: Hub, make_wire: Callable[..., Wire], alone: bool
) -> None:
    """Whether or not the others have left in the same pause."""
    members = many(hub, make_wire)
    list(publish(hub, b"0"))
    assert all(listed(members))
    pauses = publish(hub, b"1")
    *others, gone = members
    for each in others if alone else ():
        hub.leave(each, [b"a"])
    descriptor = gone.wire.server.fileno()
    ours, theirs = socket.socketpair()
    gone.direct.abort()
    os.dup2(ours.fileno(), descriptor)
    with ours, theirs, socket.socket(fileno=descriptor):
        list(pauses)
        list(publish(hub, b"2"))
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


def test_a_newcomer_gets_nothing_of_the_fan_out(hub: Hub, make_wire: Callable[..., Wire]) -> None:
    many(hub, make_wire)
    pauses = publish(hub, b"1")
    newcomer = Direct(hub, make_wire())
    list(pauses)
    assert texts(newcomer.wire) == []
    list(publish(hub, b"2"))
    assert texts(newcomer.wire) == [b"2"]
    assert newcomer.direct.listed


def test_it_is_asked_until_nothing_stands_between(hub: Hub, narrow: Callable[..., Wire]) -> None:
    slow, expecting, fine = members = [Direct(hub, narrow(outbox_size=1 << 20)) for _ in range(3)]
    long = b"x" * 100_000
    list(publish(hub, b"1"))
    assert listed(members) == [True] * 3
    expecting.echo_filter.expect(b"a", long)
    assert listed(members) == [True, False, True]
    fine.wire.browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    list(publish(hub, long))
    assert not slow.direct.listed
    assert [texts(each.wire) for each in members] == [[b"1", long], [b"1"], [b"1", long]]
    list(publish(hub, b"2"))
    assert listed(members) == [True] * 3
    assert [texts(each.wire) for each in members] == [[b"2"]] * 3


class Hasty(EchoFilter):
    """Another thread publishes as soon as it was looked whether anything is expected."""

    def __bool__(self) -> bool:
        expected = super().__bool__()
        if not expected:
            self.expect(b"a", b"own")
        return expected


def test_another_thread_may_publish_while_a_fan_out_begins(hub: Hub, make_wire: Callable[..., Wire]) -> None:
    members = many(hub, make_wire)
    for each in members[::2]:
        each.echo_filter = Hasty()
        each.echo_filter.stream = each
    list(publish(hub, b"own"))
    assert [texts(each.wire) for each in members] == len(members) // 2 * [[], [b"own"]]


def test_a_fan_out_that_fails_leaves_nothing_wrong(
    hub: Hub, make_wire: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives up the subscription, of which the hub is told when there is a new one."""
    members = many(hub, make_wire)
    for place, name in enumerate(("add", "take")):
        with monkeypatch.context() as patched, pytest.raises(LookupError):
            patched.setattr(DescriptorTable, name, lambda *args: {}["on purpose"])
            list(publish(hub, b"lost"))
        hub.reset()
        hub.leave(members[place], [b"a"])
        list(publish(hub, b"1"))
        assert [texts(each.wire) for each in members] == (place + 1) * [[]] + (len(members) - place - 1) * [[b"1"]]


@pytest.mark.parametrize("given_up", [False, True])
def test_nobody_is_remembered_after_the_fan_out(hub: Hub, make_wire: Callable[..., Wire], given_up: bool) -> None:
    members = many(hub, make_wire)
    pauses = publish(hub, b"1")
    if not given_up:
        list(pauses)
    del pauses
    for each in members:
        each.expecting()
    assert not hub._large[b"a"].missed


def test_when_something_was_written_is_known(hub: Hub, make_wire: Callable[..., Wire]) -> None:
    """For the heartbeat: to the second."""
    members = [Direct(hub, make_wire()) for _ in range(PAUSE_EVERY + 1)]
    members[-1].echo_filter.expect(b"a", b"own")
    for tick in range(1, 4):
        hub._runtime.ticks = tick
        for each in members:
            each.wire.loop.ticks = tick
        list(publish(hub, b"own"))
        members[-1].echo_filter.expect(b"a", b"own")
        assert [each.direct.written for each in members] == [tick] * PAUSE_EVERY + [0]


def test_a_channel_may_become_small_in_a_pause(hub: Hub, make_wire: Callable[..., Wire]) -> None:
    members = many(hub, make_wire)
    list(publish(hub, b"0"))
    pauses = publish(hub, b"1")
    for each in members[:-1]:
        hub.leave(each, [b"a"])
    members[-1].expecting()
    list(pauses)
    for payload in (b"2", b"3"):
        list(publish(hub, payload))
    assert texts(members[-1].wire) == [b"0", b"1", b"2", b"3"]
    hub.leave(members[-1], [b"a"])
    assert not hub.channels
    assert not hub._large


@pytest.mark.parametrize("count", [1, 40])
def test_a_table_is_in_the_order_of_descriptors(make_wire: Callable[..., Wire], count: int) -> None:
    """Whether one comes or many do."""
    websockets = [make_wire().websocket for _ in range(2 * count)]
    random.Random(count).shuffle(websockets)
    table = DescriptorTable()
    for start in (0, count):
        table.add(websockets[start : start + count])
        ordered = sorted(websockets[: start + count], key=lambda each: each.get_file_descriptor())
        assert table.websockets == ordered
        assert table.descriptors.tolist() == [each.get_file_descriptor() for each in ordered]
    for each in websockets:
        assert table.remove(each)
    assert not table.websockets
    assert not table.descriptors


CHANNELS = (b"a", b"b", b"c")


class Life:
    """Members that come and go at random, and what each must have got in the end."""

    def __init__(self, hub: Hub, make_wire: Callable[..., Wire], seed: int) -> None:
        self.hub, self.make_wire, self.random = hub, make_wire, random.Random(seed)
        self.members: list[Direct] = []
        #: by channel
        self.expected: dict[Direct, dict[bytes, list[bytes]]] = {}
        self.heard: dict[Direct, bytes] = {}
        self.number = 0
        for _ in range(30):
            self.come()

    def come(self) -> None:
        wire = self.make_wire()
        if self.random.random() < 0.3:
            wire.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        if self.random.random() < 0.3:
            wire.websocket.encoding = DEFLATED
        channels = self.random.choice([CHANNELS, CHANNELS[:1], CHANNELS[1:]])
        member = Direct(self.hub, wire, channels)
        self.members.append(member)
        self.expected[member], self.heard[member] = {each: [] for each in channels}, b""

    def go(self) -> None:
        member = self.members.pop(self.random.randrange(len(self.members)))
        self.hear(member)
        leave = partial(self.hub.leave, member, member.channels)
        self.random.choice([member.direct.abort, member.direct.close, leave])()
        member.wire.browser.close()
        member.direct.abort()

    def publish(self) -> None:
        batch = [self.publication() for _ in range(self.random.choice([1, 1, 3]))]
        pauses = iter(self.hub.deliver(batch))
        for _ in pauses:
            for _ in range(self.random.randrange(3)):
                self.random.choice([self.come, self.go, self.read, self.unlist])()

    def publication(self) -> Publication:
        self.number += 1
        channel = self.random.choice(CHANNELS)
        payload = b"%d" % self.number + b"x" * self.random.choice([0, 0, 0, 60_000])
        listeners = [each for each in self.members if channel in each.channels]
        own = self.random.choice(listeners) if listeners and self.random.random() < 0.3 else None
        if own is not None:
            own.echo_filter.expect(channel, payload)
        for each in listeners:
            if each is not own:
                self.expected[each][channel].append(each.direct.encoding.frame(Opcode.TEXT, payload))
        return Publication(channel, payload)

    def read(self) -> None:
        self.hear(self.random.choice(self.members))

    def unlist(self) -> None:
        self.random.choice(self.members).expecting()

    def hear(self, member: Direct) -> None:
        self.heard[member] += member.wire.hear()

    def missed(self, member: Direct) -> list[bytes]:
        """What it has not got; what it has got must be whole frames, in order, none twice, none of anybody else."""
        expected, heard = self.expected[member], self.heard[member]
        while heard:
            frame = next(frames[0] for frames in expected.values() if frames and heard.startswith(frames[0]))
            heard = heard[len(frame) :]
            next(frames for frames in expected.values() if frames[:1] == [frame]).pop(0)
        return [each for frames in expected.values() for each in frames]


@pytest.mark.parametrize("seed", range(10))
def test_each_gets_each_once_and_in_order(hub: Hub, make_wire: Callable[..., Wire], seed: int) -> None:
    life = Life(hub, make_wire, seed)
    for _ in range(40):
        life.publish()
        if len(life.members) > 40:
            life.go()
    for member in life.members:
        life.hear(member)
        assert not life.missed(member)
    for member in life.expected.keys() - life.members:
        life.missed(member)
    while life.members:
        life.go()
    assert not hub.channels
    assert not hub._large


# the channels of each member; whether a batch for all of them is written to each member in one piece
COMMON = {
    "all": ([b"ab"] * 40, True),
    "none": ([b"a"] * 20 + [b"b"] * 20, False),
    "one in twenty": ([b"a"] * 38 + [b"ab"] * 2, False),
}


@pytest.mark.parametrize(("channels", "joined"), COMMON.values(), ids=COMMON)
def test_what_many_get_of_two_channels_is_joined(
    hub: Hub, make_wire: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch, channels: list[bytes], joined: bool
) -> None:
    members = [Direct(hub, make_wire(), [bytes([each]) for each in name]) for name in channels]
    served: list[int] = []
    monkeypatch.setattr(
        DescriptorTable, "take", lambda table, most, take=DescriptorTable.take: served.append(most) or take(table, most)
    )
    list(hub.deliver(publications((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))))
    assert bool(served) != joined
    texts_of = {b"a": [b"1", b"3"], b"b": [b"2"], b"ab": [b"1", b"3", b"2"]}
    assert [texts(each.wire) for each in members] == [texts_of[name] for name in channels]
