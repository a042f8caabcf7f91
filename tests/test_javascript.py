"""``WS4Redis`` in a real browser, with servers that drop, stall and restart.

``tests/js`` tests the same script under node, with a fake clock. Here no clock is faked: what takes its time, as the
heartbeats that a stalled connection must miss, is waited for.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage, staticfiles_storage
from django.core.management import call_command
from django.test import override_settings

import tests.django_setup  # noqa: F401
from tests.browsers import counts
from tests.servers import ROOT, UWSGI, RunServer, Site, Valkey, wait_for
from ws4redis.publisher import RedisPublisher

if TYPE_CHECKING:
    from tests.chromium import Window

    OpenWindow = Callable[[str], Window]

STATIC = ROOT / "ws4redis/static"
HEARTBEAT = "--heartbeat--"
QUEUE_LIMIT = 100

# the last of each line; 4 lacks $.type and more, which the original script called
JQUERIES = ("1.11.3", "1.12.4", "2.2.4", "3.7.1", "4.0.0")

PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<title>A page</title>
<script src="/js/ws4redis.js"></script>
<script src="/recorder.js"></script>
"""

# as the manual of django-websocket-redis had it
JQUERY_PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<title>A page with jQuery</title>
<script src="/jquery-{version}.js"></script>
<script src="/js/ws4redis.js"></script>
<script>
jQuery(document).ready(function($) {{
    var ws4redis = WS4Redis($.extend({{
        uri: 'ws://' + location.host + '/ws/{facility}?subscribe-broadcast&publish-broadcast&echo',
        receive_message: function(msg) {{ $('#billboard').append($('<p/>').text(msg)); }},
        heartbeat_msg: '{heartbeat}'
    }}, {{}}), $);
    ws4redis.send_message('jQuery ' + $.fn.jquery);
}});
</script>
<div id="billboard"></div>
"""

MODULE_PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<title>A page made of modules</title>
<script type="module">
import WS4Redis from "{url}";
window.client = new WS4Redis({{uri: `ws://${{location.host}}/ws/module?subscribe-broadcast`}});
</script>
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the site serves as files, beside its views."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copytree(STATIC, folder, dirs_exist_ok=True)
    shutil.copy(ROOT / "tests/js/recorder.js", folder)
    (folder / "page.html").write_text(PAGE)
    (folder / "mime.types").write_text("text/html html\ntext/javascript js\n")
    return folder


@pytest.fixture(scope="module")
def site(redis_server: Valkey, database: Path, files: Path) -> Iterator[UWSGI]:
    options = {"check-static": files, "mime-file": files / "mime.types", "no-orphans": True}
    settings = {
        "DATABASE": str(database),
        "LOG_LEVEL": "DEBUG",
        "WS4REDIS_HEARTBEAT": f'"{HEARTBEAT}"',
        "WS4REDIS_PROCESS_REQUEST": '"tests.site.hooks.token_as_user"',
    }
    with UWSGI(redis_server.url, options, **settings) as server:
        yield server


@pytest.fixture(autouse=True)
def same_redis(settings_of_redis: None) -> None:
    """The tests publish to the Redis of the site."""


@pytest.fixture
def facility() -> str:
    return uuid.uuid4().hex


def publish(facility: str, message: str, **audience: Any) -> None:
    RedisPublisher(facility=facility, **(audience or {"broadcast": True})).publish_message(message)


def log(window: Window) -> list[str]:
    return window.script("return log")


def wait_for_log(window: Window, *lines: str) -> None:
    """Wait until these are the last lines."""
    window.wait_until(lambda: log(window)[-len(lines) :] == [*lines], f"{lines} at the end of the log", 60)


def listen(open_window: OpenWindow, address: str, path: str, *arguments: str) -> Window:
    window = open_window(address)
    window.script("listen(...arguments)", path, *arguments)
    wait_for_log(window, "connecting", "connected")
    return window


def kill(site: Site) -> None:
    site.stop(signal.SIGKILL)
    wait_for(lambda: not accepts(site.port), "the last worker's end")


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Proxy:
    """Passes connections on to a site, until they are stalled (nothing gets through, nothing ends) or cut."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._stalls = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/page.html"
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        """Of the connections there are, not of later ones."""
        self._stalls += 1

    def cut(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                browser, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._site.port))
                self._sockets += [browser, server]
                for ends in ((browser, server), (server, browser)):
                    threading.Thread(target=self._forward, args=(*ends, self._stalls), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, stalls: int) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if stalls == self._stalls:
                    target.sendall(data)
            if stalls == self._stalls:
                target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(site: UWSGI) -> Iterator[Proxy]:
    proxy = Proxy(site)
    yield proxy
    proxy.close()


