from __future__ import annotations

import pytest

from ws4redis.broker.probe import Probe


class Redis:
    """Stands for the subscription: sings back while it is well."""

    def __init__(self, probe: Probe) -> None:
        self.probe, self.well, self.reconnects = probe, True, 0
        self.ticks = self.heard = 0
        self.pauses = False

    @property
    def silent(self) -> int:
        return self.ticks - self.heard

    def step(self) -> None:
        """Something else is received, or a fan-out goes on."""
        self.heard = self.ticks

    def publish(self, channel: bytes, payload: bytes) -> None:
        assert channel == self.probe.channel
        if self.well:
            self.step()
            self.probe.deliver([])

    def reconnect(self) -> None:
        self.reconnects += 1


#: what happens in each second (well, not, only something else) -> healthy at the end, how often it was given up
SECONDS: list[tuple[str, bool, int]] = [
    ("", False, 0),
    ("w", True, 0),
    ("-", False, 0),
    ("w--", True, 0),
    ("w---", False, 0),
    ("w---w", True, 0),
    ("w-----", False, 0),
    ("w------", False, 1),
    ("w------w", True, 1),
    ("w------------", False, 2),
    ("------", False, 1),
    # it waits in line: whatever is received is a sign of life
    ("w" + 20 * "s", True, 0),
    ("wssssss-", True, 0),
    ("wssssss--", False, 0),
    ("wssssss------", False, 1),
    ("w--s--s--s", True, 0),
    ("s", False, 0),
    (20 * "s", False, 0),
]


@pytest.mark.parametrize(("seconds", "healthy", "reconnects"), SECONDS)
def test_probe(seconds: str, healthy: bool, reconnects: int) -> None:
    probe = Probe("prefix:")
    redis = Redis(probe)
    for second in seconds:
        redis.well = second == "w"
        if second == "s":
            redis.step()
        redis.ticks += 1
        probe.tick(redis)  # type: ignore[arg-type]
    assert (probe.healthy, redis.reconnects) == (healthy, reconnects)


def test_each_process_has_its_own() -> None:
    assert Probe("").channel != Probe("").channel
    assert Probe("demo:").channel.startswith(b"demo:ws4redis:canary:")
