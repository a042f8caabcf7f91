"""The floor: the least that sending costs. One process, plain sockets, ``send()`` in a loop, no Redis and no Django.

It opens websockets for whoever asks, without looking at the request. A connection that says ``SEND messages rate``
instead makes it send; rate 0 is as fast as it goes. Usage: ``floor_program PORT``.
"""

from __future__ import annotations

import select
import socket
import sys

from fanout import wire
from fanout.pace import paced

_ANSWER = wire.ACCEPTED + b"Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade" + wire.HANDSHAKE_END
_ORDER = b"SEND "


class Floor:
    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._sockets: dict[int, socket.socket] = {}
        self._parked: dict[int, socket.socket] = {}

    def run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._read(descriptor)

    def _accept(self) -> None:
        try:
            connected, _ = self._listener.accept()
        except BlockingIOError:
            return
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[connected.fileno()] = connected
        self._poll.register(connected, select.EPOLLIN)

    def _read(self, descriptor: int) -> None:
        try:
            data = self._sockets[descriptor].recv(1 << 14)
        except OSError:
            data = b""
        if data.endswith(wire.HANDSHAKE_END):
            self._parked[descriptor] = self._sockets[descriptor]
            self._parked[descriptor].send(_ANSWER)
        elif data.startswith(_ORDER):
            messages, rate = data.removeprefix(_ORDER).split()
            self._send(int(messages), float(rate))
        else:
            self._parked.pop(descriptor, None)
            self._sockets.pop(descriptor).close()

    def _send(self, messages: int, rate: float) -> None:
        sockets = list(self._parked.values())
        for number in paced(messages, rate):
            frame = wire.frame(wire.message(number))
            for each in sockets:
                try:
                    sent = each.send(frame)
                except BlockingIOError:
                    sent = 0
                if sent < len(frame):
                    _send_rest(each, frame[sent:])


def _send_rest(connected: socket.socket, data: bytes) -> None:
    writable = select.poll()
    writable.register(connected, select.POLLOUT)
    while data:
        writable.poll()
        data = data[connected.send(data) :]


if __name__ == "__main__":
    Floor(int(sys.argv[1])).run()