# -- the server goes and comes --


@pytest.mark.contract("13.2 WS4Redis: it reconnects; decided: but not where it would be refused again")
def test_the_server_is_killed_and_started_again(site: UWSGI, open_window: OpenWindow, facility: str) -> None:
    window = listen(open_window, site.url("/page.html"), f"{facility}?subscribe-broadcast")
    kill(site)
    window.wait_until(lambda: "disconnected 1006" in log(window), "the loss")
    publish(facility, "published while away")
    site.start()
    wait_for_log(window, "connecting", "connected", "published while away")


def test_the_server_reloads(site: UWSGI, open_window: OpenWindow, facility: str) -> None:
    window = listen(open_window, site.url("/page.html"), f"{facility}?subscribe-broadcast")
    site.send_signal(signal.SIGHUP)
    window.wait_until(lambda: log(window)[2:], "the loss")
    assert log(window)[2] == "disconnected 1012"
    wait_for_log(window, "connecting", "connected")
    publish(facility, "after the reload")
    wait_for_log(window, "connected", "after the reload")


def test_runserver_is_stopped_and_started_again(
    redis_server: Valkey, database: Path, open_window: OpenWindow, facility: str
) -> None:
    with RunServer(redis_server.url, DATABASE=str(database), DEBUG="1") as site:
        # any page of the site will do
        window = open_window(site.url("/static/js/ws4redis.js"))
        window.script((STATIC / "js/ws4redis.js").read_text())
        window.script(f"{(ROOT / 'tests/js/recorder.js').read_text()}; Object.assign(window, {{log, listen}})")
        window.script("listen(...arguments)", f"{facility}?subscribe-broadcast")
        wait_for_log(window, "connecting", "connected")
        site.stop()
        window.wait_until(lambda: log(window)[2:], "the loss")
        publish(facility, "published while away")
        site.start()
        wait_for_log(window, "connecting", "connected", "published while away")


@pytest.mark.contract("13.2 WS4Redis: after giving up it reconnects")
def test_a_stalled_connection_is_given_up(proxy: Proxy, open_window: OpenWindow, facility: str) -> None:
    window = listen(open_window, proxy.url, f"{facility}?subscribe-broadcast", HEARTBEAT)
    proxy.stall()
    publish(facility, "published while stalled")
    wait_for_log(window, "disconnected 1006", "connecting", "connected", "published while stalled")


def test_a_page_may_see_its_last_message_again(proxy: Proxy, open_window: OpenWindow, facility: str) -> None:
    """No websocket gets it twice, but a page has one after the other, and is told of each before."""
    path = f"{facility}?subscribe-broadcast"
    window = listen(open_window, proxy.url, path)
    publish(facility, "the last one")
    wait_for_log(window, "connected", "the last one")
    proxy.cut()
    wait_for_log(window, "the last one", "disconnected 1006", "connecting", "connected", "the last one")
    again = open_window(proxy.url)
    again.script("listen(...arguments)", path)
    wait_for_log(again, "connecting", "connected", "the last one")


def test_what_the_server_refuses_is_final(site: UWSGI, open_window: OpenWindow, facility: str) -> None:
    window = listen(open_window, site.url("/page.html"), f"{facility}?subscribe-broadcast&publish-broadcast")
    window.script("client.send_message('x'.repeat(4 << 20))")
    wait_for_log(window, "disconnected 1009 for good")
    assert window.script("return client.is_closed()")


# -- messages that wait --


def fill_queue(window: Window) -> None:
    texts = "Array.from({length: arguments[0]}, (_, number) => `message ${number}`)"
    window.script(f"{texts}.forEach(client.send_message)", QUEUE_LIMIT)


def queued() -> list[str]:
    return [f"message {number}" for number in range(QUEUE_LIMIT)]


def refusal(window: Window) -> str:
    return window.script("try { client.send_message('too many') } catch (error) { return error.message }")


