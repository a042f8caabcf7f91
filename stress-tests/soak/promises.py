"""What is held to be true, and the first that spoke against it."""

from __future__ import annotations

import time
from typing import Any

#: how much evidence is kept of each; the others are counted
_KEPT = 5


class Failed(Exception):
    """The soak cannot go on."""


class Promise:
    def __init__(self, text: str, begin: float) -> None:
        self.text = text
        self._begin = begin
        self.violations = 0
        self.evidence: list[str] = []
        #: how often it was looked at: what was never tried is not kept
        self.checks = 0

    def check(self, kept: bool, evidence: str) -> None:
        self.checks += 1
        if not kept:
            self.break_(evidence)

    def break_(self, evidence: str) -> None:
        self.violations += 1
        if len(self.evidence) < _KEPT:
            self.evidence.append(f"after {time.monotonic() - self._begin:.1f} s: {evidence}")

    def as_json(self) -> dict[str, Any]:
        return {
            "promise": self.text,
            "kept": not self.violations,
            "checks": self.checks,
            "violations": self.violations,
            "evidence": self.evidence,
        }


class Promises:
    def __init__(self) -> None:
        begin = time.monotonic()
        self.once = Promise("each message at most once for each websocket and channel", begin)
        self.order = Promise("in order", begin)
        self.none_missing = Promise("none missing while every loop was subscribed", begin)
        self.genuine = Promise("nothing that was not published, or is for others", begin)
        self.banned = Promise("nothing of a group that was published after a ban", begin)
        self.subscribed = Promise("no websocket is connected before Redis has subscribed it", begin)
        self.ends = Promise("no websocket ends without a reason", begin)
        self.refusals = Promise("no websocket is refused without a reason", begin)
        self.loud = Promise("Redis away is logged once by each process", begin)
        self.red = Promise("health is red while Redis is away", begin)
        self.back = Promise("after each fault all is well again", begin)
        self.log = Promise("nothing unexpected in the log", begin)
        self.memory = Promise("memory is back", begin)
        self.descriptors = Promise("descriptors are back", begin)

    def all(self) -> list[Promise]:
        return list(vars(self).values())
