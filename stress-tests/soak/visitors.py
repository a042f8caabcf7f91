"""The browsers: each visitor has one, and comes back when it ends."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
from collections.abc import Callable
from typing import cast

from fanout import wire

from soak.ledger import Account, Ledger, Membership
from soak.schedule import GROUPS_OF_A_ROOM, Leave, Stall, rooms
from soak.troubles import Troubles

#: small, as in a real network: else the kernel holds megabytes for a browser that stalls
_SEGMENT_BYTES = 1400
_RECEIVE_BYTES = 16 << 10

#: that connect at the same time
_AT_ONCE = 100
#: until a handshake counts as not answered
_HANDSHAKE_SECONDS = 20.0
_GOODBYE_SECONDS = 15.0
#: after which a browser that had stalled has read all
_CATCH_UP_SECONDS = 5.0

#: until a signal to Redis has been obeyed
_REALLY_AWAY_SECONDS = 0.5

_GOODBYE = wire.from_browser(b"\x03\xe8", wire.CLOSE)
_NORMAL, _RESTART, _TOO_SLOW = 1000, 1012, 1013


def channel_name(audience: str, number: int, sockets: int) -> str:
    room = f"room{number % rooms(sockets)}"
    return f"broadcast:{room}" if audience == "broadcast" else f"{audience}:{audience}{number}:{room}"


class Browser(asyncio.Protocol):
    """One websocket."""

    transport: asyncio.Transport

    def __init__(self, visitor: Visitor, ledger: Ledger) -> None:
        self._visitor = visitor
        self._ledger = ledger
        self._rest = b""
        self._accounts: dict[str, Account] = {}
        self.connected = False
        #: connected, or refused
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()
        #: of the server's close frame
        self.code: int | None = None
        #: what was said in place of a 101
        self.refusal = ""
        self.leaving = self.stalled = False
        self.stalled_at = math.inf
        #: what had reached all loops when it said goodbye; None where it has not
        self.confirmed: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        port = transport.get_extra_info("peername")[1]
        self.transport.write(wire.upgrade_request(f"127.0.0.1:{port}", self._visitor.path))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self.connected:
            head, end, data = data.partition(wire.HANDSHAKE_END)
            if not end or not head.startswith(wire.ACCEPTED):
                self._rest = head + end + data
                self.refusal = head.partition(b"\r\n")[0].decode("latin-1")
                return
            self.connected = True
            self._accounts = self._ledger.open_account(self._visitor.channels, self._visitor.membership)
            self.answered.set()
        start = 0
        while (parsed := wire.parse(data, start)) is not None:
            opcode, payload, start = parsed
            self._take(opcode, payload)
        self._rest = data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.answered.set()
        self.ended.set()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == wire.TEXT:
            self._receive(payload)
        elif opcode == wire.PING:
            self.transport.write(wire.from_browser(payload, wire.PONG))
        elif opcode == wire.CLOSE:
            self.code = int.from_bytes(payload[:2], "big")
            if not self.leaving:
                self.transport.write(wire.from_browser(payload[:2], wire.CLOSE))

    def _receive(self, payload: bytes) -> None:
        self._ledger.counts["deliveries"] += 1
        name, _, rest = payload.partition(b" ")
        number, _, padding = rest.partition(b" ")
        account = self._accounts.get(name.decode("latin-1"))
        if account is None or not number.isdigit() or padding.strip(b"."):
            self._ledger.promises.genuine.break_(f"{self._visitor.name} got {payload[:80]!r}")
        else:
            account.receive(int(number), self._visitor.name)

    def give_up(self) -> None:
        self.refusal = f"no answer within {_HANDSHAKE_SECONDS:.0f} s"
        self.transport.abort()

    def leave(self, politely: bool) -> None:
        self.leaving = True
        if politely and not self.stalled:
            self.confirmed = self._ledger.confirmed
            self.transport.write(_GOODBYE)
            asyncio.get_running_loop().call_later(_GOODBYE_SECONDS, self.transport.abort)
        else:
            self.transport.abort()

    def stall(self, seconds: float) -> None:
        if not self.stalled and not self.leaving:
            self.stalled = True
            self.stalled_at = time.monotonic()
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        self.transport.resume_reading()
        asyncio.get_running_loop().call_later(_CATCH_UP_SECONDS, setattr, self, "stalled", False)

    def close_accounts(self, until: float) -> None:
        """What Redis took until then must have come."""
        for account in self._accounts.values():
            account.end(until, self._visitor.name)


class Visitor:
    def __init__(self, number: int, crowd: Crowd) -> None:
        self.name = f"visitor {number}"
        self._number = number
        self._crowd = crowd
        room, group = number % rooms(crowd.sockets), number % (rooms(crowd.sockets) * GROUPS_OF_A_ROOM)
        flags = "subscribe-broadcast&subscribe-group&subscribe-user"
        self._path = f"/ws/room{room}?{flags}&user=user{number}&group="
        self.group = group
        numbers = {"broadcast": room, "user": number}
        self.channels = [channel_name(audience, each, crowd.sockets) for audience, each in numbers.items()]
        group_channel = crowd.ledger.channel(channel_name("group", group, crowd.sockets))
        self.membership = Membership(crowd.ledger, group_channel, f"user{number}")
        self._random = random.Random(number)
        self._wanted = asyncio.Event()
        self.browser: Browser | None = None
        #: one ban at a time
        self.banning = asyncio.Lock()

    @property
    def path(self) -> str:
        """The group is that of now, as in a site's database."""
        return self._path + (self.membership.group_name if self.membership.member else "")

    def come(self) -> None:
        self._wanted.set()

    def leave(self, politely: bool) -> None:
        self._wanted.clear()
        if self.browser is not None and not self.browser.leaving:
            self.browser.leave(politely)

    async def live(self) -> None:
        while True:
            await self._wanted.wait()
            browser, asked, changes = Browser(self, self._crowd.ledger), time.monotonic(), len(self.membership.changes)
            await self._crowd.connect(browser, self.name)
            if browser.connected:
                if len(self.membership.changes) > changes:
                    self._crowd.look_at_late(browser, asked)
                self._crowd.ledger.counts["connects"] += 1
                self.browser = browser
                self._crowd.greet(self._number)
                await browser.ended.wait()
                self.browser = None
                self._crowd.judge_end(browser, self.name)
            else:
                self._crowd.judge_refusal(browser, self.name)
            await asyncio.sleep(self._random.uniform(0.1, 1.5))