def test_messages_wait_while_the_server_is_away(site: UWSGI, open_window: OpenWindow, facility: str) -> None:
    path = f"{facility}?subscribe-broadcast&publish-broadcast&echo"
    window = listen(open_window, site.url("/page.html"), path)
    kill(site)
    window.wait_until(lambda: "disconnected 1006" in log(window), "the loss")
    fill_queue(window)
    assert "full" in refusal(window)
    site.start()
    wait_for_log(window, "connected", *queued())


@pytest.mark.contract("13.2 WS4Redis: decided: what is sent waits while there is no connection")
def test_messages_wait_while_connecting(site: UWSGI, open_window: OpenWindow, facility: str) -> None:
    window = open_window(site.url("/page.html"))
    # all in one go: the browser opens no socket before the script has ended
    states = window.script(
        "listen(arguments[0]); const before = client.is_connecting();"
        "for (let number = 0; number < arguments[1]; number += 1) { client.send_message(`message ${number}`); }"
        "return [before, client.is_connecting()]",
        f"{facility}?subscribe-broadcast&publish-broadcast&echo",
        QUEUE_LIMIT,
    )
    assert states == [True, True]
    wait_for_log(window, "connecting", "connected", *queued())


# -- the page leaves, or wants something else --


# the browser itself closes with 1001; where it would keep the page and its socket, the script closes
LEAVING = {
    "location.reload()": "1001 ''",
    "location.href = '/counts'": "1000 'page cached'",
    "location.href = 'about:blank'": "1000 'page cached'",
}


@pytest.mark.parametrize(("how", "end"), LEAVING.items())
def test_leaving_the_page_closes_cleanly(
    site: UWSGI, open_window: OpenWindow, facility: str, how: str, end: str
) -> None:
    window = listen(open_window, site.url("/page.html"), f"{facility}?subscribe-broadcast")
    begin = len(site.log())
    window.script(how)
    opening = rf"DEBUG websocket (\w+) opens on '/ws/{facility}'"
    found = wait_for(lambda: re.search(opening, site.log()), "the opening")
    wait_for(lambda: f"DEBUG websocket {found[1]} closed with {end}" in site.log(), "the end")
    wait_for(lambda: counts(site)["connections"] == 0, "it has left")
    assert not re.search("WARNING|ERROR|Traceback", site.log()[begin:])


def test_a_page_from_the_cache_connects_again(site: UWSGI, open_window: OpenWindow, facility: str) -> None:
    window = listen(open_window, site.url("/page.html"), f"{facility}?subscribe-broadcast")
    window.open(site.url("/counts"))
    publish(facility, "published while away")
    window.script("history.back()")
    wait_for_log(
        window, "connecting", "connected", "disconnected 1000", "connecting", "connected", "published while away"
    )


def test_a_ticket_is_renewed(proxy: Proxy, files: Path, open_window: OpenWindow, facility: str) -> None:
    ticket = files / "ticket.html"
    ticket.write_text("john")
    window = open_window(proxy.url)
    window.script("listen_with_ticket(...arguments)", f"{facility}?subscribe-user", "/ticket.html")
    wait_for_log(window, "connecting", "connected")
    publish(facility, "to john", users=["john"])
    wait_for_log(window, "connected", "to john")
    ticket.write_text("bad")
    proxy.cut()
    window.wait_until(lambda: log(window).count("disconnected 1006") >= 2, "the refusal")
    publish(facility, "to mary", users=["mary"])
    ticket.write_text("mary")
    wait_for_log(window, "connecting", "connected", "to mary")


@pytest.mark.contract("13.2 WS4Redis: decided: its address may change")
def test_the_channel_is_changed(site: UWSGI, open_window: OpenWindow, facility: str) -> None:
    window = listen(open_window, site.url("/page.html"), f"{facility}-old?subscribe-broadcast")
    window.script("client.set_uri(socket_uri(arguments[0]))", f"{facility}-new?subscribe-broadcast")
    wait_for_log(window, "connecting", "connected", "disconnected 1000", "connecting", "connected")
    wait_for(lambda: counts(site)["connections"] == 1, "the old one's end")
    publish(f"{facility}-old", "to the old")
    publish(f"{facility}-new", "to the new")
    wait_for_log(window, "connected", "to the new")


# -- on all kinds of pages --


