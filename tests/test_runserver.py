"""What only ``manage.py runserver`` and its like do."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest
import websocket
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from websocket import WebSocketBadStatusException

from tests.browsers import counts, get, plain_socket
from tests.servers import ROOT, RunServer, Valkey, free_port, wait_for


@pytest.fixture(scope="module")
def site(redis_server: Valkey, database: Path) -> Iterator[RunServer]:
    with RunServer(redis_server.url, DATABASE=str(database), DEBUG="1") as server:
        yield server


@pytest.mark.contract("8.4 runserver: decided: Django's banner and reloads are as ever")
def test_django_prints_its_banner(site: RunServer) -> None:
    # since Django 6.1 it says of which kind
    assert re.search(
        f"^Starting (WSGI )?development server at http://127.0.0.1:{site.port}/$", site.log(), re.MULTILINE
    )


@pytest.mark.contract(
    "2 package: the script is js/ws4redis.js; decided: it has a path of its own, too",
    "13.2 WS4Redis: it is included by the static tag, or behind STATIC_URL",
)
def test_static_files_are_served(site: RunServer) -> None:
    assert "WS4Redis" in get(site, "/static/js/ws4redis.js")


@pytest.mark.contract("12 closing: decided: a normal end is quiet")
def test_the_log_has_one_quiet_line_for_each_websocket(site: RunServer) -> None:
    before = len(site.log())
    browser = site.connect("/ws/quiet?subscribe-broadcast")
    browser.close()
    wait_for(lambda: counts(site)["connections"] == 0, "it has left")

    def lines() -> list[str]:
        """Without other requests', which may be written after their answers have been read."""
        new = [line for line in site.log()[before:].splitlines() if "subscribes to" not in line]
        return [line for line in new if "GET /ws/quiet" in line or '"GET ' not in line]

    [line] = wait_for(lines, "its line")
    assert '"GET /ws/quiet?subscribe-broadcast HTTP/1.1" 101 -' in line


@pytest.mark.contract(
    "8.4 runserver: one thread for each websocket, given back",
    "asks scale: #73, #93, #94: memory and files of websockets that are gone",
)
def test_threads_and_descriptors_come_back(site: RunServer) -> None:
    site.connect().close()
    wait_for(lambda: counts(site)["connections"] == 0, "it has left")
    before = counts(site)
    for _ in range(20):
        site.connect()
    # each has one; before there may have been one that was about to end
    assert counts(site)["threads"] > 20
    site.close_browsers()

    def back() -> bool:
        now = counts(site)
        return all(now[name] <= before[name] for name in ("threads", "descriptors", "connections", "channels"))

    wait_for(back, f"as before: {before}")


@pytest.mark.contract("11.3 order: decided: each channel arrives complete and in order, in bursts, too")
def test_a_stalled_browser_delays_nobody(site: RunServer, redis_server: Valkey) -> None:
    stalled = plain_socket(site, "/ws/burst?subscribe-broadcast")
    # 600 MB in all: without wsaccel the client would take minutes to look for bad UTF-8
    path = "/ws/burst?subscribe-broadcast"
    browsers = [site.connect(path, skip_utf8_validation=True) for _ in range(200)]
    # 3 MB: more than the kernel takes for the stalled one, less than the outbox of those who are read late
    messages = [f"{number} {'x' * 10000}" for number in range(300)]
    with redis_server.client().pipeline(transaction=False) as pipeline:
        for message in messages:
            pipeline.publish("broadcast:burst", message)
        pipeline.execute()
    for browser in browsers:
        assert [browser.recv() for _ in messages] == messages
    assert counts(site)["connections"] >= 200
    stalled.close()


