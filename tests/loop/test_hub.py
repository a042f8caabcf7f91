from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.wires import Wire
from ws4redis.core.echo import EchoFilter
from ws4redis.core.encoding import RAW, encoding_of
from ws4redis.core.publication import Batch, Publication
from ws4redis.loop import hub as hub_module
from ws4redis.loop.hub import PAUSE_EVERY, Hub
from ws4redis.protocol.deflate import Deflater, Options
from ws4redis.protocol.frames import Opcode, serialize
from ws4redis.runtime.io_uring import Ring


class Listener:
    direct = echo_filter = None
    control = False

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.deliveries: list[list[tuple[bytes, bytes]]] = []
        self.then = then
        self.batches: list[Batch] = []

    def deliver(self, batches: Sequence[Batch]) -> None:
        self.batches += batches
        self.deliveries.append([(each.channel, each.payload) for batch in batches for each in batch.publications])
        self.then()


def publications(*pairs: tuple[bytes, bytes]) -> list[Publication]:
    return [Publication(channel, payload) for channel, payload in pairs]


class Runtime:
    """What is spawned runs at once."""

    ticks = 0

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        function(*args)


@pytest.fixture
def runtime() -> Runtime:
    return Runtime()


@pytest.fixture(params=["one by one", "in tables", "io_uring"])
def hub(runtime: Runtime, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """With tables and a ring, and then for as few as can be, or without."""
    if request.param != "one by one":
        monkeypatch.setattr(hub_module, "_LARGE", 2)
    monkeypatch.setattr(hub_module, "_WORTH_A_RING", 1)
    make_ring = request.getfixturevalue("make_ring") if request.param == "io_uring" else lambda size: None
    return Hub(runtime, make_ring(PAUSE_EVERY))  # type: ignore[arg-type]


# steps (who, joins or leaves, channels, the channels that are new or empty by it), channels at the end
MEMBERSHIPS = [
    ([(0, "join", [b"a", b"b"], [b"a", b"b"])], {b"a", b"b"}),
    ([(0, "join", [b"a"], [b"a"]), (1, "join", [b"a", b"b"], [b"b"])], {b"a", b"b"}),
    ([(0, "join", [b"a"], [b"a"]), (0, "join", [b"a"], [])], {b"a"}),
    ([(0, "join", [b"a"], [b"a"]), (0, "leave", [b"a"], [b"a"])], set()),
    ([(0, "join", [b"a"], [b"a"]), (1, "join", [b"a"], []), (0, "leave", [b"a"], [])], {b"a"}),
    (
        [
            (0, "join", [b"a"], [b"a"]),
            (1, "join", [b"a"], []),
            *[(who, "leave", [b"a"], who * [b"a"]) for who in (0, 1)],
        ],
        set(),
    ),
    ([(0, "join", [b"a"], [b"a"]), (1, "leave", [b"a"], [])], {b"a"}),
    ([(0, "leave", [b"a"], [])], set()),
    ([(0, "join", [b"a"], [b"a"]), (0, "leave", [b"a"], [b"a"]), (0, "leave", [b"a"], [])], set()),
    ([(0, "join", [b"a", b"a"], [b"a"]), (0, "leave", [b"a", b"a"], [b"a"])], set()),
]


@pytest.mark.parametrize(("steps", "channels"), MEMBERSHIPS)
def test_channels_that_are_new_or_empty(hub: Hub, steps: list, channels: set[bytes]) -> None:
    members = [Listener(), Listener()]
    for who, step, names, changed in steps:
        assert getattr(hub, step)(members[who], names) == changed
    assert set(hub.channels) == channels


def test_members_get_their_channels_in_one_delivery(hub: Hub) -> None:
    both, one, none = Listener(), Listener(), Listener()
    hub.join(both, [b"a", b"b"])
    hub.join(one, [b"b"])
    hub.join(none, [b"c"])
    list(hub.deliver(publications((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"x", b"4"), (b"b", b"5"))))
    assert [sorted(each) for each in both.deliveries] == [[(b"a", b"1"), (b"a", b"3"), (b"b", b"2"), (b"b", b"5")]]
    assert one.deliveries == [[(b"b", b"2"), (b"b", b"5")]]
    assert none.deliveries == []


@pytest.mark.contract("11.3 order: decided: each channel arrives complete and in order, in bursts, too")
def test_the_order_within_a_channel_is_kept(hub: Hub) -> None:
    member = Listener()
    hub.join(member, [b"a", b"b"])
    for batch in range(3):
        numbers = [str(10 * batch + number).encode() for number in range(10)]
        list(hub.deliver(publications(*[(channel, number) for number in numbers for channel in (b"a", b"b")])))
    for channel in (b"a", b"b"):
        got = [int(payload) for batch in member.deliveries for name, payload in batch if name == channel]
        assert got == list(range(30))


@pytest.mark.parametrize(
    ("published", "heard"), [("a1 u2", "12"), ("u1 a2", "12"), ("u1 a2 u3", "132"), ("a1 u2 a3", "132")]
)
def test_the_order_of_channels_is_that_of_their_first_messages(
    hub: Hub, make_wire: Callable[..., Wire], published: str, heard: str
) -> None:
    both = Direct(hub, make_wire(), [b"a", b"u"])
    for _ in range(10):
        Direct(hub, make_wire())
    for _ in range(3):
        list(hub.deliver(publications(*[(each[:1].encode(), each[1:].encode()) for each in published.split()])))
        assert "".join(payload.decode() for _, payload in both.wire.frames()) == heard


@pytest.mark.parametrize("channels", [[b"a"], [b"a", b"b"]])
def test_members_share_the_bytes(hub: Hub, channels: list[bytes]) -> None:
    first, second = Listener(), Listener()
    hub.join(first, channels)
    hub.join(second, channels)
    list(hub.deliver(publications(*[(channel, b"1") for channel in channels], (b"a", b"2"))))
    plain = encoding_of(RAW)
    assert first.batches == second.batches
    assert first.batches[0].frames(plain) == b"\x81\x011\x81\x012"
    assert all(
        one.frames(plain) is other.frames(plain) for one, other in zip(first.batches, second.batches, strict=True)
    )


def test_nothing_to_deliver(hub: Hub) -> None:
    list(hub.deliver([]))
    list(hub.deliver(publications((b"a", b"1"))))
    assert hub.channels == []


def test_a_member_may_leave_or_join_in_the_middle(hub: Hub) -> None:
    """A member that fails to send leaves at once; the others get theirs all the same."""
    members: list[Listener] = []
    late = Listener()

    def leave_and_let_another_come() -> None:
        for each in members:
            hub.leave(each, [b"a"])
        hub.join(late, [b"a"])

    members += [Listener(leave_and_let_another_come) for _ in range(3)]
    for each in members:
        hub.join(each, [b"a"])
    list(hub.deliver(publications((b"a", b"1"))))
    assert [each.deliveries for each in members] == [[[(b"a", b"1")]]] * 3
    list(hub.deliver(publications((b"a", b"2"))))
    assert late.deliveries == [[(b"a", b"2")]]


@pytest.mark.parametrize(("members", "expected"), [(1, 0), (256, 0), (257, 1), (513, 2)])
@pytest.mark.parametrize("channels", [[b"a"], [b"a", b"b"]])
def test_a_long_fan_out_lets_others_run(hub: Hub, members: int, expected: int, channels: list[bytes]) -> None:
    for _ in range(members):
        hub.join(Listener(), channels)
    pauses = hub.deliver(publications(*[(channel, b"1") for channel in channels]))
    assert len(list(pauses)) == expected


def test_many_channels_may_be_long_together(hub: Hub) -> None:
    channels = [b"%d" % number for number in range(257)]
    for channel in channels:
        hub.join(Listener(), [channel])
    for count, expected in (0, 0), (256, 0), (257, 1):
        assert len(list(hub.deliver(publications(*[(channel, b"1") for channel in channels[:count]])))) == expected


#: after the first pause somebody who has not got it yet leaves a channel, and may come back
@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize(("channels", "left", "rest"), [([b"a"], b"a", []), ([b"a", b"b"], b"a", [(b"b", b"1")])])
def test_who_leaves_during_a_long_fan_out_gets_nothing_more_of_it(
    hub: Hub, channels: list[bytes], left: bytes, rest: list[tuple[bytes, bytes]], comes_back: bool
) -> None:
    members = [Listener() for _ in range(3 * PAUSE_EVERY)]
    for each in members:
        hub.join(each, channels)
    everything = [(channel, b"1") for channel in channels]
    pauses = iter(hub.deliver(publications(*everything)))
    next(pauses)
    gone = next(each for each in members if not each.deliveries)
    hub.leave(gone, [left])
    if comes_back:
        hub.join(gone, [left])
    assert len(list(pauses)) == 1
    assert [pair for each in gone.deliveries for pair in each] == rest
    assert all(each.deliveries == [everything] for each in members if each is not gone)
    list(hub.deliver(publications((left, b"2"))))
    assert gone.deliveries[-1:] == ([[(left, b"2")]] if comes_back else [[*rest]] if rest else [])


class Control(Listener):
    control = True


def test_it_knows_the_channels_where_control_is_heard(hub: Hub) -> None:
    control, others = Control(), [Listener(), Listener()]
    hub.join(control, [b"a", b"b"])
    for each in others:
        hub.join(each, [b"a", b"c"])
    assert hub.controls == {b"a", b"b"}
    second = Control()
    hub.join(second, [b"a"])
    for each in [*others, control]:
        hub.leave(each, [b"a", b"b", b"c"])
    assert hub.controls == {b"a"}
    hub.leave(second, [b"a"])
    assert not hub.controls


class Failing:
    direct = echo_filter = None
    control = False
    gone = 0

    def deliver(self, batches: Any) -> None:
        raise LookupError("on purpose")

    def failed(self) -> None:
        self.gone += 1


class Direct(Listener):
    """Writes to a websocket; may be bypassed."""

    def __init__(self, hub: Hub, wire: Wire, channels: Sequence[bytes] = (b"a",)) -> None:
        super().__init__()
        self.hub, self.wire, self.channels = hub, wire, channels
        self.direct = wire.websocket
        self.echo_filter = EchoFilter()
        self.echo_filter.stream = self
        wire.owner.unlist = self.expecting = lambda: hub.unlist(self, channels)
        wire.owner.left = lambda: hub.leave(self, channels)
        hub.join(self, channels)

    def mark(self, reached: Callable[[], None]) -> None:
        raise NotImplementedError

    def deliver(self, batches: Sequence[Batch]) -> None:
        super().deliver(batches)
        for batch in batches:
            for each in self.echo_filter.without_own(batch.publications):
                self.direct.write(each.frame(self.direct.encoding))

    def failed(self) -> None:
        self.direct.abort()


def lose(wire: Wire) -> Wire:
    """Its browser is gone, of which its owner makes a fault."""

    def lost() -> None:
        wire.owner.losses += 1
        raise LookupError("on purpose")

    wire.owner.lost = lost  # type: ignore[method-assign]
    wire.browser.close()
    return wire


@pytest.mark.parametrize("directly", [False, True])
def test_a_member_that_fails_is_no_harm_to_others(
    hub: Hub, caplog: pytest.LogCaptureFixture, make_wire: Callable[..., Wire], directly: bool
) -> None:
    failing = Direct(hub, lose(make_wire())) if directly else Failing()
    listeners, wires = [Listener() for _ in range(10)], [make_wire() for _ in range(10)]
    for member in [*listeners, failing]:
        hub.join(member, [b"a"])
    for wire in wires:
        Direct(hub, wire)
    list(hub.deliver(publications((b"a", b"hi"))))
    assert [each.deliveries for each in listeners] == [[[(b"a", b"hi")]]] * 10
    assert [each.frames() for each in wires] == [[(1, b"hi")]] * 10
    assert caplog.messages == ["a delivery failed; the others go on"]
    assert "on purpose" in caplog.text
    assert failing.direct.closed if directly else failing.gone == 1


@pytest.mark.parametrize("others", [0, 1])
def test_own_messages_are_left_to_the_member(hub: Hub, make_wire: Callable[..., Wire], others: int) -> None:
    member = Direct(hub, make_wire())
    for _ in range(others):
        hub.join(Listener(), [b"a"])
    for payload in (b"1", b"2", b"3", b"4"):
        if payload in (b"2", b"3"):
            member.echo_filter.expect(b"a", payload)
        list(hub.deliver(publications((b"a", payload))))
    assert member.deliveries == [[(b"a", b"2")], [(b"a", b"3")]]
    assert member.wire.frames() == [(1, b"1"), (1, b"4")]


def test_browsers_with_the_same_compression_share_the_bytes(hub: Hub, make_wire: Callable[..., Wire]) -> None:
    text = b"x" * 1000
    agreements = [None, *[Deflater(bits, Options(), shared=True) for bits in (15, 9)]]
    wires = [make_wire() for _ in range(9)]
    for number, each in enumerate(wires):
        each.websocket.encoding = encoding_of(RAW, agreements[number % 3])
        Direct(hub, each)
    list(hub.deliver(publications((b"a", text))))
    expected = [serialize(Opcode.TEXT, text), *[each.frame(Opcode.TEXT, text) for each in agreements if each]]
    assert [each.hear() for each in wires] == 3 * expected


@pytest.mark.parametrize("others", [0, 1])
def test_what_waits_for_a_browser_is_not_overtaken(hub: Hub, narrow: Callable[..., Wire], others: int) -> None:
    """Where the kernel has not taken everything, the member decides what becomes of the next messages."""
    member = Direct(hub, narrow(outbox_size=1 << 20))
    for _ in range(others):
        hub.join(Listener(), [b"a"])
    for payload in (b"x" * 100_000, b"next"):
        list(hub.deliver(publications((b"a", payload))))
    assert member.deliveries == [[(b"a", b"next")]]
    assert member.wire.frames() == [(1, b"x" * 100_000), (1, b"next")]
    list(hub.deliver(publications((b"a", b"later"))))
    assert member.deliveries == [[(b"a", b"next")]]
    assert member.wire.frames() == [(1, b"later")]


def test_a_ring_that_does_not_keep_its_word_is_used_no_more(
    runtime: Runtime,
    make_ring: Callable[[int], Ring],
    make_wire: Callable[..., Wire],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who got the message has it once, who may still get it is closed; all that follows is sent in the plain way."""
    monkeypatch.setattr(hub_module, "_WORTH_A_RING", 1)
    monkeypatch.setattr(hub_module, "_LARGE", 2)
    ring = make_ring(PAUSE_EVERY)
    call = ring._syscall

    def two_less(number: int, descriptor: int, count: int, *rest: int) -> int:
        call(number, descriptor, count - 2, count - 2, *rest[1:])
        return count

    monkeypatch.setattr(ring, "_syscall", two_less)
    hub, wires = Hub(runtime, ring), [make_wire() for _ in range(10)]  # type: ignore[arg-type]
    for wire in wires:
        Direct(hub, wire)
    for message in (b"1", b"2", b"3"):
        list(hub.deliver(publications((b"a", message))))
    heard = sorted(wire.hear() for wire in wires)
    assert heard == [b""] * 2 + [b"\x81\x011\x81\x012\x81\x013"] * 8
    assert sorted(wire.is_over for wire in wires) == [False] * 8 + [True] * 2
    assert caplog.text.count("io_uring") == 1
