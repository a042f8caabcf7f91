"""Each recipe of ``docs/howto/deploy.md``: the real server, and the very files that the page shows.

What is changed in the files is said in ``tests.recipes.servers``. All recipes run beside each other, and their idle
minute is the same one.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from http.cookies import SimpleCookie
from typing import NamedTuple

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.recipes.servers import (
    CHANGED,
    DEPLOY,
    Apache,
    Haproxy,
    Instance,
    LimitedNginx,
    Machine,
    ManualApacheUWSGI,
    ManualEmperor,
    ManualUWSGI,
    Nginx,
    PatchedManualUWSGI,
    Proxy,
    Vassal,
    program,
)
from tests.servers import ROOT, Server, Valkey, wait_for

HOST = "chat.example.com"
#: proxies and servers are on 127.0.0.1
CLIENT = "127.0.0.2"
#: more than any server's default of a minute
IDLE_SECONDS = 65


class Recipe(NamedTuple):
    """Where one is found, and what is expected of it."""

    #: the proxy, and the file by which its port is known
    proxy: type[Proxy] | None
    file: str = ""
    #: what the websocket's uWSGI takes for the host, without its port, and for the client's address
    host: str = HOST
    address: str = CLIENT


RECIPES = {
    "nginx": Recipe(Nginx, "nginx.conf"),
    "nginx, uwsgi_pass": Recipe(Nginx, "nginx-uwsgi.conf"),
    "the manual's nginx": Recipe(Nginx, "manual_nginx.conf", host="localhost", address=""),
    "Apache": Recipe(Apache, "apache.conf"),
    "the manual's Apache": Recipe(Apache, "manual_apache.conf", host="127.0.0.1"),
    "haproxy": Recipe(Haproxy, "haproxy.cfg"),
    "emperor": Recipe(None),
    "uWSGI alone": Recipe(None),
    "the manual's emperor": Recipe(None),
    "the manual's uWSGI": Recipe(None),
    "the manual's uWSGI, patched": Recipe(None),
}
#: those that are warned: of http, late patching, a small buffer
WARNED = {name for name in RECIPES if name.startswith("the manual's ")} - {"the manual's nginx"}
every_recipe = pytest.mark.parametrize("name", RECIPES)


# -- John, on another machine --


class Answer(NamedTuple):
    status: int
    text: str
    cookies: SimpleCookie

    def cookie(self, name: str) -> str:
        assert name in self.cookies, f"no cookie {name}: {self.status} {self.text}"
        return f"{name}={self.cookies[name].value}"


class Address(NamedTuple):
    """Where John's browser finds the site."""

    port: int
    tls: bool = False
    client: str = CLIENT

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{HOST}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(self.client, 0))

    def ask(self, path: str, cookies: str = "", forged: dict[str, str] | None = None, **form: str) -> Answer:
        """A page, or with a form its POST.

        Args:
            forged: headers of a visitor who does a proxy's work.
        """
        browser = http.client.HTTPConnection(HOST)
        browser.sock = not_verified().wrap_socket(self.connect()) if self.tls else self.connect()
        headers = {"Cookie": cookies, **(forged or {})}
        if form:
            headers |= {"Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded"}
        browser.request("POST" if form else "GET", path, urllib.parse.urlencode(form), headers)
        response = browser.getresponse()
        answer = Answer(response.status, response.read().decode(), SimpleCookie())
        for each in response.headers.get_all("Set-Cookie", []):
            answer.cookies.load(each)
        browser.close()
        return answer

    def log_in(self) -> str:
        """John's cookie."""
        page = self.ask("/accounts/login/")
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        form = {"username": "john", "password": "secret", "csrfmiddlewaretoken": token}
        return self.ask("/accounts/login/", page.cookie("csrftoken"), **form).cookie("sessionid")

    def open(
        self, facility: str, cookies: str, origin: str | None = None, more: dict[str, str] | None = None
    ) -> ClientConnection:
        """A websocket, which answers pings by itself as a browser's does."""
        return connect(
            f"{'wss' if self.tls else 'ws'}://{HOST}/ws/{facility}?subscribe-user",
            sock=self.connect(),
            ssl=not_verified() if self.tls else None,
            origin=origin or self.origin,
            additional_headers={"Cookie": cookies, **(more or {})},
            ping_interval=None,
            open_timeout=30,
        )

    def open_again(self, facility: str, cookies: str) -> ClientConnection:
        """A websocket as soon as there may be one: uWSGI is up, and haproxy has seen it."""

        def opened() -> ClientConnection | None:
            try:
                return self.open(facility, cookies)
            except (OSError, EOFError, InvalidHandshake):
                return None

        return wait_for(opened, "a websocket")


