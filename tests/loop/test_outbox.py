from __future__ import annotations

import random

import pytest

from ws4redis.runtime.outbox import Outbox, OutboxFull


class Kernel:
    """Takes so many bytes at each call, then no more."""

    def __init__(self, *portions: int) -> None:
        self.portions = list(portions)
        self.got = b""

    def send(self, data: memoryview) -> int:
        if not self.portions:
            raise BlockingIOError
        count = min(self.portions.pop(0), len(data))
        self.got += data[:count]
        return count


def filled(limit: int, *chunks: bytes, sent: int = 0) -> Outbox:
    outbox = Outbox(limit)
    for number, chunk in enumerate(chunks):
        outbox.put(chunk, 0 if number else sent)
    return outbox


def test_empty() -> None:
    outbox = Outbox(10)
    outbox.flush(Kernel().send)
    assert len(outbox) == 0
    assert not outbox


# chunks, bytes of the first that are gone, what the kernel takes at each call, what arrives, what is left
FLUSHES = [
    ([b"abc"], 0, [9], b"abc", 0),
    ([b"abc"], 1, [9], b"bc", 0),
    ([b"abc"], 0, [1, 1, 1], b"abc", 0),
    ([b"abc", b"def"], 0, [9, 9], b"abcdef", 0),
    ([b"abc", b"def"], 2, [9, 1], b"cd", 2),
    ([b"abc", b"def"], 0, [], b"", 6),
    ([b"abc", b"", b"def"], 0, [9, 9, 9], b"abcdef", 0),
]


@pytest.mark.parametrize(("chunks", "sent", "portions", "arrives", "left"), FLUSHES)
def test_flush(chunks: list[bytes], sent: int, portions: list[int], arrives: bytes, left: int) -> None:
    outbox, kernel = filled(100, *chunks, sent=sent), Kernel(*portions)
    outbox.flush(kernel.send)
    assert (kernel.got, len(outbox)) == (arrives, left)


def test_a_broken_wire_is_told() -> None:
    def send(data: memoryview) -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        filled(10, b"abc").flush(send)


# limit, chunks, bytes of the first that are gone, the one more, whether it fits
LIMITS = [
    (3, [], 0, b"abc", True),
    (3, [], 0, b"abcd", False),
    (6, [b"abc"], 0, b"def", True),
    (5, [b"abc"], 0, b"def", False),
    (5, [b"abc"], 1, b"def", True),
]


@pytest.mark.parametrize(("limit", "chunks", "sent", "more", "fits"), LIMITS)
def test_limit(limit: int, chunks: list[bytes], sent: int, more: bytes, fits: bool) -> None:
    outbox, kernel = filled(limit, *chunks, sent=sent), Kernel(9, 9)
    size = len(outbox)
    if fits:
        outbox.put(more)
        assert len(outbox) == size + len(more)
    else:
        with pytest.raises(OutboxFull):
            outbox.put(more)
        assert len(outbox) == size, "what was waiting still is"
    outbox.flush(kernel.send)
    assert kernel.got == b"".join(chunks)[sent:] + (more if fits else b"")


def test_what_the_kernel_took_in_part_is_measured_without_it() -> None:
    outbox = Outbox(3)
    outbox.put(b"abcdef", sent=3)
    assert len(outbox) == 3


# chunks, bytes of the first that are gone, what arrives after the cut
CUTS = [
    ([], 0, b"bye"),
    ([b"abc"], 1, b"bcbye"),
    ([b"abc", b"def", b"ghi"], 2, b"cbye"),
]


@pytest.mark.parametrize(("chunks", "sent", "arrives"), CUTS)
def test_last_words_follow_what_is_begun(chunks: list[bytes], sent: int, arrives: bytes) -> None:
    outbox, kernel = filled(9, *chunks, sent=sent), Kernel(9, 9, 9)
    outbox.cut(b"bye")
    assert len(outbox) == len(arrives)
    outbox.flush(kernel.send)
    assert (kernel.got, len(outbox)) == (arrives, 0)


def test_last_words_do_not_wait_for_what_is_not_begun() -> None:
    outbox, kernel = filled(9, b"abc", b"def"), Kernel(9, 9, 9)
    outbox.cut(b"bye")
    outbox.flush(kernel.send)
    assert kernel.got == b"bye", "nothing of the first chunk was sent, so it can be dropped, too"


def test_last_words_pass_the_limit() -> None:
    outbox = filled(3, b"abc")
    outbox.cut(b"bye")
    assert len(outbox) >= 3


def test_any_portions_arrive_complete_and_in_order() -> None:
    chance = random.Random(1)
    for _ in range(200):
        chunks = [bytes([number]) * chance.randrange(1, 40) for number in range(chance.randrange(1, 9))]
        first = chance.randrange(len(chunks[0]))
        outbox, whole = filled(1000, *chunks, sent=first), b"".join(chunks)[first:]
        got = b""
        while outbox:
            kernel = Kernel(*[chance.randrange(1, 30) for _ in range(chance.randrange(3))])
            outbox.flush(kernel.send)
            got += kernel.got
            assert len(outbox) == len(whole) - len(got)
        assert got == whole
