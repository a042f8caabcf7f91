from __future__ import annotations

import errno
import platform
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from ws4redis.runtime.io_uring import Ring

SIZE = 8


@pytest.fixture
def ring(make_ring: Callable[[int], Ring]) -> Ring:
    return make_ring(SIZE)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with ExitStack() as sockets:
        ends = [socket.socketpair() for _ in range(SIZE)]
        for each in [end for pair in ends for end in pair]:
            sockets.enter_context(each).setblocking(False)
        yield ends


def descriptors(pairs: list[tuple[socket.socket, socket.socket]]) -> list[int]:
    return [ours.fileno() for ours, _ in pairs]


def heard(pairs: list[tuple[socket.socket, socket.socket]]) -> list[bytes | None]:
    """None where there is nothing."""
    data: list[bytes | None] = []
    for _, theirs in pairs:
        try:
            data.append(theirs.recv(1 << 20))
        except BlockingIOError:
            data.append(None)
    return data


@pytest.mark.parametrize("count", [0, 1, 3, SIZE - 1, SIZE])
def test_all_get_it_each_time(ring: Ring, pairs: list, count: int) -> None:
    for number in range(3 * SIZE):
        data = b"%d" % number * (number + 1)
        assert not ring.send_to_all(descriptors(pairs[:count]), data)
        assert heard(pairs) == [data] * count + [None] * (SIZE - count)


def test_an_older_kernel_does_not_know_all_flags(
    make_ring: Callable[[int], Ring], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 6.1, whose answer is EINVAL."""
    tried: list[int] = []

    def set_up(ring: Ring, flags: int, set_up: Callable[..., object] = Ring._set_up) -> object:
        tried.append(flags)
        return set_up(ring, flags if len(tried) > 1 else 1 << 31)

    monkeypatch.setattr(Ring, "_set_up", set_up)
    ring = make_ring(SIZE)
    assert len(tried) == 2
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not ring.send_to_all([ours.fileno()], b"hi")
        assert theirs.recv(10) == b"hi"


@pytest.mark.parametrize("turn", range(SIZE))
def test_it_tells_who_has_not_got_all(ring: Ring, pairs: list, turn: int) -> None:
    """Wherever in the ring they are."""
    ring.send_to_all(descriptors(pairs[:turn]), b"x")
    heard(pairs)
    gone, full, slow = 1, 4, 6
    pairs[gone][1].close()
    for place in full, slow:
        pairs[place][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    while not ring.send_to_all([pairs[full][0].fileno()], b"x" * 100):
        pass
    wanted = [*descriptors(pairs[:-1]), -1]
    results = dict(ring.send_to_all(wanted, b"y" * 100_000))
    assert 0 < results.pop(slow) < 100_000
    assert results == {gone: -errno.EPIPE, full: -errno.EAGAIN, SIZE - 1: -errno.EBADF}
    others = [pair for place, pair in enumerate(pairs[:-1]) if place not in (gone, full, slow)]
    assert heard(others) == [b"y" * 100_000] * len(others)


@pytest.mark.parametrize("taken", [-1, 0, 3])
def test_what_the_kernel_does_not_take_would_have_to_wait(
    ring: Ring, pairs: list, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """Where memory is short; that is done here by asking for less."""
    call = ring._syscall

    def take_less(number: int, descriptor: int, count: int, *rest: int) -> int:
        return call(number, descriptor, taken, 0, *rest[1:]) if taken > 0 else taken

    with monkeypatch.context() as patched:
        patched.setattr(ring, "_syscall", take_less)
        failed = ring.send_to_all(descriptors(pairs), b"one")
    sent = max(0, taken)
    assert failed == [(place, -errno.EAGAIN) for place in range(sent, SIZE)]
    assert heard(pairs) == [b"one"] * sent + [None] * (SIZE - sent)
    assert not ring.send_to_all(descriptors(pairs), b"two")
    assert heard(pairs) == [b"two"] * SIZE
    assert ring.usable


# how many sends of SIZE the kernel does, how many it says that it has taken, of which the outcome is unknown
LIES = {
    "it does less": (SIZE - 3, SIZE, range(SIZE - 3, SIZE)),
    "it does nothing": (0, SIZE, range(SIZE)),
    "it does more": (SIZE, SIZE - 3, []),
    "it does all and says that it failed": (SIZE, -1, []),
}


@pytest.mark.parametrize(("done", "said", "unknown"), LIES.values(), ids=LIES)
def test_the_kernel_is_not_taken_at_its_word(
    ring: Ring, pairs: list, monkeypatch: pytest.MonkeyPatch, done: int, said: int, unknown: Sequence[int]
) -> None:
    """What has ended is what the completion queue says, whatever stood in it before."""
    call = ring._syscall

    def lie(number: int, descriptor: int, count: int, *rest: int) -> int:
        call(number, descriptor, done, done, *rest[1:])
        return said

    assert not ring.send_to_all(descriptors(pairs), b"one")
    assert heard(pairs) == [b"one"] * SIZE
    monkeypatch.setattr(ring, "_syscall", lie)
    assert ring.send_to_all(descriptors(pairs), b"two") == [(place, -errno.ECANCELED) for place in unknown]
    assert heard(pairs) == [b"two"] * done + [None] * (SIZE - done)
    assert not ring.usable


@pytest.mark.parametrize(
    ("module", "name", "value"), [(sys, "platform", "darwin"), (platform, "machine", lambda: "alpha")]
)
def test_where_the_calls_have_other_numbers(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, value: object
) -> None:
    monkeypatch.setattr(module, name, value)
    with pytest.raises(OSError, match="not implemented"):
        Ring(SIZE)


#: answers EPERM to io_uring_setup, as containers do: the struct sock_filter of "load the call's number; is it 425?"
FORBIDDEN = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0, "no_new_privs"
assert libc.prctl(22, 2, program) == 0, "seccomp"
"""

WITHOUT_CTYPES = "import sys; sys.modules['_ctypes'] = None"

OPEN = """
from ws4redis.runtime.gevent_runtime import GeventRuntime
print(GeventRuntime().open_ring(8))
"""


@pytest.mark.parametrize("obstacle", [FORBIDDEN, WITHOUT_CTYPES], ids=["forbidden", "without ctypes"])
def test_where_there_is_none(obstacle: str) -> None:
    answer = subprocess.run([sys.executable, "-c", obstacle + OPEN], capture_output=True, text=True)
    assert (answer.stdout, answer.stderr) == ("None\n", "")
