"""Many sends in one call, where the kernel of this machine allows that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from ws4redis.runtime.io_uring import Ring


def allows_io_uring() -> bool:
    try:
        Ring(1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def make_ring() -> Iterator[Callable[[int], Ring]]:
    if not allows_io_uring():
        pytest.skip("the kernel has no io_uring, or does not allow it")
    with ExitStack() as rings:
        yield lambda size: rings.enter_context(closing(Ring(size)))
