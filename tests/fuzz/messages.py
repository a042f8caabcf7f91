"""What Redis carries: messages, and the groups of a user."""

from __future__ import annotations

from typing import Any

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from ws4redis.auth.groups import with_kept_groups, with_newer_groups
from ws4redis.core.channels import own_channels
from ws4redis.core.encoding import RAW, encoding_of
from ws4redis.core.identity import Identity, Row
from ws4redis.core.publication import Batch, Publication
from ws4redis.protocol.deflate import Deflater, Options
from ws4redis.redis_store import RedisMessage

SETTINGS: dict[str, Any] = {"WS4REDIS_HEARTBEAT": "--heartbeat--"}

ADDRESS = parse_uri("ws://testserver/ws/foobar")
DEFLATER = Deflater(15, Options(threshold=16), shared=True)

JOHN = Identity("john", ("chatusers",), "0123456789abcdef", "ab:3", Row(None, 1))


def check(data: bytes) -> None:
    check_message(data)
    check_publication(Publication(b"broadcast:a", data))
    check_groups(data)


def check_message(data: bytes) -> None:
    expected = None if data == b"--heartbeat--" else data
    assert RedisMessage(data) == RedisMessage(bytearray(data)) == expected
    assert RedisMessage([b"message", b"broadcast:a", data]) == data
    assert RedisMessage([data, b"broadcast:a", data]) == (data if data == b"message" else None)
    text = text_of(data)
    if text is not None:
        assert RedisMessage(text) == expected


def text_of(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def check_publication(publication: Publication) -> None:
    client = ClientProtocol(ADDRESS, state=OPEN, max_size=None)
    client.extensions = [PerMessageDeflate(True, True, 15, 15)]
    batch = Batch([publication, publication])
    for encoding in (encoding_of(RAW), encoding_of(RAW, DEFLATER)):
        client.receive_data(publication.frame(encoding) + batch.frames(encoding))
    assert client.parser_exc is None
    opcode = Opcode.BINARY if text_of(publication.payload) is None else Opcode.TEXT
    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    assert [(each.opcode, bytes(each.data), each.fin) for each in frames] == [(opcode, publication.payload, True)] * 6


def check_groups(data: bytes) -> None:
    identity = with_newer_groups(JOHN, data)
    assert identity._replace(groups=JOHN.groups, groups_at=JOHN.groups_at) == JOHN, "more than the groups has changed"
    assert with_kept_groups(JOHN, data, None) in (JOHN, None), "what is no stamp tells nothing"
    if identity == JOHN:
        kept = with_kept_groups(JOHN, b"ab:9", data)
        assert kept in (JOHN, None) and (kept is None or b"ab:" in data), "what is no update tells nothing"
    assert isinstance(identity.groups, tuple) and all(isinstance(each, str) for each in identity.groups)
    for name in own_channels("group", "a", identity):
        assert name.encode().decode() == name, "no name of a channel"


def seeds() -> dict[str, bytes]:
    return {
        "empty": b"",
        "text": "größer".encode(),
        "binary": b"\xff\x00\xed\xa0\x80",
        "heartbeat": b"--heartbeat--",
        "message": b"message",
        "long": 100 * b"Hello",
        "stamp": b"ab:9",
        "groups": b'{"groups": ["writers", "chatusers"], "at": "ab:4"}',
        "groups-older": b'{"groups": ["writers"], "at": "ab:2"}',
        "groups-elsewhere": b'{"groups": ["writers"], "at": "cd:1", "looked_up": true}',
        "groups-none": b'{"groups": [], "at": 1e999}',
        "groups-odd": b'{"groups": [1, null, {"a": []}, "\\u00fc"], "at": "NaN"}',
        "groups-missing": b'{"groups": []}',
        "groups-of-letters": b'{"at": true, "groups": "abc"}',
        "groups-late": b'{"groups": [], "at": 1' + b"0" * 400 + b"}",
        "groups-surrogate": b'{"groups": ["\\ud800"], "at": "ab:9"}',
        "list": b"[[], []]",
        "utf-16": '{"groups": [], "at": "ab:9"}'.encode("utf-16"),
    }
