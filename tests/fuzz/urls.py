"""The path and query of a websocket's URL, and who asks for it.

The parts of an input are a user name, a group, a session key, and what stands between GET and HTTP/1.1.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from django.core.exceptions import SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest

from tests.fuzz import SEPARATOR
from tests.fuzz.application import HANDSHAKE, answer
from ws4redis.core.channels import (
    AUDIENCES,
    ChannelRequest,
    addressed_channels,
    broadcast_channel,
    facility_of,
    own_channels,
)
from ws4redis.core.identity import Identity
from ws4redis.endpoints.flags import flags_of

SETTINGS: dict[str, Any] = {}


def parsed(data: bytes) -> tuple[Identity, dict[str, str]]:
    username, group, session_key, target, *_ = (data + 3 * SEPARATOR).split(SEPARATOR)
    identity = Identity(
        username.decode("utf-8", "replace"), (group.decode("utf-8", "replace"),), session_key.decode("utf-8", "replace")
    )
    path, _, query = target.partition(b"?")
    # as WSGI servers do
    return identity, {
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
    }


def check(data: bytes) -> None:
    identity, environ = parsed(data)
    status = answer(environ).status
    assert status in (101, 400, 404)
    request = WSGIRequest({**HANDSHAKE, **environ, "wsgi.input": BytesIO()})
    facility = facility_of(request.path_info)
    if status == 404:
        assert len(facility.encode()) > 1024
        return
    if not request.path_info.startswith("/"):
        assert status == 400
        return
    if status == 101 and not facility.startswith("/"):
        assert request.path_info in (f"/ws/{facility}", f"/{facility}"), "hooks know it by another path"
    try:
        flags = flags_of(request)
    except SuspiciousOperation:
        assert status == 400
        return
    assert status == 101
    assert len(set(flags)) == len(flags)
    check_channels(identity, facility, flags)


def check_channels(identity: Identity, facility: str, flags: list[str]) -> None:
    nobody, somebody = (ChannelRequest(each, facility, flags) for each in (Identity(), identity))
    everybodys = broadcast_channel(facility)
    for direction in ("subscribe", "publish"):
        channels = somebody.channels(direction)
        assert set(nobody.channels(direction)) <= {everybodys}, "nobody gets a channel of somebody's"
        assert channels[: channels.count(everybodys)] == nobody.channels(direction)
        owners = {"user": identity.username, "group": identity.groups[0], "session": identity.session_key}
        for name in channels:
            audience, _, rest = name.partition(":")
            assert f"{direction}-{audience}" in flags, "a channel that is not asked for"
            assert name.encode().decode() == name
            if audience != "broadcast":
                # whoever reads up to the first colon finds the owner, and then the facility
                owner, _, rest = rest.partition(":")
                assert unquote(owner) == owners[audience], "a channel of somebody else's"
            assert rest == facility
    addressed = addressed_channels(
        facility,
        True,
        [*identity.groups],
        [identity.username],
        [identity.session_key] if identity.session_key else [],
        identify=lambda request: identity,
    )
    own = [name for audience in AUDIENCES for name in own_channels(audience, facility, identity)]
    assert set(own) <= set(addressed), "who is addressed does not hear it"


JOHN = Identity("john", ("chatusers",), "0123456789abcdef")


def made_of(target: str, identity: Identity = JOHN) -> bytes:
    return SEPARATOR.join(part.encode() for part in (identity.username, *identity.groups, identity.session_key, target))


TARGETS = {
    "all": "/ws/news?subscribe-session&subscribe-group&subscribe-user&subscribe-broadcast"
    "&publish-session&publish-group&publish-user&publish-broadcast&echo",
    "values": "/ws/news?subscribe=user&Publish=%20BROADCAST+&subscribe-group=0",
    "unknown": "/ws/news?subscribe-admins;publish&=&%zz&subscribe",
    "no-facility": "/ws/",
    "nested": "/ws/a/ws/b?subscribe-broadcast",
    "elsewhere": "/news?subscribe-broadcast",
    "relative": "//ws/../../etc/passwd?subscribe-broadcast",
    "no-slash": "secret?subscribe-broadcast",
    "in-the-middle": "sec/ws/ret?subscribe-broadcast",
    "long": f"/ws/{'x' * 1025}?subscribe-broadcast",
    "split": "/ws/a%0d%0aInjected:%20yes%00%1b[31m?subscribe-broadcast%0d%0aInjected:%20yes",
    "wildcards": "/ws/*?[^a]?subscribe-broadcast",
    "colons": "/ws/a:b::?subscribe-user&subscribe-group",
    "utf8": "/ws/%e2%82%ac/\N{EURO SIGN}?subscribe=%E2%82%AC",
    "no-utf8": "/ws/%ff%fe%ed%a0%80?subscribe=%ff%ed%a0%80",
    "many": "/ws/a?" + "&" * 20 + "a&" * 1001,
}


def seeds() -> dict[str, bytes]:
    found = {name: made_of(target) for name, target in TARGETS.items()}
    found["nobody"] = made_of(TARGETS["all"], Identity("", ("",), ""))
    found["nested-group"] = made_of("/ws/b:chat?subscribe-group", Identity("john", ("a%3Ab:c",), "eyJ:1q:x"))
    found["strange"] = made_of(TARGETS["all"], Identity("jo\r\nhn:*", ("a:b",), "{facility}\x00"))
    return found