def not_verified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# -- servers --


class Running(NamedTuple):
    recipe: Recipe
    pages: Address
    websockets: Address
    #: the uWSGI that serves the websockets
    backend: Server | Vassal


class Deployment:
    """All recipes at once, but those whose proxy is not installed."""

    def __init__(self, stack: ExitStack, settings: dict[str, str]) -> None:
        self.stack, self.settings = stack, settings
        self.running: dict[str, Running] = {}
        #: where the two uWSGI are that all proxies have behind them
        self.pair = self.machine()
        self.start_pair()
        self.start_emperor()
        self.start_manual_emperor()
        self.add("uWSGI alone", self.instance(self.machine(), "alone"))
        self.add("the manual's uWSGI", stack.enter_context(ManualUWSGI("", **settings)))
        self.add("the manual's uWSGI, patched", stack.enter_context(PatchedManualUWSGI("", **settings)))

    def start_pair(self) -> None:
        pages, websockets = self.instance(self.pair, "django"), self.instance(self.pair, "websocket")
        for kind in (Nginx, Apache, Haproxy):
            if program(kind.program):
                ports = self.stack.enter_context(kind(self.pair)).ports
                for name, recipe in RECIPES.items():
                    if recipe.proxy is kind:
                        address = Address(ports[recipe.file])
                        self.running[name] = Running(recipe, address, address, websockets)
        if elsewhere := self.running.get("the manual's Apache"):
            # it passes websockets on and nothing else
            backend = self.stack.enter_context(ManualApacheUWSGI(self.pair, self.settings))
            self.running["the manual's Apache"] = elsewhere._replace(pages=Address(pages.port), backend=backend)

    def start_emperor(self) -> None:
        machine = self.machine()
        emperor = self.instance(machine, "emperor")
        self.add(
            "emperor", emperor, Vassal(emperor, machine.folder / "websocket.ini", machine.folder / "websocket.uwsgi")
        )

    def start_manual_emperor(self) -> None:
        emperor = self.stack.enter_context(ManualEmperor(self.machine(), self.settings))
        vassal = Vassal(emperor, emperor.folder / "vassals/wsserver.ini", emperor.folder / "web.socket")
        self.add("the manual's emperor", emperor, vassal)

    def machine(self) -> Machine:
        machine = Machine()
        self.stack.callback(machine.remove)
        return machine

    def instance(self, machine: Machine, name: str) -> Instance:
        return self.stack.enter_context(Instance(machine, name, self.settings))

    def add(self, name: str, server: Server, backend: Vassal | None = None) -> None:
        address = Address(server.port)
        self.running[name] = Running(RECIPES[name], address, address, backend or server)

    def __getitem__(self, name: str) -> Running:
        if name not in self.running:
            pytest.skip(f"{RECIPES[name].proxy.program} is not installed")
        return self.running[name]


