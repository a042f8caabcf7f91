"""What is published arrives: kinds of messages, audiences, flags, echo, persisted messages, under uWSGI."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from functools import partial

import pytest
import websocket
from websocket import WebSocketTimeoutException

from tests.browsers import get, log_in
from tests.servers import Site, Valkey, wait_for
from ws4redis.publisher import RedisPublisher


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


@pytest.fixture(autouse=True)
def same_redis(redis_server: Valkey, settings_of_redis: None) -> None:
    """The tests publish to the Redis of the site."""


@pytest.fixture(scope="module")
def john(site: Site) -> str:
    return log_in(site, "john")


@pytest.fixture(scope="module")
def mary(site: Site) -> str:
    return log_in(site, "mary")


@pytest.fixture(scope="module")
def visitor(site: Site) -> str:
    """Has a session, but no login."""
    return get(site, "/visit")


@pytest.fixture(scope="module")
def admin(site: Site) -> str:
    return log_in(site, "admin")


MESSAGES = {
    "ascii": "hello",
    "empty": "",
    "umlauts": "Grüße",
    "cyrillic": "Привет, мир",
    "chinese": "消息",
    "emoji": "👩‍👩‍👧 🎉",
    "combining": "e\u0301",
    "right to left": "שלום",
    "control characters": "a\x00b\x7f\u2028",
    "json": '{"a": ["ü", null]}',
    "text of 125 bytes": "x" * 125,
    "text of 126 bytes": "x" * 126,
    "text of 65536 bytes": "x" * 65536,
    "text of 1 MiB": "é" * (1 << 19),
    "binary": b"\x00\x12\xaa",
    "binary of 1 MiB": b"\xff" * (1 << 20),
    "the cut half of a character": "é".encode()[:1],
}


def receive(browser: websocket.WebSocket) -> str | bytes:
    opcode, data = browser.recv_data()
    return data.decode() if opcode == websocket.ABNF.OPCODE_TEXT else data


def nothing_waits(publisher: RedisPublisher, *browsers: websocket.WebSocket) -> None:
    """The next that arrives is what is published now."""
    marker = uuid.uuid4().hex
    publisher.publish_message(marker, expire=0)
    assert [receive(each) for each in browsers] == [marker] * len(browsers)


@pytest.mark.contract(
    "11.1 echo: decided: an empty message is a message",
    "asks unicode: #180, #217: Chinese text cannot be published",
)
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_message_arrives_unchanged(site: Site, facility: str, message: str | bytes) -> None:
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast")
    assert RedisPublisher(facility=facility, broadcast=True).publish_message(message) == 1
    assert receive(browser) == message


@pytest.mark.contract(
    "8.3 frames: binary messages of browsers are published and kept unchanged",
    "11.1 echo: decided: an empty message is a message",
    "asks unicode: #216, #269: Cyrillic, Chinese and so on end the websocket",
    "asks unicode: #236, #237: binary messages",
)
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_browsers_message_arrives_unchanged(site: Site, facility: str, message: str | bytes) -> None:
    sender = site.connect(f"/ws/{facility}?publish-broadcast")
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast")
    if isinstance(message, str):
        sender.send(message)
    else:
        sender.send_binary(message)
    assert receive(browser) == message


@pytest.mark.contract("8.3 frames: what is UTF-8 is sent as text; decided: the rest as binary")
def test_bytes_that_are_text_arrive_as_text(site: Site, facility: str) -> None:
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast")
    RedisPublisher(facility=facility, broadcast=True).publish_message("ü".encode())
    assert receive(browser) == "ü"


@pytest.mark.contract("3 names: other programs publish to these names by hand")
def test_redis_cli_reaches_the_browsers(site: Site, redis_server: Valkey, facility: str) -> None:
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast")
    assert redis_server.client().execute_command("publish", f"broadcast:{facility}", "hi") == 1
    assert receive(browser) == "hi"


@pytest.mark.contract("5 RedisPublisher: it works in views")
def test_a_django_view_publishes(site: Site, facility: str) -> None:
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast")
    assert get(site, f"/publish?facility={facility}&message=hi") == "1"
    assert receive(browser) == "hi"


def test_zero_listeners(facility: str) -> None:
    assert RedisPublisher(facility=facility, broadcast=True).publish_message("hi") == 0


# who hears what: flags of the URL, visitor, what is addressed, whether it arrives
AUDIENCES = [
    ("subscribe-broadcast", "nobody", {"broadcast": True}, True),
    ("subscribe=broadcast", "nobody", {"broadcast": True}, True),
    ("SUBSCRIBE-Broadcast=1", "nobody", {"broadcast": True}, True),
    ("unknown=1&%20subscribe-broadcast+&x", "nobody", {"broadcast": True}, True),
    ("subscribe-everybody&subscribe&broadcast", "nobody", {"broadcast": True}, False),
    ("", "nobody", {"broadcast": True}, False),
    ("publish-broadcast", "nobody", {"broadcast": True}, False),
    ("subscribe-user", "john", {"users": ["john"]}, True),
    ("subscribe-user", "john", {"users": ["john", "mary"]}, True),
    ("subscribe=user", "john", {"users": ["john"]}, True),
    ("subscribe-user", "john", {"users": ["mary"]}, False),
    ("subscribe-broadcast", "john", {"users": ["john"]}, False),
    ("subscribe-group", "john", {"groups": ["chatusers"]}, True),
    ("subscribe-group", "john", {"groups": ["chatters"]}, False),
    ("subscribe-group", "admin", {"groups": ["chatusers"]}, False),
    ("subscribe-session", "john", {"sessions": ["john"]}, True),
    ("subscribe-session", "john", {"sessions": ["mary"]}, False),
    ("subscribe-session", "visitor", {"sessions": ["visitor"]}, True),
    ("subscribe-broadcast", "visitor", {"broadcast": True}, True),
    ("subscribe-user", "visitor", {"users": ["", "AnonymousUser"]}, False),
    ("subscribe-group", "visitor", {"groups": ["chatusers"]}, False),
    ("subscribe-session", "unknown", {"sessions": ["unknown"]}, False),
    ("subscribe-session", "nobody", {"sessions": ["None"]}, False),
    ("subscribe-user", "nobody", {"users": [""]}, False),
    ("subscribe-user", "nobody", {"users": ["None"]}, False),
    ("subscribe-user&subscribe-broadcast", "nobody", {"broadcast": True}, True),
    ("subscribe-user&subscribe-group&subscribe-session&subscribe-broadcast", "john", {"broadcast": True}, True),
]


@pytest.mark.contract(
    "3 names: decided: a websocket of nobody has no channel of a user, a group or a session",
    "3 names: decided: a session without a key has no channel",
    "7 URLs: only names of parameters count, not their values",
    "7 URLs: names of parameters are stripped, and their case does not matter",
    "7 URLs: unknown names of parameters are ignored",
    "7 URLs: subscribe-* subscribes",
    "7 URLs: decided: subscribe=user and publish=user are other spellings",
    "7 URLs: without a flag a websocket is accepted, and receives no message",
    "9.2 identity: no cookie: broadcasts work; decided: all else has no channel",
    "9.2 identity: no login: broadcasts and session work; decided: user and group have no channel",
    "9.2 identity: logged in: everything works",
    "asks identity: #59: messages for user and session arrive under runserver only",
    "differs from 0.6: nobody's user and group channels",
)
@pytest.mark.parametrize(("flags", "who", "audience", "arrives"), AUDIENCES)
def test_audiences(
    site: Site, facility: str, request: pytest.FixtureRequest, flags: str, who: str, audience: dict, arrives: bool
) -> None:
    keys = {"nobody": "", "unknown": "x" * 32}
    cookie = keys[who] if who in keys else request.getfixturevalue(who)
    if "sessions" in audience:
        sessions = [keys.get(each) or request.getfixturevalue(each) for each in audience["sessions"] if each != "None"]
        audience = {"sessions": sessions or ["None"]}
    browser = site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={cookie}" if cookie else None)
    assert RedisPublisher(facility=facility, **audience).publish_message("hi") == (1 if arrives else 0)
    browser.settimeout(20 if arrives else 0.2)
    if arrives:
        assert receive(browser) == "hi"
    else:
        with pytest.raises(WebSocketTimeoutException):
            browser.recv()


# who says it to whom: flags of the URL, visitor, channels that keep it (* is his session key)
SPOKEN = [
    ("publish-broadcast", "nobody", ["broadcast"]),
    ("publish=broadcast", "nobody", ["broadcast"]),
    ("PUBLISH-Broadcast=0&unknown", "nobody", ["broadcast"]),
    ("publish-user", "john", ["user:john"]),
    ("publish-group", "john", ["group:chatusers"]),
    ("publish-session", "john", ["session:*"]),
    ("publish-session", "visitor", ["session:*"]),
    (
        "publish-session&publish-group&publish-user&publish-broadcast",
        "john",
        ["session:*", "group:chatusers", "user:john", "broadcast"],
    ),
    ("publish-group&publish-broadcast", "admin", ["broadcast"]),
    ("publish-user&publish-group&publish-broadcast", "visitor", ["broadcast"]),
    ("publish-user&publish-group&publish-session&publish-broadcast", "nobody", ["broadcast"]),
]


@pytest.mark.contract(
    "3 names: decided: a websocket of nobody has no channel of a user, a group or a session",
    "7 URLs: only names of parameters count, not their values",
    "7 URLs: publish-* publishes",
    "7 URLs: decided: subscribe=user and publish=user are other spellings",
    "7 URLs: one websocket may have several audiences",
    "9.2 identity: no cookie: broadcasts work; decided: all else has no channel",
    "9.2 identity: no login: broadcasts and session work; decided: user and group have no channel",
    "9.2 identity: logged in: everything works",
    "11.2 last message: browsers' messages are kept, too, as long as the setting says",
)
@pytest.mark.parametrize(("flags", "who", "channels"), SPOKEN)
def test_where_a_browsers_message_goes(
    site: Site,
    redis_server: Valkey,
    facility: str,
    request: pytest.FixtureRequest,
    flags: str,
    who: str,
    channels: list[str],
) -> None:
    redis, key = redis_server.client(), "" if who == "nobody" else request.getfixturevalue(who)
    site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={key}" if key else None).send("hi")
    expected = {f"{channel.replace('*', key)}:{facility}".encode() for channel in channels}
    wait_for(lambda: set(redis.keys(f"*:{facility}")) == expected, f"these channels, and no others: {expected}")
    for channel in expected:
        assert redis.get(channel) == b"hi"
        assert 3500 < redis.ttl(channel) <= 3600, "WS4REDIS_EXPIRE"


@pytest.mark.contract("7 URLs: without publish-* a browser's messages are dropped silently")
def test_what_is_said_without_a_flag_is_dropped(site: Site, redis_server: Valkey, facility: str) -> None:
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast&echo")
    browser.send("hi")
    browser.send_binary(b"\xff")
    nothing_waits(RedisPublisher(facility=facility, broadcast=True), browser)
    assert redis_server.client().keys(f"*:{facility}") == []


FACILITIES = [
    ("/ws/Case", "Case"),
    ("/ws/a/b:c/", "a/b:c/"),
    ("/ws/", ""),
    ("/ws/gr%C3%BC%C3%9Fe%20dich", "grüße dich"),
    ("/ws/ws/twice", "ws/twice"),
]


@pytest.mark.contract(
    "3 names: a websocket's facility is its path without the first WEBSOCKET_URL in it",
    "3 names: a websocket's facility is percent-decoded",
    "3 names: a facility may have slashes and colons",
    "3 names: a facility may be empty",
)
@pytest.mark.parametrize(("path", "name"), FACILITIES)
def test_facilities(site: Site, path: str, name: str) -> None:
    browser = site.connect(f"{path}?subscribe-broadcast")
    assert RedisPublisher(facility=name, broadcast=True).publish_message("hi", expire=0) == 1
    assert receive(browser) == "hi"


# the end of the path, a facility that is another
OTHERS = [
    ("Case", "case"),
    ("news", "news/"),
    ("news/", "news"),
    ("a/b", "a"),
    ("gr%C3%BC%C3%9Fe", "gr%C3%BC%C3%9Fe"),
]


@pytest.mark.contract(
    "3 names: a websocket's facility is percent-decoded",
    "3 names: case matters in a facility",
    "3 names: a slash at a facility's end belongs to it",
    "7 URLs: one websocket has one facility",
)
@pytest.mark.parametrize(("path", "name"), OTHERS)
def test_another_facility_is_not_heard(site: Site, facility: str, path: str, name: str) -> None:
    site.connect(f"/ws/{facility}/{path}?subscribe-broadcast")
    assert RedisPublisher(facility=f"{facility}/{name}", broadcast=True).publish_message("hi", expire=0) == 0


# echo


@pytest.mark.contract(
    "7 URLs: echo asks for one's own messages, too",
    "11.1 echo: with echo everything arrives, own messages included",
    "11.1 echo: without echo own messages do not come back, on none of the channels",
    "14 manual: 12 without echo it is one's own messages that do not come back",
    "differs from 0.6: own messages, without `echo`",
)
def test_own_messages_come_back_with_echo_only(site: Site, facility: str) -> None:
    publisher = RedisPublisher(facility=facility, broadcast=True)
    with_echo = site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast&echo")
    without = site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast")
    other = site.connect(f"/ws/{facility}?subscribe-broadcast")
    with_echo.send("one")
    assert [receive(each) for each in (with_echo, without, other)] == ["one"] * 3
    without.send("two")
    assert [receive(each) for each in (with_echo, other)] == ["two"] * 2
    nothing_waits(publisher, without)


@pytest.mark.contract(
    "11.1 echo: decided: an equal message of somebody else arrives",
    "14 manual: 12 without echo it is one's own messages that do not come back",
    "differs from 0.6: own messages, without `echo`",
)
def test_somebody_elses_equal_message_is_not_swallowed(site: Site, facility: str) -> None:
    browsers = [site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast") for _ in range(2)]
    for _ in range(3):
        for sender, other in (browsers, browsers[::-1]):
            sender.send("same")
            assert receive(other) == "same"
    nothing_waits(RedisPublisher(facility=facility, broadcast=True), *browsers)


@pytest.mark.contract(
    "8.2 order: decided: all that has arrived is handled, in both directions",
    "11.1 echo: decided: own messages do not come back, however quickly they follow each other",
    "11.3 order: decided: all that a browser sends arrives complete and in order, too",
    "asks delivery: #173: own messages come back without echo",
    "differs from 0.6: own messages, without `echo`",
)
def test_own_messages_sent_quickly_do_not_come_back(site: Site, facility: str) -> None:
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast")
    other = site.connect(f"/ws/{facility}?subscribe-broadcast")
    sent = [str(number % 7) for number in range(200)]
    for message in sent:
        browser.send(message)
    assert [receive(other) for _ in sent] == sent
    nothing_waits(RedisPublisher(facility=facility, broadcast=True), browser)


@pytest.mark.contract("11.1 echo: without echo own messages do not come back, on none of the channels")
def test_own_message_on_two_audiences_does_not_come_back(site: Site, facility: str, john: str) -> None:
    flags = "subscribe-broadcast&subscribe-user&publish-broadcast&publish-user"
    browser = site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={john}")
    other = site.connect(f"/ws/{facility}?subscribe-user", cookie=f"sessionid={john}")
    browser.send("hi")
    assert receive(other) == "hi"
    nothing_waits(RedisPublisher(facility=facility, broadcast=True), browser)


@pytest.mark.contract("11.1 echo: with echo one's own message arrives once for each channel")
def test_with_echo_own_message_comes_back_once_for_each_channel(site: Site, facility: str, john: str) -> None:
    flags = "subscribe-broadcast&subscribe-user&publish-broadcast&publish-user&echo"
    browser = site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={john}")
    browser.send("hi")
    assert [receive(browser), receive(browser)] == ["hi", "hi"]
    nothing_waits(RedisPublisher(facility=facility, broadcast=True), browser)


@pytest.mark.contract("11.1 echo: decided: an equal message of somebody else arrives")
def test_a_views_message_that_equals_ones_own_arrives(site: Site, facility: str) -> None:
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast&publish-broadcast")
    other = site.connect(f"/ws/{facility}?subscribe-broadcast")
    browser.send("same")
    assert receive(other) == "same"
    RedisPublisher(facility=facility, broadcast=True).publish_message("same")
    assert receive(browser) == "same"


# the last message of each channel


@pytest.mark.contract(
    "8.2 order: after the upgrade what was kept comes first, then what is live",
    "11.2 last message: a channel keeps the last only",
    "11.2 last message: every newcomer gets the last message, each time; it is not used up",
    "11.2 last message: what is live comes after the last message",
    "asks delivery: #52: a message comes whenever the page is loaded",
)
def test_newcomers_get_the_last_message(site: Site, facility: str) -> None:
    publisher = RedisPublisher(facility=facility, broadcast=True)
    for message in ("old", "last"):
        publisher.publish_message(message)
    for _ in range(2):
        browser = site.connect(f"/ws/{facility}?subscribe-broadcast")
        assert receive(browser) == "last"
        nothing_waits(publisher, browser)


@pytest.mark.contract(
    "7 URLs: the order of parameters does not matter",
    "7 URLs: one websocket may have several audiences",
    "11.2 last message: one last message of each channel, in the order broadcast, groups, user, session",
)
def test_last_messages_come_in_the_order_of_audiences(site: Site, facility: str, john: str) -> None:
    for audience in (
        {"sessions": [john]},
        {"users": ["john"]},
        {"groups": ["chatusers"]},
        {"broadcast": True},
    ):
        RedisPublisher(facility=facility, **audience).publish_message(next(iter(audience)))
    flags = "subscribe-session&subscribe-user&subscribe-group&subscribe-broadcast"
    browser = site.connect(f"/ws/{facility}?{flags}", cookie=f"sessionid={john}")
    assert [receive(browser) for _ in range(4)] == ["broadcast", "groups", "users", "sessions"]


@pytest.mark.contract(
    "14 manual: 2b with 0 nothing is stored, and what was kept stays",
    "asks delivery: #52: a message comes whenever the page is loaded",
)
def test_nothing_is_kept_with_expire_0(site: Site, facility: str) -> None:
    publisher = RedisPublisher(facility=facility, broadcast=True)
    publisher.publish_message("gone", expire=0)
    nothing_waits(publisher, site.connect(f"/ws/{facility}?subscribe-broadcast"))


@pytest.mark.contract(
    "4.3 RedisStore: expire of 0 or less publishes only, and leaves what was kept",
    "14 manual: 2b with 0 nothing is stored, and what was kept stays",
)
def test_what_is_not_kept_leaves_what_was(site: Site, facility: str) -> None:
    publisher = RedisPublisher(facility=facility, broadcast=True)
    publisher.publish_message("kept")
    publisher.publish_message("passing", expire=0)
    browser = site.connect(f"/ws/{facility}?subscribe-broadcast")
    assert receive(browser) == "kept"
    nothing_waits(publisher, browser)


@pytest.mark.contract("11.2 last message: the last message is kept until its time is over")
def test_what_has_expired_is_gone(site: Site, redis_server: Valkey, facility: str) -> None:
    publisher = RedisPublisher(facility=facility, broadcast=True)
    publisher.publish_message("short-lived", expire=1)
    wait_for(lambda: not redis_server.client().exists(f"broadcast:{facility}"), "it has expired")
    nothing_waits(publisher, site.connect(f"/ws/{facility}?subscribe-broadcast"))


@pytest.mark.contract("3 names: other programs publish to these names by hand")
def test_what_redis_cli_keeps_reaches_newcomers(site: Site, redis_server: Valkey, facility: str) -> None:
    redis_server.client().execute_command("setex", f"broadcast:{facility}", 100, "kept")
    assert receive(site.connect(f"/ws/{facility}?subscribe-broadcast")) == "kept"


@pytest.mark.contract("11.1 echo: a browser that comes back gets its own last message")
def test_who_comes_back_gets_his_own_last_message(site: Site, redis_server: Valkey, facility: str) -> None:
    path = f"/ws/{facility}?subscribe-broadcast&publish-broadcast"
    site.connect(path).send("mine")
    wait_for(lambda: redis_server.client().exists(f"broadcast:{facility}"), "the message in Redis")
    again = site.connect(path)
    assert receive(again) == "mine"
    nothing_waits(RedisPublisher(facility=facility, broadcast=True), again)


@pytest.mark.contract(
    "6 RedisSubscriber: publish_message() gets each message of the browser, with the default expiry",
    "11.2 last message: browsers' messages are kept, too, as long as the setting says",
)
def test_a_browsers_message_is_kept(site: Site, facility: str) -> None:
    site.connect(f"/ws/{facility}?publish-broadcast").send("position")
    publisher = RedisPublisher()
    wait_for(lambda: publisher.fetch_message(None, facility, "broadcast") == b"position", "the message in Redis")


@pytest.mark.contract(
    "11.2 last message: decided: nothing is missed or doubled while a browser connects",
    "asks delivery: #268: messages get lost",
    "differs from 0.6: while a page connects",
)
def test_what_is_published_while_browsers_connect_arrives_once(site: Site, facility: str) -> None:
    """Persisted and live are the same messages: each browser sees a suffix of what was published, without doubles."""
    publisher = RedisPublisher(facility=facility, broadcast=True)
    browsers: list[websocket.WebSocket] = []
    connecting = threading.Event()

    def connect() -> None:
        for _ in range(60):
            browsers.append(site.connect(f"/ws/{facility}?subscribe-broadcast"))

    def publish_all() -> None:
        number = 0
        while not connecting.is_set():
            publisher.publish_message(str(number))
            number += 1
        publisher.publish_message("end")

    publishing = threading.Thread(target=publish_all)
    publishing.start()
    try:
        connect()
    finally:
        connecting.set()
        publishing.join()
    for browser in browsers:
        got = list(iter(lambda browser=browser: receive(browser), "end"))
        first = int(got[0])
        assert got == [str(first + offset) for offset in range(len(got))]


def numbers(publish: Callable[[str], object], stop: threading.Event) -> None:
    """Large enough that Redis reads each in several pieces, between which it does other things."""
    number = 0
    while not stop.is_set():
        publish(f"{number} ".ljust(100_000))
        number += 1


@pytest.mark.contract("4.3 RedisStore: pipeline_publish_message(transaction=True) is one step; decided: so is False")
@pytest.mark.parametrize("transaction", [True, False])
def test_a_newcomers_first_message_arrives_once(site: Site, facility: str, transaction: bool) -> None:
    """To be kept and to be published is one step: what came as the last message does not come again."""
    publisher = RedisPublisher(facility=facility, broadcast=True)
    stop = threading.Event()
    publish = partial(publisher.pipeline_publish_message, transaction=transaction)
    publishing = threading.Thread(target=numbers, args=(publish, stop))
    publishing.start()
    heard = []
    try:
        for _ in range(150):
            browser = site.connect(f"/ws/{facility}?subscribe-broadcast")
            heard.append([int(receive(browser)) for _ in range(3)])
            browser.shutdown()
    finally:
        stop.set()
        publishing.join()
    assert [each for each in heard if each != [*range(each[0], each[0] + 3)]] == []