@pytest.mark.contract("8.4 runserver: decided: what came along with the request is read")
def test_what_is_sent_before_the_answer_is_not_lost(site: RunServer, redis_server: Valkey) -> None:
    """Request and first frame in one packet: the server has read both."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as browser:
        browser.sendall(
            b"GET /ws/early?publish-broadcast HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + b"\x81\x85\x00\x00\x00\x00early"
        )
        wait_for(lambda: redis_server.client().get("broadcast:early") == b"early", "the early message")
        assert browser.recv(1000).startswith(b"HTTP/1.1 101 ")


@pytest.mark.contract("8.4 runserver: the setting WSGI_APPLICATION is enough; decided: nothing else is replaced")
def test_nothing_of_djangos_own_server_is_replaced() -> None:
    """Beside WSGI_APPLICATION nothing is needed, and whatever else uses these works as ever."""
    code = (
        "import django; django.setup()\n"
        "import ws4redis.django_runserver\n"
        "from django.core.management.commands import runserver\n"
        "from django.core.servers import basehttp\n"
        "from wsgiref.util import is_hop_by_hop\n"
        "assert runserver.run is basehttp.run and is_hop_by_hop('Upgrade')\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.site.settings"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=60)


# where websockets are, path, whose it is
DISPATCHED = [
    ("/ws/", "/ws/x", "websocket"),
    ("/ws/", "/ws/", "websocket"),
    ("/ws/", "/ws", "django"),
    ("/ws/", "/page", "django"),
    ("", "/ws/x", "django"),
    (None, "/ws/x", "django"),
]


@pytest.mark.contract(
    "8.4 runserver: application: what is below WEBSOCKET_URL is a websocket's, the rest Django's",
    "8.4 runserver: without WEBSOCKET_URL all is Django's",
)
@pytest.mark.parametrize(("url", "path", "whose"), DISPATCHED)
def test_what_is_below_the_url_is_a_websockets(
    monkeypatch: pytest.MonkeyPatch, url: str | None, path: str, whose: str
) -> None:
    import django

    django.setup()
    from ws4redis import django_runserver

    monkeypatch.setattr(django_runserver, "_websocket_url", url)
    for each in ("websocket", "django"):
        monkeypatch.setattr(django_runserver, f"_{each}_app", lambda environ, start_response, each=each: [each])
    assert django_runserver.application({"PATH_INFO": path}, lambda *args: None) == [whose]


def test_a_breakpoint_stops_one_browser_only(redis_server: Valkey) -> None:
    path = "/ws/debug?subscribe-broadcast&publish-broadcast&echo"
    redis_server.client().delete("go on")
    setting = {"WS4REDIS_SUBSCRIBER": json.dumps("tests.site.hooks.StoppingSubscriber")}
    with RunServer(redis_server.url, **setting) as site:
        stopped, other = site.connect(path), site.connect(path)
        stopped.send("stop")
        for number in range(3):
            other.send(str(number))
            assert other.recv() == str(number)
            assert stopped.recv() == str(number), "it still hears the others"
        redis_server.client().set("go on", 1)
        assert stopped.recv() == "stop"


@pytest.mark.contract("8.4 runserver: --nothreading is refused; decided: with a 503 that says so")
def test_nothreading_is_refused_with_a_reason(redis_server: Valkey) -> None:
    class OneAtATime(RunServer):
        arguments = ("--noreload", "--nothreading")

    with OneAtATime(redis_server.url) as site:
        with pytest.raises(WebSocketBadStatusException) as refused:
            site.connect()
        assert refused.value.status_code == 503
        assert b"--nothreading" in refused.value.resp_body


def test_ipv6(redis_server: Valkey) -> None:
    class OnIPv6(RunServer):
        def command(self) -> list[str]:
            return [sys.executable, "-m", "django", "runserver", f"[::1]:{self.port}", "--noreload"]

        def answers(self) -> bool:
            try:
                socket.create_connection(("::1", self.port), timeout=1).close()
            except OSError:
                return False
            return True

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with OnIPv6(redis_server.url) as site:
        browser = websocket.create_connection(f"ws://[::1]:{site.port}/ws/six?subscribe-broadcast", timeout=20)
        redis_server.client().publish("broadcast:six", "hi")
        assert browser.recv() == "hi"
        browser.shutdown()


@pytest.mark.contract(
    "8.4 runserver: decided: Django's banner and reloads are as ever",
    "12 closing: runserver just ends its websockets when it reloads",
    "asks deployment: #210: runserver starts anew when a browser comes",
)
def test_autoreload_with_open_websockets(redis_server: Valkey, tmp_path: Path) -> None:
    """Browsers are cut off, and served again by the next process; nothing of the former is left."""

    class Reloading(RunServer):
        arguments = ()

        def environment(self) -> dict[str, str]:
            return {**super().environment(), "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "watched_settings"}

    watched = tmp_path / "watched_settings.py"
    watched.write_text("from tests.site.settings import *\n")
    with Reloading(redis_server.url) as site:
        browsers = [site.connect("/ws/x?subscribe-broadcast") for _ in range(10)]
        former = counts(site)["pid"]
        time.sleep(1.1)  # the reloader looks once a second, and must have seen the file as it was
        watched.write_text("from tests.site.settings import *\nCHANGED = True\n")
        for browser in browsers:
            with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
                browser.recv()

        def again() -> Any:
            try:
                return site.connect("/ws/x?subscribe-broadcast")
            except (OSError, websocket.WebSocketException):
                return None

        browser = wait_for(again, "the next process serves")
        assert redis_server.client().publish("broadcast:x", "hi") == 1
        assert browser.recv() == "hi"
        assert counts(site)["pid"] != former
        assert not Path(f"/proc/{former}").exists()


# other servers of this kind

SERVE = """
import os, sys
import django
django.setup()
from ws4redis.django_runserver import application
port, certificate = int(sys.argv[1]), sys.argv[2]
{serve}
"""

#: as django-sslserver does it
SSLSERVER = """
import ssl
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
httpd = ThreadedWSGIServer(("127.0.0.1", port), WSGIRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
httpd.set_app(application)
httpd.serve_forever()
"""

#: as runserver_plus does it
WERKZEUG = """
from werkzeug.serving import run_simple
tls = (certificate, certificate) if certificate else None
run_simple("127.0.0.1", port, application, threaded=True, ssl_context=tls)
"""


SERVERS = {
    "werkzeug": (WERKZEUG, False),
    "werkzeug with TLS": (WERKZEUG, True),
    "sslserver": (SSLSERVER, True),
}


@pytest.mark.contract(
    "8.4 runserver: decided: django-sslserver and runserver_plus",
    "asks deployment: #132, #229: wss:// while developing",
)
@pytest.mark.parametrize(("serve", "tls"), SERVERS.values(), ids=SERVERS)
def test_other_development_servers(redis_server: Valkey, certificate: str, serve: str, tls: bool) -> None:
    if serve is WERKZEUG:
        pytest.importorskip("werkzeug")

    class Other(RunServer):
        def command(self) -> list[str]:
            return [sys.executable, "-c", SERVE.format(serve=serve), str(self.port), certificate if tls else ""]

    facility = f"other-{free_port()}"
    path = f"/ws/{facility}?subscribe-broadcast&publish-broadcast&echo"
    with Other(redis_server.url) as site:
        options = {"sslopt": {"cert_reqs": ssl.CERT_NONE}} if tls else {}
        browsers = [
            websocket.create_connection(site.url(path, "wss" if tls else "ws"), timeout=20, **options) for _ in range(3)
        ]
        for message in ("hi", "x" * 200_000):
            browsers[0].send(message)
            assert [browser.recv() for browser in browsers] == [message] * 3
        browsers[0].close()
        redis_server.client().publish(f"broadcast:{facility}", "still here")
        assert [browser.recv() for browser in browsers[1:]] == ["still here"] * 2
        for browser in browsers[1:]:
            browser.close()
        assert "Traceback" not in site.log()


@pytest.mark.contract("8.4 runserver: under LiveServerTestCase, by set_app()")
def test_under_a_live_server(redis_server: Valkey, settings_of_redis: None) -> None:
    """As LiveServerTestCase does it, with the application swapped in."""
    import django

    django.setup()
    from ws4redis.django_runserver import application

    httpd: HTTPServer = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler, allow_reuse_address=False)
    httpd.set_app(application)  # type: ignore[attr-defined]
    serving = threading.Thread(target=httpd.serve_forever)
    serving.start()
    try:
        browser = websocket.create_connection(
            f"ws://127.0.0.1:{httpd.server_address[1]}/ws/live?subscribe-broadcast", timeout=20
        )
        redis_server.client().publish("broadcast:live", "hi")
        assert browser.recv() == "hi"
        browser.close()
    finally:
        httpd.shutdown()
        httpd.server_close()
        serving.join()
