"""A site whose only websocket says back what it hears, behind the door of whichever server imports this."""

from __future__ import annotations

from typing import Any

from tests.site.echo import Echo, Server


class EchoServer(Server):
    def _make_endpoint(self, request: Any) -> Echo:
        return Echo()


application = EchoServer()
