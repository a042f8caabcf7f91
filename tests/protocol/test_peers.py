"""The other end is somebody else's: websockets and wsproto as clients, in memory."""

import pytest
import wsproto
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri
from wsproto import events

from ws4redis.protocol import (
    ServerProtocol,
    State,
    accept_response,
    message_frame,
    read_handshake,
    select_subprotocol,
)


class WebsocketsClient:
    """The client of the websockets library, without I/O."""

    def __init__(self, subprotocols):
        uri = parse_uri("ws://testserver/ws/foobar")
        self.protocol = ClientProtocol(uri, subprotocols=subprotocols or None, max_size=None)
        self.protocol.send_request(self.protocol.connect())
        self.messages, self.pongs = [], []

    def data_to_send(self):
        return b"".join(self.protocol.data_to_send())

    def receive(self, data):
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self._handle(event)

    def _handle(self, event):
        if event.opcode is Opcode.TEXT:
            self.messages.append(bytes(event.data).decode())
        elif event.opcode is Opcode.BINARY:
            self.messages.append(bytes(event.data))
        elif event.opcode is Opcode.PONG:
            self.pongs.append(bytes(event.data))

    @property
    def is_open(self):
        return self.protocol.state is OPEN and self.protocol.handshake_exc is None

    @property
    def subprotocol(self):
        return self.protocol.subprotocol

    @property
    def close(self):
        frame = self.protocol.close_rcvd
        return frame.code, frame.reason

    def send(self, *fragments):
        is_text = isinstance(fragments[0], str)
        first, *others = [part.encode() for part in fragments] if is_text else fragments
        begin = self.protocol.send_text if is_text else self.protocol.send_binary
        begin(first, fin=not others)
        for index, part in enumerate(others, 1):
            self.protocol.send_continuation(part, fin=index == len(others))

    def send_ping(self, payload):
        self.protocol.send_ping(payload)

    def send_close(self, code, reason):
        self.protocol.send_close(code, reason)


class WsprotoClient:
    """The client of wsproto."""

    def __init__(self, subprotocols):
        self.connection = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.outgoing = self.connection.send(
            events.Request(host="testserver", target="/ws/foobar", subprotocols=subprotocols)
        )
        self.is_open, self.subprotocol, self.close = False, None, None
        self.messages, self.pongs, self.parts = [], [], []

    def data_to_send(self):
        data, self.outgoing = self.outgoing, b""
        return data

    def receive(self, data):
        self.connection.receive_data(data)
        for event in self.connection.events():
            self._handle(event)

    def _handle(self, event):
        if isinstance(event, events.AcceptConnection):
            self.is_open, self.subprotocol = True, event.subprotocol
        elif isinstance(event, events.Message):
            self._handle_part(event)
        elif isinstance(event, events.Ping):
            self.outgoing += self.connection.send(event.response())
        elif isinstance(event, events.Pong):
            self.pongs.append(bytes(event.payload))
        elif isinstance(event, events.CloseConnection):
            self.close = event.code, event.reason or ""
            if self.connection.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                self.outgoing += self.connection.send(event.response())

    def _handle_part(self, event):
        self.parts.append(event.data)
        if event.message_finished:
            empty = "" if isinstance(event, events.TextMessage) else b""
            self.messages.append(empty.join(self.parts))
            self.parts = []

    def send(self, *fragments):
        kind = events.TextMessage if isinstance(fragments[0], str) else events.BytesMessage
        for index, part in enumerate(fragments, 1):
            self.outgoing += self.connection.send(kind(data=part, message_finished=index == len(fragments)))

    def send_ping(self, payload):
        self.outgoing += self.connection.send(events.Ping(payload=payload))

    def send_close(self, code, reason):
        self.outgoing += self.connection.send(events.CloseConnection(code=code, reason=reason))


class Wire:
    """A client and our server, already shaken hands."""

    def __init__(self, client):
        self.client = client
        self.server = ServerProtocol()
        self.received = []

    def write(self, data):
        self.client.receive(data)

    def flush(self):
        """Carry bytes to and fro until both have nothing left to say."""
        while True:
            to_server, to_client = self.client.data_to_send(), self.server.data_to_send()
            if not to_server and not to_client:
                return
            self.received += self.server.receive_data(to_server)
            if to_client:
                self.client.receive(to_client)


