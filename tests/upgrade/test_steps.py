"""Admission, step by step, in this process: routes, authenticators and what each adds to an upgrade."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.test import RequestFactory, override_settings

import tests.django_setup  # noqa: F401
from tests.test_upgrade import HANDSHAKE
from ws4redis.auth.authenticators import Authenticator
from ws4redis.core.identity import ANONYMOUS, Identity
from ws4redis.exceptions import UpgradeRefused
from ws4redis.loop.endpoint import Endpoint
from ws4redis.upgrade.responses import Response
from ws4redis.upgrade.steps import STEPS, Maker, Upgrade, admit
from ws4redis.wsgi_server import WebsocketWSGIServer


class Threads:
    """Stands for the runtime: counts the jobs."""

    def __init__(self) -> None:
        self.jobs = 0

    def run_in_thread(self, function: Any, *args: Any) -> Any:
        self.jobs += 1
        return function(*args)


class Server(WebsocketWSGIServer):
    """Nobody gets past its last step."""

    process: Any = SimpleNamespace(check_redis=lambda: None, release=lambda keys: None)

    def __init__(self) -> None:
        super().__init__()
        self.runtime: Any = Threads()
        self.limits: list[Any] = []
        self.process = SimpleNamespace(**vars(Server.process), acquire=self.acquire, health=lambda: (True, {"pid": 7}))

    def acquire(self, limits: Any) -> tuple[str, ...]:
        self.limits.append(limits)
        return tuple(limits)

    def upgrade_websocket(self, environ: Any, start_response: Any) -> Any:
        raise UpgradeRefused(503, "so far so good")


def environ_of(path: str = "/ws/news", method: str = "GET", **changed: str | None) -> dict[str, Any]:
    """A good handshake; None leaves a header out."""
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HANDSHAKE.items()}
    environ = RequestFactory().generic(method, path).environ | headers | changed
    return {name: value for name, value in environ.items() if value is not None}


def answer(server: Server, environ: dict[str, Any]) -> tuple[str, str]:
    told: list[str] = []
    body = server(environ, lambda status, headers: told.append(status))
    return told[0], b"".join(body).decode()


def admitted(server: Server, **changed: str | None) -> Upgrade:
    upgrade = Upgrade(server, environ_of(**changed))
    assert admit(upgrade) is None
    return upgrade


def test_the_names_of_the_steps() -> None:
    names = [step.__name__ for step in STEPS]
    assert names[:6] == ["route", "handshake", "offered_credential", "origin", "redis", "extensions"]
    assert names[-1] == "limits"


# routes


class Counting(Endpoint):
    closed = 0

    def on_close(self, code: int, reason: str) -> None:
        self.closed += 1


def plain(path: str) -> dict[str, Any]:
    return environ_of(path, HTTP_UPGRADE=None, HTTP_CONNECTION=None)


HEALTH: dict[str, tuple[dict[str, Any], str]] = {
    "asked": (plain("/ws/health"), '200 OK {\n "pid": 7\n}\n'),
    "asked with HEAD": (environ_of("/ws/health", "HEAD", HTTP_UPGRADE=None), "200 OK "),
    "another path": (plain("/ws/other"), "400 Bad Request"),
    "another method": (environ_of("/ws/health", "POST", HTTP_UPGRADE=None), "400 Bad Request"),
    "a websocket": (environ_of("/ws/health"), "503 Service Unavailable so far"),
}


@pytest.mark.parametrize(("environ", "begin"), HEALTH.values(), ids=HEALTH)
def test_health_is_a_route(environ: dict[str, Any], begin: str) -> None:
    with override_settings(WS4REDIS_HEALTH_PATH="health"):
        assert " ".join(answer(Server(), environ)).startswith(begin)


def test_the_first_route_that_knows_a_request_serves_it() -> None:
    server, endpoints, order = Server(), [Counting(), Counting()], list[str]()

    def one(request: HttpRequest) -> Any:
        order.append("one")
        return None if request.path_info == "/ws/news" else Maker(lambda request: endpoints[0])

    def other(request: HttpRequest) -> Any:
        order.append("other")
        return Maker(lambda request: endpoints[1], site_decides=False)

    server.routes[:0] = [one, other]
    for path, endpoint in (("/ws/chat", endpoints[0]), ("/ws/news", endpoints[1])):
        assert answer(server, environ_of(path)) == ("503 Service Unavailable", "so far so good\n")
        assert endpoint.closed == 1
    assert order == ["one", "one", "other"]


# what a maker says, what is sent -> the status, and the jobs in threads
MAKERS: list[tuple[tuple[bool, ...], dict[str, str | None], str, int]] = [
    ((), {}, "101 or so", 1),
    ((False,), {}, "101 or so", 0),
    ((), {"HTTP_ORIGIN": "https://evil.example"}, "403 Forbidden", 0),
    ((False,), {"HTTP_ORIGIN": "https://evil.example"}, "101 or so", 0),
    ((False,), {"HTTP_ORIGIN": "https://evil.example", "HTTP_COOKIE": "a=b"}, "403 Forbidden", 0),
]


@pytest.mark.parametrize(("said", "sent", "status", "jobs"), MAKERS)
def test_a_maker_that_says_nothing_is_code_of_the_site(
    said: tuple[bool, ...], sent: dict[str, str | None], status: str, jobs: int
) -> None:
    server, seen = Server(), list[bool]()

    def make(request: HttpRequest) -> Any:
        seen.append(hasattr(request, "user"))
        return Counting()

    server.routes.insert(0, lambda request: Maker(make, *said))
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        told = answer(server, environ_of(**sent))[0].replace("503 Service Unavailable", "101 or so")
    assert (told, server.runtime.jobs) == (status, jobs)
    assert seen == ([jobs == 1] if told == "101 or so" else [])


def test_a_route_may_answer_by_itself() -> None:
    server = Server()
    server.routes.insert(0, lambda request: Response(404, b"gone\n"))
    assert answer(server, {**plain("/ws/news"), "REQUEST_METHOD": "PUT"}) == ("404 Not Found", "gone\n")
    assert server.limits == []


@pytest.mark.parametrize(("error", "status"), [(PermissionDenied(), "403 Forbidden"), (None, "404 Not Found")])
def test_a_route_may_reject_and_where_none_knows_there_is_nothing(error: Exception | None, status: str) -> None:
    def route(request: HttpRequest) -> Any:
        if error is not None:
            raise error

    server = Server()
    server.routes = [route]
    assert answer(server, environ_of())[0] == status


# authenticators


class Token(Authenticator):
    """One that was added: it takes a header for the user, and looks nothing up."""

    needs_thread = False

    def applies(self, request: HttpRequest, site_decides: bool) -> bool:
        return "HTTP_X_TOKEN" in request.META

    def authenticate(self, request: Any) -> None:
        if request.META["HTTP_X_TOKEN"] == "bad":
            raise PermissionDenied
        request.user = SimpleNamespace(is_authenticated=True, pk=7, get_username=lambda: "mary")


class Forgetful(Authenticator):
    """One that was added, and does not say when it applies."""

    def authenticate(self, request: HttpRequest) -> None:
        raise PermissionDenied


def with_first(*authenticators: Authenticator) -> Server:
    server = Server()
    server.authenticators[:0] = authenticators
    return server


MARY = Identity("mary", user_pk="7")

# what is sent -> who it is, and the jobs in threads; of settings that give the site no say
SENT: dict[str, tuple[dict[str, str | None], Identity, int]] = {
    "nothing": ({}, ANONYMOUS, 0),
    "another cookie": ({"HTTP_COOKIE": "a=b"}, ANONYMOUS, 0),
    "a token": ({"HTTP_X_TOKEN": "good"}, MARY, 0),
    "a session": ({"HTTP_COOKIE": "sessionid=unknown"}, ANONYMOUS, 1),
    "both": ({"HTTP_X_TOKEN": "good", "HTTP_COOKIE": "sessionid=unknown"}, MARY, 0),
}


@pytest.mark.parametrize(("sent", "identity", "jobs"), SENT.values(), ids=SENT)
def test_who_it_is_and_whether_that_takes_a_thread(sent: dict[str, str | None], identity: Identity, jobs: int) -> None:
    server = with_first(Token())
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        upgrade = admitted(server, **sent)
    assert (upgrade.identity, server.runtime.jobs) == (identity, jobs)
    assert server.limits == [{"user mary": 2000} if identity.username else {}]
    assert hasattr(upgrade.request, "session") == (jobs == 1), "not even an empty session is made"


def test_where_the_site_decides_there_is_a_thread_whoever_authenticates() -> None:
    server = with_first(Token())
    seen: list[Any] = []

    def allow(request: HttpRequest, channels: list[str]) -> list[str]:
        seen.append((str(request.user) if not hasattr(request.user, "pk") else request.user.pk, server.runtime.jobs))
        return channels

    with override_settings(
        WS4REDIS_ALLOWED_CHANNELS=allow, SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"
    ):
        admitted(server, HTTP_X_TOKEN="good")
        admitted(server)
    assert seen == [(7, 1), (None, 2)]


# the authenticators that were added, what is sent -> status
CLOSED: dict[str, tuple[list[Authenticator], dict[str, str | None], str]] = {
    "one that was forgotten": ([Forgetful()], {}, "403 Forbidden"),
    "one that was forgotten, behind the others": ([Token(), Forgetful()], {}, "403 Forbidden"),
    "one that does nothing": ([Authenticator()], {}, "500 Internal Server Error"),
    "a credential that is no good": ([Token()], {"HTTP_X_TOKEN": "bad"}, "403 Forbidden"),
    "no credential": ([Token()], {}, "503 Service Unavailable"),
}


@pytest.mark.parametrize(("added", "sent", "status"), CLOSED.values(), ids=CLOSED)
def test_nobody_gets_past_an_authenticator(added: list[Authenticator], sent: dict[str, Any], status: str) -> None:
    server = with_first(*added)
    assert answer(server, environ_of(**sent))[0] == status


def test_one_that_fails_to_say_whether_it_applies_rejects() -> None:
    class Failing(Authenticator):
        def applies(self, request: HttpRequest, site_decides: bool) -> bool:
            raise LookupError

    assert answer(with_first(Failing()), environ_of())[0] == "500 Internal Server Error"


# the identity


def test_the_identity_is_taken_once() -> None:
    """The subscriber, the log and the limits use the same; a hook may still change who it is."""
    taken: list[int] = []

    class User:
        is_authenticated, pk = True, 7

        def get_username(self) -> str:
            taken.append(1)
            return "mary"

    def allow(request: Any, channels: list[str]) -> list[str]:
        request.user = User()
        return channels

    with override_settings(WS4REDIS_PROCESS_REQUEST=lambda request: None, WS4REDIS_ALLOWED_CHANNELS=allow):
        upgrade = Upgrade(Server(), environ_of("/ws/news?subscribe-user&subscribe-group"))
        assert admit(upgrade) is None
    assert upgrade.identity == MARY
    assert upgrade.limit_keys == ("user mary",)
    assert len(taken) == 1
