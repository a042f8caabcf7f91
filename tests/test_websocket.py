"""One wire, over a pair of sockets."""

from __future__ import annotations

import fcntl
import select
import socket
import sys
import threading
from collections.abc import Callable

import pytest

from tests.protocol.client import BINARY, CONTINUATION, PING, TEXT, close_frame, frame
from tests.wires import Loop, Owner, Wire, parsed
from ws4redis.exceptions import WebSocketError
from ws4redis.protocol.frames import Opcode, serialize
from ws4redis.runtime.sockets import configure_socket
from ws4redis.websocket import WebSocket, write_to_all

UNMASKED = b"\x81\x01a"


def close_payload(code: int, reason: bytes = b"") -> tuple[int, bytes]:
    return 0x8, code.to_bytes(2, "big") + reason


def text_frame(text: str) -> bytes:
    payload = text.encode()
    assert len(payload) < 126
    return bytes([0x81, len(payload)]) + payload


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        browser = socket.create_connection(listener.getsockname())
        return listener.accept()[0], browser


# what the browser says


# frames, the messages that are handed on
MESSAGES = [
    (frame(TEXT, b"hi"), ["hi"]),
    (frame(TEXT, b""), [""]),
    (frame(TEXT, "ü".encode()), ["ü"]),
    (frame(BINARY, b"\x00\xff"), [b"\x00\xff"]),
    (frame(TEXT, b"a") + frame(BINARY, b"b") + frame(TEXT, b"c"), ["a", b"b", "c"]),
    (frame(TEXT, b"a", fin=False) + frame(PING) + frame(CONTINUATION, b"b"), ["ab"]),
    (frame(TEXT, b"x" * 100_000, mask=bytes(4)), ["x" * 100_000]),
]


@pytest.mark.contract(
    "8.6 websocket: text and binary are told apart",
    "asks delivery: uwsgi #1241, #1716, flask-uwsgi-websocket #47, #48: of messages sent at once the first arrives",
)
@pytest.mark.parametrize(("data", "messages"), MESSAGES)
@pytest.mark.parametrize("portion", [1 << 16, 3])
def test_messages_are_handed_on(wire: Wire, data: bytes, messages: list[str | bytes], portion: int) -> None:
    if portion == 3 and len(data) > 1000:
        portion = 1000
    for start in range(0, len(data), portion):
        wire.say(data[start : start + portion])
    assert wire.owner.messages == messages
    assert wire.websocket.open


@pytest.mark.contract("8.6 websocket: pings are answered")
def test_pings_are_answered(wire: Wire) -> None:
    wire.say(frame(PING, b"one") + frame(TEXT, b"hi") + frame(PING, b"two"))
    assert wire.frames() == [(0xA, b"one"), (0xA, b"two")]


@pytest.mark.parametrize(
    ("last", "close"),
    [(close_frame(1000), (8, b"\x03\xe8")), (b"\xff\xff", (8, b"\x03\xeareserved bits are set"))],
    ids=["a close frame", "an error"],
)
def test_what_was_said_before_the_end_is_answered_before_it(wire: Wire, last: bytes, close: tuple[int, bytes]) -> None:
    wire.owner.busy = True
    wire.say(frame(TEXT, b"hi") + last)
    assert wire.frames() == [] and wire.websocket.open
    wire.websocket.send("hello")
    wire.owner.busy = False
    wire.websocket.resume()
    assert wire.frames() == [(1, b"hello"), close]
    wire.browser.close()
    wire.run()
    assert wire.websocket.closed and wire.owner.losses == 1


def test_what_is_said_to_a_paused_websocket_waits(wire: Wire) -> None:
    wire.websocket.pause()
    wire.websocket.pause()
    wire.say(frame(TEXT, b"one") + frame(TEXT, b"two"))
    assert wire.owner.messages == []
    wire.websocket.resume()
    wire.websocket.resume()
    wire.run()
    assert wire.owner.messages == ["one", "two"]


def test_nothing_to_write_is_no_sign_of_life(wire: Wire) -> None:
    """Of a batch with a browser's own messages nothing is left: its heartbeat is due as before."""
    wire.loop.ticks = 3
    wire.websocket.write(b"")
    assert wire.websocket.written == 0
    wire.websocket.write(b"\x81\x00")
    assert wire.websocket.written == 3


def test_nothing_is_read_before_the_start() -> None:
    server, browser = socket.socketpair()
    server.setblocking(False)
    loop, owner = Loop(), Owner()
    websocket = WebSocket(loop, server)
    browser.sendall(frame(TEXT, b"hi"))
    assert not loop.turn()
    websocket.start(owner)
    assert loop.turn()
    assert owner.messages == ["hi"]
    websocket.abort()
    browser.close()


