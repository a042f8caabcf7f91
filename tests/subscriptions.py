"""A subscription by itself, driven by threads."""

from __future__ import annotations

from typing import Any

import redis

from ws4redis.broker.connection import SubscriberConnection
from ws4redis.runtime.threads import ThreadRuntime


class Heard:
    """What a subscription tells."""

    def __init__(self, client: redis.Redis) -> None:
        self.runtime = ThreadRuntime()
        self.replies: list[Any] = []
        self.ends: list[Exception] = []
        self.subscription = SubscriberConnection(self.runtime, client)
        with self.runtime.lock:
            self.subscription.start(self.replies.extend, self.lost)

    def __enter__(self) -> Heard:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self.runtime.lock:
            self.subscription.close()

    def lost(self, error: Exception) -> None:
        self.ends.append(error)
        self.subscription.close()

    def send(self, *command: str | bytes) -> None:
        with self.runtime.lock:
            self.subscription.send(command)
