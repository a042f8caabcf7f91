"""RFC 6455, the server's side, without I/O: bytes in, messages and bytes out.

errors      what is wrong with a handshake (an HTTP status) or with a frame (a close code)
speedups    masking, in C where wsaccel is installed
frames      one frame: opcodes, close codes, parse and serialize
deflate     permessage-deflate (RFC 7692)
server      ServerProtocol: one websocket; answers pings and closes by itself
handshake   request headers -> the 101 response, or an error

A module imports only from those above it.
"""

from __future__ import annotations

from ws4redis.protocol.errors import InvalidHandshake, UpgradeRequired
from ws4redis.protocol.frames import CloseCode, Opcode, message_frame, serialize
from ws4redis.protocol.handshake import Handshake, accept_key, accept_response, read_handshake, select_subprotocol
from ws4redis.protocol.server import ServerProtocol, State

__all__ = [
    "CloseCode",
    "Handshake",
    "InvalidHandshake",
    "Opcode",
    "ServerProtocol",
    "State",
    "UpgradeRequired",
    "accept_key",
    "accept_response",
    "message_frame",
    "read_handshake",
    "select_subprotocol",
    "serialize",
]