def test_the_largest_message(make_wire: Callable[..., Wire]) -> None:
    wire = make_wire(max_message_size=10)
    wire.say(frame(TEXT, b"x" * 10))
    assert wire.websocket.open
    wire.say(frame(TEXT, b"x" * 11))
    assert wire.owner.messages == ["x" * 10]
    assert wire.frames()[0][1][:2] == (1009).to_bytes(2, "big")


# what is sent


# message, binary, opcode and payload
SENT = [
    ("hi", None, (1, b"hi")),
    ("", None, (1, b"")),
    ("ü", False, (1, "ü".encode())),
    ("ü", True, (2, "ü".encode())),
    (b"hi", None, (1, b"hi")),
    (b"\xff", None, (2, b"\xff")),
    (b"hi", True, (2, b"hi")),
    (b"hi", False, (1, b"hi")),
    (bytearray(b"hi"), None, (1, b"hi")),
]


@pytest.mark.contract("8.6 websocket: send(message, binary)")
@pytest.mark.parametrize(("message", "binary", "expected"), SENT)
def test_send(wire: Wire, message: str | bytes, binary: bool | None, expected: tuple[int, bytes]) -> None:
    wire.websocket.send(message, binary=binary)
    assert wire.frames() == [expected]


def test_what_the_kernel_does_not_take_arrives_complete_and_in_order(narrow: Callable[..., Wire]) -> None:
    wire = narrow(outbox_size=1 << 20)
    texts = [f"{number:05}" + "x" * (number % 100) for number in range(5000)]
    for text in texts:
        wire.websocket.write(text_frame(text))
    assert any(each.event == select.POLLOUT for each in wire.loop.watchers), "nothing had to wait: the test is none"
    wire.websocket.ping()
    wire.websocket.send("last")
    assert wire.frames() == [*[(1, text.encode()) for text in texts], (9, b""), (1, b"last")]
    assert [each.closed for each in wire.loop.watchers] == [False, True], "the outbox is empty: only the reader is left"
    wire.websocket.send("later")
    assert wire.frames() == [(1, b"later")]


def test_the_outbox_is_used_again_and_again(narrow: Callable[..., Wire]) -> None:
    wire = narrow(outbox_size=1 << 20)
    for number in range(5):
        text = str(number) * 300_000
        wire.websocket.send(text)
        assert wire.frames() == [(1, text.encode())]


# too slow


def stop_reading_until_closed(wire: Wire) -> list[tuple[int, bytes]]:
    """Write to a browser that reads nothing, until the websocket gives up."""
    written: list[tuple[int, bytes]] = []
    while wire.websocket.open:
        text = f"{len(written):05}" + "x" * 95
        wire.websocket.write(text_frame(text))
        written.append((1, text.encode()))
        assert len(written) < 100_000, "the outbox has no bound"
    return written


def test_a_full_outbox_closes_with_1013(narrow: Callable[..., Wire]) -> None:
    wire = narrow(outbox_size=5000)
    written = stop_reading_until_closed(wire)
    wire.websocket.write(text_frame("dropped"))
    *frames, last = wire.frames()
    assert last == close_payload(1013, b"too slow")
    assert frames == written[: len(frames)], "what was begun is completed, nothing is out of order"
    assert 0 < len(frames) < len(written)
    wire.say(close_frame(1013))
    wire.hear()
    assert wire.is_over


def test_a_message_larger_than_the_outbox_is_completed_before_1013(narrow: Callable[..., Wire]) -> None:
    """The kernel has taken its beginning, so the close frame cannot follow at once."""
    wire = narrow(outbox_size=5000)
    wire.websocket.send("x" * 200_000)
    assert not wire.websocket.open
    assert wire.frames() == [(1, b"x" * 200_000), close_payload(1013, b"too slow")]


def test_a_message_that_fits_into_the_kernel_needs_no_outbox(wire: Wire) -> None:
    wire.websocket.send("x" * 5000)
    assert wire.frames() == [(1, b"x" * 5000)]


def fill_outbox(wire: Wire, size: int) -> None:
    while (waiting := len(wire.websocket.outbox or ())) < size:
        wire.websocket.write(text_frame("x" * (min(100, max(size - waiting, 2)) - 2)))
    assert wire.websocket.open