@pytest.fixture(scope="module")
def settings(redis_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of all sites; their database has the example's users."""
    environment = {
        "REDIS_URL": redis_server.url,
        "DATABASE": str(tmp_path_factory.mktemp("recipes") / "chatserver.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "tests.recipes.settings",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "examples")]),
    }
    for command in ("migrate", "loaddata data"):
        line = [sys.executable, "-m", "django", *command.split(), "--verbosity", "0"]
        subprocess.run(line, env={**os.environ, **environment}, check=True)
    return environment


@pytest.fixture(scope="module")
def deployment(settings: dict[str, str]) -> Iterator[Deployment]:
    with ExitStack() as stack:
        yield Deployment(stack, settings)


class Visit(NamedTuple):
    """John's cookie, and a websocket that he opened at that time."""

    cookies: str
    websocket: ClientConnection
    since: float


@pytest.fixture(scope="module")
def visits(deployment: Deployment) -> Iterator[dict[str, Visit]]:
    """One for each recipe; its websocket is left alone for a minute."""
    with ExitStack() as stack:
        visits = {}
        for name, (_, pages, websockets, _) in deployment.running.items():
            cookies = pages.log_in()
            websocket = stack.enter_context(websockets.open_again(facility("idle", name), cookies))
            visits[name] = Visit(cookies, websocket, time.monotonic())
        yield visits


def facility(when: str, name: str) -> str:
    return re.sub(r"\W+", "-", f"{when} {name}")


@pytest.fixture
def to_john(redis_server: Valkey) -> Iterator[ToJohn]:
    yield ToJohn(redis_server)


class ToJohn:
    def __init__(self, redis_server: Valkey) -> None:
        self.client = redis_server.client()

    def arrives(self, websocket: ClientConnection, facility: str) -> None:
        """A message to John is the next thing that his websocket hears."""
        assert self.client.publish(f"recipes:user:john:{facility}", f"to {facility}") == 1
        assert websocket.recv(20) == f"to {facility}"


# -- what each recipe shows --


@pytest.mark.contract("asks deployment: #71, #223, #133: 502 behind nginx")
@every_recipe
def test_a_user_message_arrives(deployment: Deployment, visits: dict[str, Visit], to_john: ToJohn, name: str) -> None:
    here = facility("now", name)
    with deployment[name].websockets.open(here, visits[name].cookies) as websocket:
        to_john.arrives(websocket, here)


@every_recipe
def test_what_is_passed_on(deployment: Deployment, visits: dict[str, Visit], redis_server: Valkey, name: str) -> None:
    """``tests.recipes.settings`` has written down how the upgrade looked where it arrived."""
    running = deployment[name]
    seen = json.loads(redis_server.client().get(f"seen:{facility('idle', name)}") or "{}")
    assert seen == {
        "host": running.recipe.host,
        "origin": running.websockets.origin,
        "address": running.recipe.address,
        "user": "john",
    }


@every_recipe
def test_pages_of_other_sites_are_refused(deployment: Deployment, visits: dict[str, Visit], name: str) -> None:
    address = deployment[name].websockets
    with pytest.raises(InvalidStatus) as refused, address.open("a", visits[name].cookies, "http://evil.example"):
        pass
    assert refused.value.response.status_code == 403


@every_recipe
def test_what_is_no_websocket_is_answered(deployment: Deployment, name: str) -> None:
    address = deployment[name].websockets
    assert address.ask("/ws/health").status == 200
    assert address.ask("/ws/foobar").status == 400


behind_a_proxy = pytest.mark.parametrize("name", ["nginx", "nginx, uwsgi_pass", "Apache", "haproxy"])
#: uWSGI takes all of them for the first
spellings = pytest.mark.parametrize("spelling", ["X-Forwarded-", "X_Forwarded_", "X-Forwarded_", "X_Forwarded-"])


@behind_a_proxy
@spellings
def test_nobody_forges_the_scheme(deployment: Deployment, name: str, spelling: str) -> None:
    page = deployment[name].pages.ask("/chat/", forged={"X-Forwarded-Proto": "https", f"{spelling}Proto": "https"})
    assert page.status == 403 or f'"ws://{HOST}/ws/' in page.text


@behind_a_proxy
@spellings
def test_nobody_forges_an_address(
    deployment: Deployment, visits: dict[str, Visit], redis_server: Valkey, name: str, spelling: str
) -> None:
    """Who is counted is the client, however often they say that they are somebody else."""
    here, address = facility(spelling, name), deployment[name].websockets
    # proxies write theirs where the first one stands
    forged = {"X-Forwarded-For": "8.8.8.8", f"{spelling}For": "9.9.9.9"}
    try:
        with address.open(here, visits[name].cookies, more=forged):
            seen = json.loads(redis_server.client().get(f"seen:{here}") or "{}")
            assert seen["address"] == CLIENT
    except InvalidStatus as refused:
        assert (refused.response.status_code, spelling != "X-Forwarded-") == (403, True)


@pytest.mark.parametrize("kind", [Nginx, Apache, Haproxy])
def test_tls(deployment: Deployment, to_john: ToJohn, certificate: str, kind: type[Proxy]) -> None:
    """The page knows that its websocket must be safe, too; and a safe page's form is accepted."""
    if program(kind.program) is None:
        pytest.skip(f"{kind.program} is not installed")
    with kind(deployment.pair, certificate) as proxy:
        for name in sorted({path.name for path in proxy.sites} & {path.name for path in DEPLOY.iterdir()}):
            address = Address(proxy.ports[name], tls=True)
            assert f"wss://{HOST}/ws/" in address.ask("/chat/", forged={"X-Forwarded-Proto": "http"}).text
            with address.open_again(facility("tls", name), address.log_in()) as websocket:
                to_john.arrives(websocket, facility("tls", name))


@pytest.mark.parametrize("kind", [LimitedNginx, Haproxy])
def test_one_address_has_so_many_websockets(
    deployment: Deployment, visits: dict[str, Visit], kind: type[Proxy]
) -> None:
    if program(kind.program) is None:
        pytest.skip(f"{kind.program} is not installed")
    with ExitStack() as stack:
        if kind is LimitedNginx:
            port = stack.enter_context(kind(deployment.pair)).ports["nginx.conf"]
        else:
            port = deployment["haproxy"].websockets.port
        one, other = (Address(port, client=client) for client in ("127.0.0.3", "127.0.0.4"))

        def refused(address: Address) -> int | None:
            try:
                stack.enter_context(address.open("limited", next(iter(visits.values())).cookies))
            except InvalidStatus as error:
                return error.response.status_code
            return None

        assert [refused(one) for _ in range(50)] == [None] * 50
        assert refused(one) == 429
        assert one.ask("/chat/").status == 200, "pages are not counted"
        assert refused(other) is None


@pytest.mark.contract("asks deployment: #186, #56, #123, #10: idle websockets are cut off")
@every_recipe
def test_an_idle_minute(deployment: Deployment, visits: dict[str, Visit], to_john: ToJohn, name: str) -> None:
    assert deployment[name]
    visit = visits[name]
    time.sleep(max(0, visit.since + IDLE_SECONDS - time.monotonic()))
    to_john.arrives(visit.websocket, facility("idle", name))


class Restart(NamedTuple):
    """What John saw of it: close codes, and what proxies said while there was no uWSGI."""

    codes: dict[str, int | None]
    statuses: dict[str, int]


@pytest.fixture(scope="module")
def restart(deployment: Deployment, visits: dict[str, Visit]) -> Restart:
    """All uWSGI that serve websockets stop and start."""
    codes, statuses = {}, {}
    backends = {id(running.backend): running.backend for running in deployment.running.values()}.values()
    for backend in backends:
        backend.stop()
    for name, running in deployment.running.items():
        codes[name] = close_code(visits[name].websocket)
        if running.recipe.proxy:
            statuses[name] = running.websockets.ask("/ws/health").status
    for backend in backends:
        backend.start()
    return Restart(codes, statuses)


def close_code(websocket: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed) as closed:
        websocket.recv(20)
    return closed.value.rcvd.code if closed.value.rcvd else None


@every_recipe
def test_reconnect_after_a_restart(
    deployment: Deployment, visits: dict[str, Visit], restart: Restart, to_john: ToJohn, name: str
) -> None:
    address, here = deployment[name].websockets, facility("again", name)
    assert restart.codes[name] == 1001
    if deployment[name].recipe.proxy:
        assert restart.statuses[name] in (502, 503)
    with address.open_again(here, visits[name].cookies) as websocket:
        to_john.arrives(websocket, here)


@pytest.mark.parametrize("name", ["nginx", "emperor", "uWSGI alone"])
def test_reload(deployment: Deployment, visits: dict[str, Visit], restart: Restart, to_john: ToJohn, name: str) -> None:
    """As ``systemctl reload`` does, or for a vassal a touch of its file."""
    _, _, address, backend = deployment[name]
    with address.open("before", visits[name].cookies) as websocket:
        backend.reload()
        assert close_code(websocket) == 1012
    with address.open_again("after", visits[name].cookies) as websocket:
        to_john.arrives(websocket, "after")


@pytest.mark.contract("asks scale: #72: under uWSGI's emperor")
def test_the_emperor_reloads(
    deployment: Deployment, visits: dict[str, Visit], restart: Restart, to_john: ToJohn
) -> None:
    _, _, address, vassal = deployment["emperor"]
    cookies = visits["emperor"].cookies
    with address.open("before", cookies) as websocket:
        vassal.emperor.reload()
        close_code(websocket)
    with address.open_again("after", cookies) as websocket:
        to_john.arrives(websocket, "after")


@every_recipe
def test_nothing_is_wrong_in_the_log(deployment: Deployment, visits: dict[str, Visit], name: str) -> None:
    log = deployment[name].backend.log()
    assert "Traceback" not in log
    assert ("options should be changed" in log) == (name in WARNED)


# -- the files --


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_has_no_mistake(deployment: Deployment) -> None:
    unit = deployment.pair.folder / "chatserver@.service"
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    # what it does not know it names, and goes on
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_file_is_run_and_shown() -> None:
    files = {path.name for path in DEPLOY.iterdir()}
    page = (ROOT / "docs/howto/deploy.md").read_text()
    assert files == {name for name in CHANGED if not name.startswith("manual_")}
    assert files == set(re.findall(r"\{literalinclude\} ../../examples/deploy/(\S+)", page))
