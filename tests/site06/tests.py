import os
import threading
from unittest import mock
from urllib.error import HTTPError
from urllib.request import urlopen

import redis
import websocket
from django.contrib.auth.models import AnonymousUser, User
from django.core.servers.basehttp import ServerHandler, WSGIServer
from django.test import LiveServerTestCase, RequestFactory

from tests.servers import wait_for
from tests.site06.hooks import denied_channels
from ws4redis import settings as ws4redis_settings
from ws4redis.django_runserver import application
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF, RedisMessage

FACILITY = "unittest"
TEXT = "".join(chr(code) for code in range(0x21, 0x80))
BINARY = b"\x00\x12\xaa"
DATASTORE = redis.StrictRedis.from_url(os.environ["REDIS_URL"])


class WebsocketTests(LiveServerTestCase):
    fixtures = ["data.json"]  # noqa: RUF012

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server_thread.httpd.set_app(application)
        cls.websocket_base_url = cls.live_server_url.replace("http:", "ws:", 1) + "/ws/" + FACILITY

    def setUp(self):
        self.message = RedisMessage(TEXT)
        for key in DATASTORE.scan_iter("site06:*"):
            DATASTORE.delete(key)

    def request(self, username=None):
        """Of a visitor who has logged in."""
        request = RequestFactory().get("/chat/")
        request.user, request.session = AnonymousUser(), None
        if username:
            self.assertTrue(self.client.login(username=username, password="secret"))
            request.user, request.session = User.objects.get(username=username), self.client.session
        return request

    def connect(self, flags, request=None, **options):
        if request:
            options["cookie"] = f"sessionid={request.session.session_key}"
        ws = websocket.create_connection(f"{self.websocket_base_url}?{flags}", timeout=20, **options)
        self.addCleanup(ws.shutdown)
        return ws

    def hear(self, flags, request=None, expected=TEXT):
        ws = self.connect(flags, request)
        self.assertEqual(self.receive(ws), expected)
        ws.close()
        self.assertFalse(ws.connected)

    def receive(self, ws):
        return next(message for message in iter(ws.recv, None) if message != ws4redis_settings.WS4REDIS_HEARTBEAT)

    def say(self, flags, request=None):
        ws = self.connect(flags, request)
        ws.send(TEXT)
        ws.close()

    def wait_for_message(self, request, audience, expected=None):
        publisher = RedisPublisher()
        expected = expected or self.message
        wait_for(lambda: publisher.fetch_message(request, FACILITY, audience) == expected, audience, 20)

    def publisher(self, **audience):
        return RedisPublisher(facility=FACILITY, **audience)

    # what was kept is heard

    def test_subscribe_broadcast(self):
        self.publisher(broadcast=True).publish_message(self.message, 10)
        self.hear("subscribe-broadcast")

    def test_subscribe_pipeline_broadcast(self):
        self.publisher(broadcast=True).pipeline_publish_message(self.message, 10)
        self.hear("subscribe-broadcast")

    def test_subscribe_user(self):
        self.publisher(users=["john", "mary"]).publish_message(self.message, 10)
        self.hear("subscribe-user", self.request("john"))

    def test_subscribe_pipeline_user(self):
        self.publisher(users=["john", "mary"]).pipeline_publish_message(self.message, 10)
        self.hear("subscribe-user", self.request("mary"))

    def test_subscribe_group(self):
        self.publisher(groups=["chatters"]).publish_message(RedisMessage("not for john"), 10)
        self.publisher(groups=["chatusers"]).publish_message(self.message, 10)
        self.hear("subscribe-group", self.request("john"))

    def test_subscribe_pipeline_group(self):
        self.publisher(groups=["chatusers"]).pipeline_publish_message(self.message, 10)
        self.hear("subscribe-group", self.request("john"))

    def test_subscribe_foreign_group(self):
        self.publisher(groups=["chatters"]).publish_message(self.message, 10)
        self.publisher(users=["john"]).publish_message(RedisMessage("after it"), 10)
        self.hear("subscribe-group&subscribe-user", self.request("john"), "after it")

    def test_subscribe_session(self):
        request = self.request("john")
        self.assertGreater(len(request.session.session_key), 30)
        self.publisher(sessions=[SELF], request=request).publish_message(self.message, 10)
        self.hear("subscribe-session", request)

    def test_subscribe_pipeline_session(self):
        request = self.request("john")
        self.publisher(sessions=[SELF], request=request).pipeline_publish_message(self.message, 10)
        self.hear("subscribe-session", request)

    # what is said is kept

    def test_pubsub_broadcast_with_echo(self):
        ws = self.connect("subscribe-broadcast&publish-broadcast&echo")
        ws.send(TEXT)
        self.assertEqual(self.receive(ws), TEXT)

    def test_pubsub_broadcast_without_echo(self):
        ws = self.connect("subscribe-broadcast&publish-broadcast")
        ws.send(TEXT)
        self.wait_for_message(None, "broadcast")
        self.publisher(broadcast=True).publish_message(RedisMessage("after it"))
        self.assertEqual(self.receive(ws), "after it")

    def test_publish_broadcast(self):
        self.say("publish-broadcast")
        self.wait_for_message(self.request(), "broadcast")
        self.assertEqual(DATASTORE.get("site06:broadcast:unittest"), self.message)

    def test_publish_user(self):
        request = self.request("john")
        self.say("publish-user", request)
        self.wait_for_message(request, "user")
        request.user = None
        self.assertIsNone(RedisPublisher().fetch_message(request, FACILITY, "user"))

    def test_publish_group(self):
        self.say("publish-group", self.request("john"))
        self.wait_for_message(self.request("mary"), "group")

    def test_publish_session(self):
        request = self.request("mary")
        self.say("publish-session", request)
        self.wait_for_message(request, "session")

    def test_binary_message_publish_broadcast(self):
        self.connect("publish-broadcast").send_binary(BINARY)
        self.wait_for_message(self.request(), "broadcast", BINARY)
        self.assertEqual(DATASTORE.get("site06:broadcast:unittest"), BINARY)

    # the handshake and the end

    def test_invalid_request(self):
        for data in (None, b"a=b"):
            with self.subTest(data), self.assertRaises(HTTPError) as raised:
                urlopen(self.live_server_url + "/ws/foobar", data)
            with raised.exception as response:
                self.assertEqual(response.code, 400)
                if data is None:
                    self.assertIn("upgrade to a websocket", response.read().decode())

    def test_forbidden_channel(self):
        for hook in (denied_channels, "tests.site06.hooks.denied_channels"):
            with (
                self.subTest(hook),
                mock.patch.object(ws4redis_settings, "WS4REDIS_ALLOWED_CHANNELS", hook),
                self.assertRaises(websocket.WebSocketBadStatusException) as refused,
            ):
                self.connect("subscribe-broadcast", header=["Deny-Channels: YES"])
            self.assertEqual(refused.exception.status_code, 403)
        with mock.patch.object(ws4redis_settings, "WS4REDIS_ALLOWED_CHANNELS", None):
            self.assertTrue(self.connect("subscribe-broadcast", header=["Deny-Channels: YES"]).connected)

    def test_close_connection(self):
        codes = (1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1015)
        before = threading.active_count()
        with (
            mock.patch.object(WSGIServer, "handle_error") as of_server,
            mock.patch.object(ServerHandler, "handle_error") as of_handler,
        ):
            for code in codes:
                ws = self.connect("subscribe-broadcast")
                ws.close(code)
                self.assertFalse(ws.connected)
            wait_for(lambda: threading.active_count() <= before + 1, "the end of the websockets' threads", 20)
        self.assertEqual((of_server.call_count, of_handler.call_count), (0, 0))

    def test_protocol_support(self):
        ws = self.connect("subscribe-broadcast", subprotocols=["unittestprotocol"])
        self.assertEqual(ws.getheaders()["sec-websocket-protocol"], "unittestprotocol")
        self.assertNotIn("sec-websocket-protocol", self.connect("subscribe-broadcast").getheaders())

    # publishers

    def test_defining_multiple_publishers(self):
        of_all, of_john = self.publisher(broadcast=True), self.publisher(users=["john"])
        self.assertEqual(of_all._publishers, {"site06:broadcast:unittest"})
        self.assertEqual(of_john._publishers, {"site06:user:john:unittest"})

    def test_legacy_audiences(self):
        request = self.request("john")
        for name in (True, "john"):
            with self.subTest(name), self.assertWarns(DeprecationWarning):
                publisher = self.publisher(users=name, request=request)
            self.assertEqual(publisher._publishers, {"site06:user:john:unittest"})