@pytest.mark.parametrize("code", [1001, 1012])
def test_the_close_frame_finds_room_in_a_full_outbox(narrow: Callable[..., Wire], code: int) -> None:
    wire = narrow(outbox_size=5000)
    fill_outbox(wire, 4999)
    wire.websocket.close(code)
    frames = wire.frames()
    assert frames, "nothing arrived"
    assert frames[-1] == close_payload(code)
    wire.say(close_frame(code))
    wire.hear()
    assert wire.is_over


def test_the_answer_to_a_close_frame_finds_room_in_a_full_outbox(narrow: Callable[..., Wire]) -> None:
    wire = narrow(outbox_size=5000)
    fill_outbox(wire, 4999)
    wire.say(close_frame(1001))
    frames = wire.frames()
    assert frames[-1] == close_payload(1001)
    assert wire.at_end
    assert wire.is_over


def test_a_flood_of_pings_from_a_browser_that_reads_nothing_is_closed(narrow: Callable[..., Wire]) -> None:
    wire = narrow(outbox_size=5000)
    for _ in range(1000):
        if not wire.websocket.open:
            break
        wire.say(frame(PING, b"x" * 125))
    assert not wire.websocket.open
    *pongs, last = wire.frames()
    assert last == close_payload(1013, b"too slow")
    assert set(pongs) == {(0xA, b"x" * 125)}


def test_who_takes_nothing_is_given_up(narrow: Callable[..., Wire]) -> None:
    """Its memory is free at once: what is begun, and the close frame, are all that waits."""
    wire = narrow(outbox_size=1 << 20)
    first = text_frame("x" * 100) * 1000
    wire.websocket.write(first)
    while len(wire.websocket.outbox or b"") < 1 << 19:
        wire.websocket.write(first)
    assert wire.websocket.stalled == 0
    wire.loop.ticks += 30
    wire.run()
    assert wire.websocket.stalled == 30
    wire.websocket.close_slow()
    assert not wire.websocket.open and wire.owner.closings == 1
    assert len(wire.websocket.outbox or b"") < len(first) + 20
    assert wire.websocket.close_code == 1013
    wire.websocket.close_slow()
    *frames, last = wire.frames()
    assert last == close_payload(1013, b"too slow") and frames == [(1, b"x" * 100)] * 1000


def test_who_takes_a_little_is_not_stalled(narrow: Callable[..., Wire]) -> None:
    wire = narrow(outbox_size=1 << 20)
    wire.websocket.write(text_frame("x" * 100) * 5000)
    while wire.websocket.outbox:
        wire.loop.ticks += 29
        wire.browser.recv(1 << 14)
        wire.run()
        assert wire.websocket.stalled in (0, 29)
        if wire.websocket.stalled:  # that was not enough for the kernel to take more
            wire.browser.recv(1 << 14)
            wire.run()
            assert wire.websocket.stalled == 0
    assert wire.websocket.stalled == 0 and wire.websocket.open


