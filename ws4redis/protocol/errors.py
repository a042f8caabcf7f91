"""Errors on the wire: before the upgrade an HTTP status, after it a close code."""

from __future__ import annotations

__all__ = ["InvalidHandshake", "ProtocolError", "UpgradeRequired"]


class InvalidHandshake(ValueError):
    """The request is no valid opening handshake (RFC 6455, section 4.2.1)."""

    status: int = 400
    headers: tuple[tuple[str, str], ...] = ()


class UpgradeRequired(InvalidHandshake):
    """The request asks for another version of the protocol (RFC 6455, section 4.4)."""

    status = 426
    # RFC 7231, section 6.5.15: a 426 must name the protocol in an Upgrade header.
    headers = (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"))


class ProtocolError(Exception):
    """The peer broke the protocol. Never leaves this package: ServerProtocol turns it into a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