def parse_request(data):
    request_line, *lines = data.decode().rstrip("\r\n").split("\r\n")
    method, _, http_version = request_line.split(" ")
    headers = {}
    for line in lines:
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    return method, http_version, headers


def connect(client, preference=None):
    handshake = read_handshake(*parse_request(client.data_to_send()))
    subprotocol = select_subprotocol(handshake.subprotocols, preference)
    client.receive(accept_response(handshake.key, subprotocol))
    return Wire(client)


@pytest.fixture(params=[WebsocketsClient, WsprotoClient])
def new_client(request):
    return request.param


@pytest.fixture
def wire(new_client):
    return connect(new_client([]))


def test_handshake(wire):
    assert wire.client.is_open
    assert wire.client.subprotocol is None


@pytest.mark.parametrize(
    ("offered", "preference", "chosen"),
    [
        (["chat"], None, "chat"),
        (["chat", "superchat"], None, None),
        (["chat", "superchat"], ["superchat"], "superchat"),
        (["chat", "superchat"], lambda offered: offered[0], "chat"),
    ],
)
def test_subprotocol(new_client, offered, preference, chosen):
    client = new_client(offered)

    connect(client, preference)

    assert client.is_open
    assert client.subprotocol == chosen


MESSAGES = [
    "Hello",
    "",
    "κόσμε \U0001f600",
    "x" * 125,
    "x" * 126,
    "x" * 65535,
    "x" * 65536,
    "é" * (1 << 19),
    b"Hello",
    b"",
    bytes(range(256)),
    bytes(1 << 20),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: f"{type(message).__name__}-{len(message)}")
def test_message_there_and_back(wire, message):
    wire.client.send(message)
    wire.flush()
    assert wire.received == [message]

    wire.write(message_frame(wire.received[0]))
    assert wire.client.messages == [message]


@pytest.mark.contract("asks delivery: uwsgi #1350, #1160, #1853: fragments are taken for messages")
@pytest.mark.parametrize("fragments", [("a", "b"), ("κ", "", "όσμε"), ("", "", ""), (b"\xce", b"\xba"), (b"", b"x")])
def test_fragments(wire, fragments):
    wire.client.send(*fragments)
    wire.flush()

    assert wire.received == [type(fragments[0])().join(fragments)]


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\xff" * 125])
def test_ping_of_the_client(wire, payload):
    wire.client.send_ping(payload)
    wire.flush()

    assert wire.client.pongs == [payload]


def test_ping_of_the_server(wire):
    wire.server.ping(b"still there?")
    wire.flush()

    assert wire.server.state is State.OPEN
    assert wire.received == []


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "page goes"), (4000, "größer")])
def test_close_of_the_client(wire, code, reason):
    wire.client.send("last words")
    wire.client.send_close(code, reason)
    wire.flush()

    assert wire.received == ["last words"]
    assert wire.server.peer_closed
    assert (wire.server.state, wire.server.close_code, wire.server.close_reason) == (State.CLOSED, code, reason)
    assert wire.client.close == (code, reason)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1012, "the loop restarts"), (4999, "größer")])
def test_close_of_the_server(wire, code, reason):
    wire.server.close(code, reason)
    wire.flush()

    assert wire.server.peer_closed
    assert (wire.server.state, wire.server.close_code, wire.server.close_reason) == (State.CLOSED, code, reason)
    assert wire.client.close == (code, reason)


def test_close_of_both_at_once(wire):
    wire.client.send_close(1001, "page goes")
    wire.server.close(1012, "the loop restarts")
    wire.flush()

    assert wire.server.state is State.CLOSED
    assert wire.server.close_code == 1012


def test_failure_reaches_the_client(wire):
    wire.server.receive_data(b"\x81\x05Hello")
    wire.flush()

    assert wire.client.close == (1002, "client frame is not masked")
