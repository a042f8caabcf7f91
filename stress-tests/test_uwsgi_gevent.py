"""1,000 greenlets, each with a websocket, and one message for all of them.

The server is started first, in another shell; README.md says how. Then either of

    python test_uwsgi_gevent.py
    pytest test_uwsgi_gevent.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import gevent.socket
import one_message
import websocket
from gevent.pool import Pool

if TYPE_CHECKING:
    import pytest


def each(function: Callable[..., object], items: Iterable[object], at_once: int) -> Iterator[object]:
    return Pool(at_once).imap_unordered(function, items)


def connect(url: str, timeout: float) -> websocket.WebSocket:
    # a socket of gevent's, so that nothing else need be patched
    address = urlsplit(url)
    wire = gevent.socket.create_connection((address.hostname, address.port or 80), timeout)
    return websocket.create_connection(url, timeout, socket=wire)


GREENLETS = one_message.Kind("greenlets", each, connect)


def test_uwsgi_gevent(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(one_message.run(GREENLETS, one_message.from_environment()))


if __name__ == "__main__":
    sys.exit(one_message.main(GREENLETS))
