"""A site of one's own may be tested like this: a live server, real websockets, a real Redis.

Unlike the live server of old, this one has as many websockets open at once as a test wants.
"""

import uuid

import websocket
from django.contrib.auth.models import User
from django.test import Client, LiveServerTestCase

from ws4redis.django_runserver import application
from ws4redis.publisher import RedisPublisher

GREETING = "Hello everybody"


class WebsocketTestCase(LiveServerTestCase):
    fixtures = ("data.json",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server_thread.httpd.set_app(application)

    def setUp(self):
        # what is kept for a channel outlives a test
        self.facility = uuid.uuid4().hex

    def logged_in(self, name):
        client = Client()
        client.force_login(User.objects.get(username=name))
        return client

    def connect(self, flags, client=None, facility=None, **options):
        uri = f"{self.live_server_url.replace('http', 'ws')}/ws/{facility or self.facility}?{flags}"
        if client:
            options["cookie"] = f"sessionid={client.session.session_key}"
        browser = websocket.create_connection(uri, timeout=10, **options)
        self.addCleanup(browser.close)
        return browser

    def publish(self, text, **audience):
        RedisPublisher(facility=self.facility, **audience).publish_message(text)

    def refused(self, flags, **options):
        """The HTTP status with which a websocket is refused."""
        with self.assertRaises(websocket.WebSocketBadStatusException) as caught:
            self.connect(flags, **options)
        return caught.exception.status_code


class DeliveryTests(WebsocketTestCase):
    def test_broadcast_reaches_all(self):
        browsers = [self.connect("subscribe-broadcast") for _ in range(3)]
        self.publish("for all", broadcast=True)
        self.assertEqual([each.recv() for each in browsers], ["for all"] * 3)

    def test_the_last_message_is_kept(self):
        self.publish("first", broadcast=True)
        self.publish("last", broadcast=True)
        self.assertEqual(self.connect("subscribe-broadcast").recv(), "last")

    def test_own_messages_come_back_with_echo(self):
        browser = self.connect("subscribe-broadcast&publish-broadcast&echo")
        browser.send("own")
        self.assertEqual(browser.recv(), "own")

    def test_own_messages_do_not_come_back_without_echo(self):
        listener = self.connect("subscribe-broadcast")
        browser = self.connect("subscribe-broadcast&publish-broadcast")
        browser.send("own")
        self.assertEqual(listener.recv(), "own")
        self.publish("another's", broadcast=True)
        self.assertEqual(browser.recv(), "another's")

    def test_what_a_browser_publishes_is_kept(self):
        listener = self.connect("subscribe-broadcast")
        self.connect("publish-broadcast").send_binary(b"\x00\x12\xaa")
        self.assertEqual(listener.recv(), b"\x00\x12\xaa")
        self.assertEqual(RedisPublisher().fetch_message(None, self.facility, "broadcast"), b"\x00\x12\xaa")

    def test_user(self):
        john, mary = (self.connect("subscribe-user", self.logged_in(name)) for name in ("john", "mary"))
        self.publish("for John", users=["john"])
        self.publish("for Mary", users=["mary"])
        self.assertEqual((john.recv(), mary.recv()), ("for John", "for Mary"))

    def test_group(self):
        member = self.connect("subscribe-group", self.logged_in("john"))
        stranger = self.connect("subscribe-group&subscribe-broadcast", self.logged_in("admin"))
        self.publish("for members", groups=["chatusers"])
        self.publish("for all", broadcast=True)
        self.assertEqual((member.recv(), stranger.recv()), ("for members", "for all"))

    def test_session(self):
        client = self.logged_in("john")
        browser = self.connect("subscribe-session", client)
        self.publish("for this login", sessions=[client.session.session_key])
        self.assertEqual(browser.recv(), "for this login")


class PageTests(WebsocketTestCase):
    def test_the_broadcast_chat_greets(self):
        browser = self.connect("subscribe-broadcast&publish-broadcast&echo", facility="foobar")
        browser.send("before")
        while browser.recv() != "before":  # what was kept may come first
            pass
        self.assertContains(self.client.get("/chat/"), "broadcast_chat(request: HttpRequest)")
        self.assertEqual(browser.recv(), GREETING)

    def test_the_user_chat_publishes_to_both(self):
        john, mary = self.logged_in("john"), self.logged_in("mary")
        browsers = [self.connect("subscribe-user", each, facility="foobar") for each in (john, mary)]
        text = f"hello {self.facility}"
        self.assertContains(john.post("/userchat/", {"user": "mary", "message": text}), "OK")
        for each in browsers:
            while each.recv() != f"john to mary: {text}":
                pass

    def test_the_group_chat_is_for_members(self):
        john = self.logged_in("john")
        browser = self.connect("subscribe-group", john, facility="foobar")
        text = f"hello {self.facility}"
        posted = {"group": "chatusers", "message": text}
        self.assertEqual(self.logged_in("admin").post("/groupchat/", posted).status_code, 404)
        self.assertContains(john.post("/groupchat/", posted), "OK")
        while browser.recv() != f"john to chatusers: {text}":
            pass

    def test_strangers_log_in_first(self):
        for path in ("/userchat/", "/groupchat/"):
            self.assertRedirects(self.client.post(path), f"/accounts/login/?next={path}")

    def test_other_sites_cannot_post(self):
        careful = Client(enforce_csrf_checks=True)
        careful.force_login(User.objects.get(username="john"))
        self.assertEqual(careful.post("/userchat/", {"user": "mary", "message": "x"}).status_code, 403)


class RefusalTests(WebsocketTestCase):
    def test_the_hook_denies(self):
        self.assertEqual(self.refused("subscribe-broadcast", header=["Deny-Channels: YES"]), 403)

    def test_the_hook_allows(self):
        self.connect("subscribe-broadcast", header=["Deny-Channels: NO"])

    def test_other_sites_cannot_connect(self):
        options = {"origin": "https://elsewhere.example"}
        self.assertEqual(self.refused("subscribe-user", client=self.logged_in("john"), **options), 403)
