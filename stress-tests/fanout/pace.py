"""So many at such a rate."""

from __future__ import annotations

import time
from collections.abc import Iterator


def paced(count: int, rate: float) -> Iterator[int]:
    """Numbers from 0, each at its time; rate 0 is as fast as it goes."""
    begin = time.monotonic()
    for number in range(count):
        if rate and (ahead := begin + number / rate - time.monotonic()) > 0:
            time.sleep(ahead)
        yield number