class Crowd:
    """All visitors.

    Args:
        greet: publishes something for a visitor who has just connected.
    """

    def __init__(
        self, ledger: Ledger, troubles: Troubles, port: int, sockets: int, greet: Callable[[int], object]
    ) -> None:
        self.ledger = ledger
        self.sockets = sockets
        self.greet = greet
        self._troubles = troubles
        self._port = port
        self._door = asyncio.Semaphore(_AT_ONCE)
        self.visitors = [Visitor(number, self) for number in range(sockets)]

    @property
    def browsers(self) -> list[Browser]:
        """That are connected."""
        return [each.browser for each in self.visitors if each.browser is not None]

    @property
    def staying(self) -> int:
        """Browsers that neither leave nor stall."""
        return sum(not (each.leaving or each.stalled) for each in self.browsers)

    def come(self) -> None:
        for each in self.visitors:
            each.come()

    async def leave(self, leave: Leave) -> None:
        loop = asyncio.get_running_loop()
        for number in leave.visitors:
            self.visitors[number].leave(leave.politely)
            loop.call_later(leave.away, self.visitors[number].come)

    async def stall(self, stall: Stall) -> None:
        for number in stall.visitors:
            browser = self.visitors[number].browser
            if browser is not None:
                self.ledger.counts["stalls"] += 1
                browser.stall(stall.seconds)

    def look_at_late(self, browser: Browser, asked: float) -> None:
        """Its groups have changed since it asked. Where Redis lost that meanwhile, nobody could tell the server."""
        if self._troubles.redis.lasted(asked):
            self.ledger.counts["left, for Redis was away while the groups changed"] += 1
            browser.leave(politely=False)

    # for the visitors

    async def connect(self, browser: Browser, who: str) -> None:
        async with self._door:
            begin = time.monotonic()
            try:
                await self._open(browser)
            except OSError as error:
                browser.refusal = str(error)
                return
            # not by wait_for(), which may swallow that it is cancelled
            limit = asyncio.get_running_loop().call_later(_HANDSHAKE_SECONDS, browser.give_up)
            await browser.answered.wait()
            limit.cancel()
            if browser.connected:
                away_since = self._troubles.away_since
                without_redis = away_since is not None and begin > away_since + _REALLY_AWAY_SECONDS
                self.ledger.promises.subscribed.check(not without_redis, f"{who} is connected, and Redis is away")

    async def _open(self, browser: Browser) -> None:
        connecting = socket.socket()
        try:
            connecting.setblocking(False)
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connecting, ("127.0.0.1", self._port))
            await loop.create_connection(lambda: browser, sock=connecting)
        except BaseException:
            connecting.close()
            raise

    def judge_refusal(self, browser: Browser, who: str) -> None:
        said = browser.refusal or "the connection was closed"
        workers, redis = self._troubles.workers.lasts, self._troubles.redis.lasts
        excused = (workers or redis) if " 503 " in said else workers and not said.startswith("HTTP/")
        self.ledger.promises.refusals.check(excused, f"{who} was refused: {said}")
        self.ledger.counts[f"refused: {said}"] += 1

    def judge_end(self, browser: Browser, who: str) -> None:
        ledger, troubles, code = self.ledger, self._troubles, browser.code
        told = f"closed with {code}" if code else "closed without a word"
        if browser.leaving and browser.confirmed is None:
            ledger.counts["left without a word"] += 1
        elif browser.confirmed is not None and code == _NORMAL:
            ledger.counts["left politely"] += 1
            browser.close_accounts(browser.confirmed)
        elif browser.stalled and code in (_TOO_SLOW, None):
            ledger.counts[f"{told} after a stall"] += 1
        else:
            ledger.counts[told] += 1
            # one that stalls reads later why it was closed
            since = browser.stalled_at if browser.stalled else time.monotonic()
            excused = troubles.workers.lasted(since) and code in (_RESTART, None)
            ledger.promises.ends.check(excused, f"{who} was {told}")
            if not browser.stalled:
                browser.close_accounts(troubles.confirmed)
