"""Whether a peer has closed its end of a connection, known without reading."""

from __future__ import annotations

import select
from typing import Any

#: some systems tell it to readers only
_EVENTS = getattr(select, "POLLRDHUP", 0)


def has_hung_up(poll: Any, descriptor: int) -> bool:
    """Whether the peer has closed its end, or the connection is broken; does not wait.

    Args:
        poll: the system's ``select.poll``, which gevent replaces by one that switches greenlets.
    """
    poller = poll()
    poller.register(descriptor, _EVENTS)
    return bool(poller.poll(0))