#: bytes that the kernel has taken and not yet sent (linux/sockios.h)
SIOCOUTQNSD = 0x894B


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system has no TCP_NOTSENT_LOWAT")
@pytest.mark.parametrize("read_before", [0, 30 << 20], ids=["never", "no longer"])
def test_the_kernel_keeps_little_for_who_does_not_read(make_wire: Callable[..., Wire], read_before: int) -> None:
    """Of those who have read fast before, too, for which it makes room."""
    ends = tcp_pair()
    configure_socket(ends[0])
    wire = make_wire(ends)
    text = text_frame("x" * 100) * 10_000
    for _ in range(read_before // len(text)):
        wire.websocket.write(text)
        wire.hear()
    while len(wire.websocket.outbox or b"") < 2 << 20:
        wire.websocket.write(text)
        wire.run()
    unsent = int.from_bytes(fcntl.ioctl(wire.server, SIOCOUTQNSD, bytes(4)), sys.byteorder)
    assert unsent < 1 << 18, "what is on its way beside it is bounded by the room that the other end has announced"


# closing


# what the browser sends, what is answered, code
CLOSES = [
    (close_frame(1000), (0x8, (1000).to_bytes(2, "big")), 1000),
    (close_frame(1001, b"bye"), (0x8, (1001).to_bytes(2, "big") + b"bye"), 1001),
    (close_frame(4321), (0x8, (4321).to_bytes(2, "big")), 4321),
    (frame(0x8), (0x8, (1000).to_bytes(2, "big")), 1005),
]


@pytest.mark.parametrize(("said", "answer", "code"), CLOSES)
def test_the_browser_closes(wire: Wire, said: bytes, answer: tuple[int, bytes], code: int) -> None:
    wire.say(said)
    assert wire.frames() == [answer]
    assert wire.at_end, "the server closes the connection first"
    assert wire.is_over
    assert wire.websocket.close_code == code


@pytest.mark.contract("8.6 websocket: close(code, message)")
def test_the_server_closes(wire: Wire) -> None:
    wire.websocket.close(1001, "bye")
    assert not wire.websocket.open
    assert wire.frames() == [close_payload(1001, b"bye")]
    assert not wire.is_over, "the browser's close frame is awaited"
    wire.say(frame(TEXT, b"was on its way") + close_frame(1001, b"bye"))
    assert wire.owner.messages == []
    assert wire.hear() == b""
    assert wire.at_end
    assert wire.is_over
    assert (wire.websocket.close_code, wire.websocket.close_reason) == (1001, "bye")


def test_both_close_at_once(wire: Wire) -> None:
    wire.browser.sendall(close_frame(1000))
    wire.websocket.close(1001)
    assert wire.frames() == [close_payload(1001)]
    assert wire.is_over


def test_one_close_frame_is_sent(wire: Wire) -> None:
    wire.websocket.close(1001)
    wire.websocket.close(1000)
    wire.say(frame(PING))
    assert wire.frames() == [close_payload(1001)]


def test_what_waits_arrives_before_the_close_frame(narrow: Callable[..., Wire]) -> None:
    wire = narrow(outbox_size=1 << 20)
    wire.websocket.send("x" * 300_000)
    wire.websocket.close(1001)
    wire.websocket.write(text_frame("dropped"))
    assert wire.frames() == [(1, b"x" * 300_000), close_payload(1001)]
    wire.say(close_frame(1001))
    wire.hear()
    assert wire.is_over


def test_what_waits_arrives_before_the_answer_to_a_close_frame(narrow: Callable[..., Wire]) -> None:
    wire = narrow(outbox_size=1 << 20)
    wire.websocket.send("x" * 300_000)
    wire.say(close_frame(1000))
    assert not wire.is_over
    assert wire.frames() == [(1, b"x" * 300_000), close_payload(1000)]
    assert wire.at_end
    assert wire.is_over


@pytest.mark.parametrize("end", [close_frame(1000), UNMASKED], ids=["close frame", "protocol error"])
def test_messages_in_the_same_read_as_the_end_are_handed_on(wire: Wire, end: bytes) -> None:
    wire.say(frame(TEXT, b"one") + frame(BINARY, b"two") + end)
    assert wire.owner.messages == ["one", b"two"]
    assert wire.frames()[-1][0] == 0x8


@pytest.mark.parametrize("act", ["close", "abort"])
def test_the_owner_may_end_it_while_it_is_given_messages(wire: Wire, act: str) -> None:
    wire.owner.then = lambda: getattr(wire.websocket, act)()
    wire.say(frame(TEXT, b"one") + frame(PING) + close_frame(1000))
    assert wire.owner.messages == ["one"]
    wire.hear()
    assert wire.at_end
    assert wire.is_over


# what the browser sends, code of the close frame
ERRORS = [
    (UNMASKED, 1002),
    (b"\xf1" + frame(TEXT, b"a")[1:], 1002),
    (frame(TEXT, b"\xff"), 1007),
    (frame(CONTINUATION, b"a"), 1002),
    (frame(0x8, b"\x00"), 1002),
]


@pytest.mark.parametrize(("said", "code"), ERRORS)
def test_a_protocol_error_closes(wire: Wire, said: bytes, code: int) -> None:
    wire.say(said)
    assert not wire.websocket.open
    ((opcode, payload),) = wire.frames()
    assert (opcode, payload[:2]) == (0x8, code.to_bytes(2, "big"))
    assert wire.at_end, "nothing more is said"
    wire.browser.close()
    wire.run()
    assert wire.is_over


@pytest.mark.parametrize(("outbox", "expected"), [(0, 0), (300_000, 300_000)])
def test_the_close_frame_survives_a_browser_that_goes_on_sending(
    make_wire: Callable[..., Wire], outbox: int, expected: int
) -> None:
    """TCP would reset the connection, and drop what is on its way, if the server closed with bytes unread."""
    wire = make_wire(tcp_pair())
    wire.browser.settimeout(20)
    heard: list[bytes] = []

    def go_on_and_listen() -> None:
        for _ in range(100):
            wire.browser.sendall(UNMASKED * 10_000)
        while part := wire.browser.recv(1 << 16):
            heard.append(part)
        wire.browser.close()

    if outbox:
        wire.websocket.send("x" * outbox)
    browser = threading.Thread(target=go_on_and_listen)
    browser.start()
    while not wire.websocket.closed:
        assert wire.loop.turn(10), "nothing happens any more"
    browser.join()
    frames = parsed(b"".join(heard))
    assert sum(len(payload) for opcode, payload in frames if opcode == 1) == expected
    assert frames[-1][1][:2] == (1002).to_bytes(2, "big")
    assert wire.is_over


# the end of the wire


@pytest.mark.contract("12 closing: decided: a browser that just goes gets no close frame")
def test_the_browser_is_gone(wire: Wire) -> None:
    wire.say(frame(TEXT, b"hi") + frame(TEXT, b"half")[:5])
    wire.browser.close()
    wire.run()
    assert wire.owner.messages == ["hi"]
    assert wire.is_over
    assert wire.websocket.close_code == 1006


def test_the_browser_resets(make_wire: Callable[..., Wire]) -> None:
    wire = make_wire(tcp_pair())
    wire.browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    wire.browser.close()
    assert wire.loop.turn(10)
    assert wire.is_over


@pytest.mark.parametrize("act", ["write", "send", "ping", "close"])
def test_writing_to_a_browser_that_is_gone(wire: Wire, act: str) -> None:
    wire.browser.close()
    getattr(wire.websocket, act)(*{"write": [text_frame("hi")], "send": ["hi"]}.get(act, []))
    wire.run()
    assert wire.is_over


def test_all_get_what_is_written_to_all(make_wire: Callable[..., Wire], narrow: Callable[..., Wire]) -> None:
    text = "x" * 100_000
    fine, gone, closing, slow, last = make_wire(), make_wire(), make_wire(), narrow(outbox_size=1 << 20), make_wire()
    wires = [fine, gone, closing, slow, last]
    gone.browser.close()
    closing.websocket.close()
    for wire in wires:
        wire.loop.ticks = 5
    write_to_all([wire.websocket for wire in wires], serialize(Opcode.TEXT, text.encode()))
    assert gone.is_over
    assert slow.websocket.outbox, "nothing had to wait: the test is none"
    assert [wire.websocket.written for wire in (fine, closing, slow, last)] == [5, 0, 5, 5]
    assert [wire.frames() for wire in (fine, slow, last)] == [[(1, text.encode())]] * 3
    assert closing.frames() == [close_payload(1000)]


# what happens: the owner is told that it closes so many times, and that it is over so many
ENDINGS: dict[str, tuple[Callable[[Wire], object], int, int]] = {
    "nothing": (lambda wire: wire.say(frame(TEXT, b"hi")), 0, 0),
    "the browser closes": (lambda wire: wire.say(close_frame(1000)), 1, 1),
    "we close": (lambda wire: wire.websocket.close(1001), 1, 0),
    "we close twice": (lambda wire: (wire.websocket.close(), wire.websocket.close()), 1, 0),
    "both close": (lambda wire: (wire.websocket.close(), wire.say(close_frame(1000))), 1, 1),
    "the browser errs": (lambda wire: wire.say(b"\xff\xff"), 1, 0),
    "the browser is too slow": (lambda wire: [wire.websocket.write(b"x" * 300_000) for _ in range(3)], 1, 0),
    "the browser is gone": (lambda wire: (wire.browser.close(), wire.run()), 0, 1),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_owner_is_told_of_the_end_once(narrow: Callable[..., Wire], ending: str) -> None:
    end, closings, losses = ENDINGS[ending]
    wire = narrow(outbox_size=400_000)
    end(wire)
    assert (wire.owner.closings, wire.owner.losses) == (closings, losses)
    assert wire.websocket.open == (ending == "nothing")


def test_the_browser_goes_while_something_waits(narrow: Callable[..., Wire]) -> None:
    wire = narrow(outbox_size=1 << 20)
    wire.websocket.send("x" * 300_000)
    wire.websocket.pause()
    wire.browser.close()
    wire.run()
    assert wire.is_over


@pytest.mark.contract(
    "8.2 order: decided: nothing is written after the close frame",
    "asks deployment: #207, #266: bytes behind the close frame",
)
@pytest.mark.parametrize("end", ["close", "abort"])
def test_nothing_is_sent_after_the_end(wire: Wire, end: str) -> None:
    getattr(wire.websocket, end)()
    wire.hear()
    wire.websocket.write(text_frame("dropped"))
    wire.websocket.ping()
    wire.websocket.close()
    with pytest.raises(WebSocketError):
        wire.websocket.send("hi")
    assert wire.hear() == b""


def test_ends_once(wire: Wire) -> None:
    wire.websocket.abort()
    wire.websocket.abort()
    wire.websocket.pause()
    wire.websocket.resume()
    assert wire.is_over