@pytest.fixture(scope="module")
def jquery(files: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The real files, as npm has them, beside the pages."""
    npm = shutil.which("npm") or pytest.skip("npm, which fetches jQuery, is not installed")
    folder = tmp_path_factory.mktemp("npm")
    packages = [f"jquery-{version}@npm:jquery@{version}" for version in JQUERIES]
    fetched = subprocess.run(
        [npm, "install", "--ignore-scripts", "--prefix", folder, *packages], capture_output=True, text=True, timeout=300
    )
    if fetched.returncode:
        pytest.skip(f"npm could not fetch jQuery: {fetched.stderr}")
    for version in JQUERIES:
        shutil.copy(folder / f"node_modules/jquery-{version}/dist/jquery.js", files / f"jquery-{version}.js")


@pytest.mark.contract(
    "13.2 WS4Redis: decided: jQuery may be passed, and is not used",
    "differs from 0.6: `WS4Redis` and jQuery",
)
@pytest.mark.parametrize("version", JQUERIES)
def test_with_jquery(
    jquery: None, site: UWSGI, files: Path, open_window: OpenWindow, facility: str, version: str
) -> None:
    page = files / f"with-jquery-{version}.html"
    page.write_text(JQUERY_PAGE.format(version=version, facility=facility, heartbeat=HEARTBEAT))
    window = open_window("about:blank")
    window.console()
    window.open(site.url(f"/{page.name}"))
    window.wait_for_text("#billboard p", f"jQuery {version}")
    publish(facility, "<b>hello</b>")
    window.wait_for_text("#billboard p", "<b>hello</b>")
    assert [line for line in window.console() if "favicon" not in line] == []


class FollowingImports(ManifestStaticFilesStorage):
    support_js_module_import_aggregation = True


@pytest.mark.contract(
    "asks javascript: #160, #136, django-angular #267: without jQuery, as a module",
    "asks javascript: #168: another app has a file of that name",
)
@pytest.mark.parametrize("storage", [ManifestStaticFilesStorage, FollowingImports])
def test_the_module_as_collected(
    site: UWSGI, files: Path, open_window: OpenWindow, storage: type[ManifestStaticFilesStorage]
) -> None:
    folder = files / storage.__name__
    backends = {"staticfiles": {"BACKEND": f"{storage.__module__}.{storage.__qualname__}"}}
    with override_settings(STATIC_ROOT=folder, STATIC_URL=f"/{folder.name}/", STORAGES=backends):
        call_command("collectstatic", interactive=False, verbosity=0)
        urls = [staticfiles_storage.url(name) for name in ("ws4redis/js/ws4redis.module.js", "ws4redis/js/ws4redis.js")]
    assert all(re.search(r"\.\w{12}\.js$", url) for url in urls)
    if storage.support_js_module_import_aggregation:
        # as with WhiteNoise's WHITENOISE_KEEP_ONLY_HASHED_FILES
        (folder / "ws4redis/js/ws4redis.js").unlink()
    # whatever another app has under the historic name
    (folder / "js/ws4redis.js").write_text("not ours")
    (files / f"{folder.name}.html").write_text(MODULE_PAGE.format(url=urls[0]))
    window = open_window(site.url(f"/{folder.name}.html"))
    window.wait_until(lambda: window.script("return client.is_connected()"), "the connection")
    loaded = window.script("return performance.getEntriesByType('resource').map(each => new URL(each.name).pathname)")
    # without that support the module loads the script by its plain name
    script = urls[1] if storage.support_js_module_import_aggregation else f"/{folder.name}/ws4redis/js/ws4redis.js"
    assert {urls[0], script} <= set(loaded)


@pytest.mark.contract(
    "2 package: the script is js/ws4redis.js; decided: it has a path of its own, too",
    "asks javascript: #168: another app has a file of that name",
)
def test_both_paths_are_one_script() -> None:
    for name in ("ws4redis.js", "ws4redis.d.ts"):
        assert (STATIC / "ws4redis/js" / name).samefile(STATIC / "js" / name)


def test_all_files_are_packed() -> None:
    patterns = re.findall(r'"(static/.+?)"', (ROOT / "setup.py").read_text())
    served = [path.relative_to(STATIC.parent) for path in STATIC.rglob("*") if not path.is_dir()]
    assert len(served) == 6
    for path in served:
        assert any(fnmatch(str(path), pattern) and len(path.parts) == len(Path(pattern).parts) for pattern in patterns)
