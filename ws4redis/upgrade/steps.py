"""Admission: the steps by which a request becomes a websocket, or gets the HTTP status that says why not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple, Protocol

from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import Http404, HttpRequest

from ws4redis.auth.authenticators import Authenticator
from ws4redis.auth.identity import identity_once
from ws4redis.auth.limits import connection_limits
from ws4redis.auth.origin import check_origin
from ws4redis.auth.permissions import hook
from ws4redis.core import channels
from ws4redis.core.identity import Identity
from ws4redis.exceptions import UpgradeRefused
from ws4redis.loop.connection import Connection
from ws4redis.loop.endpoint import Endpoint
from ws4redis.loop.process import LoopProcess
from ws4redis.protocol.deflate import Agreement, Options, agree
from ws4redis.protocol.handshake import HEADERS, Handshake, read_handshake, select_subprotocol
from ws4redis.runtime.port import Runtime
from ws4redis.settings import Options as ServerOptions
from ws4redis.upgrade.responses import Environ, Opening, Response
from ws4redis.websocket import WebSocket

logger = logging.getLogger("django.request")


class Maker(NamedTuple):
    """Makes what answers on a websocket."""

    #: keeps nothing of the request
    make: Callable[[HttpRequest], Endpoint]
    #: whether code of the site checks permissions: then pages of other sites are rejected, each request has a user
    #: and a session, and the steps run in a thread
    site_decides: bool = True


#: returns the maker of an endpoint or an HTTP answer; None where the request is for another route
Route = Callable[[HttpRequest], Maker | Response | None]

#: the headers of a handshake -> what WSGI calls them
_HANDSHAKE_HEADERS = {name: f"HTTP_{name.replace('-', '_').upper()}" for name in HEADERS}


class Server(Protocol):
    """What the steps ask of the server."""

    runtime: Runtime
    #: the first that does not return None serves a request
    routes: list[Route]
    #: the first that applies to a request identifies its user
    authenticators: list[Authenticator]
    options: ServerOptions

    @property
    def process(self) -> LoopProcess: ...

    def assure_protocol_requirements(self, environ: Environ) -> Handshake | None: ...


class Upgrade:
    """A request on its way to a websocket: each step adds what it has found out, in this order."""

    request: HttpRequest
    maker: Maker
    handshake: Handshake
    subprotocol: str | None
    #: None where none applies: then the client is anonymous, and nothing is looked up
    authenticator: Authenticator | None
    compression: tuple[Agreement, Options] | None
    endpoint: Endpoint
    identity: Identity
    limit_keys: tuple[str, ...] = ()

    def __init__(self, server: Server, environ: Environ) -> None:
        self.server = server
        self.environ = environ


#: returns an HTTP answer to end here, None to go on; raises to reject
Step = Callable[[Upgrade], Response | None]


def route(upgrade: Upgrade) -> Response | None:
    """Find the route. Before the handshake, for a route may answer a request that asks for no websocket."""
    # the WSGI server may use its dictionary again, for another client
    upgrade.request = WSGIRequest({**upgrade.environ, "wsgi.input": BytesIO()})
    for each in upgrade.server.routes:
        found = each(upgrade.request)
        if isinstance(found, Response):
            return found
        if found is not None:
            upgrade.maker = found
            return None
    raise Http404


def handshake(upgrade: Upgrade) -> None:
    """The request line, the headers and the URL: 400, 404, 414, 426."""
    environ = upgrade.environ
    # one that was written for django-websocket-redis returns nothing
    upgrade.handshake = upgrade.server.assure_protocol_requirements(environ) or handshake_of(environ)
    _check_url(environ, upgrade.request.path_info)
    upgrade.subprotocol = select_subprotocol(upgrade.handshake.subprotocols, hook(upgrade.server.options.subprotocol))


def offered_credential(upgrade: Upgrade) -> None:
    """Find the authenticator."""
    upgrade.authenticator = None
    for each in upgrade.server.authenticators:
        if each.applies(upgrade.request, upgrade.maker.site_decides):
            upgrade.authenticator = each
            break


def origin(upgrade: Upgrade) -> None:
    """A page of another site: 403."""
    check_origin(upgrade.request, upgrade.maker.site_decides, upgrade.server.options.allowed_origins)


def redis(upgrade: Upgrade) -> None:
    """Redis is away: 503, before anything is looked up."""
    upgrade.server.process.check_redis()


def extensions(upgrade: Upgrade) -> None:
    """Agree on compression, where the client offers it and the site wants it."""
    wanted, offered = upgrade.server.options.deflate, upgrade.handshake.extensions
    upgrade.compression = None
    if wanted and offered:
        options = Options() if wanted is True else Options(**wanted)
        agreement = agree(offered, options)
        if agreement is not None:
            upgrade.compression = agreement, options


def authenticate(upgrade: Upgrade) -> None:
    """Find the user and the session."""
    if upgrade.authenticator is not None:
        upgrade.authenticator.authenticate(upgrade.request)


def permissions(upgrade: Upgrade) -> None:
    """Make the endpoint, for which the site's code is asked: 403, or what it raises."""
    upgrade.endpoint = upgrade.maker.make(upgrade.request)
    upgrade.identity = identity_once(upgrade.request)


def limits(upgrade: Upgrade) -> None:
    """Too many websockets of this user, this address or this process: 429, 503."""
    keys = connection_limits(upgrade.request, upgrade.identity, upgrade.server.options)
    upgrade.limit_keys = upgrade.server.process.acquire(keys)


def where_it_may_block(*steps: Callable[[Upgrade], None]) -> Step:
    """These steps as one: in a thread, unless nothing is looked up and no code of the site is called."""

    def take_all(upgrade: Upgrade) -> None:
        for step in steps:
            step(upgrade)

    def with_database(upgrade: Upgrade) -> None:
        close_old_connections()
        try:
            take_all(upgrade)
        finally:
            close_old_connections()

    def run(upgrade: Upgrade) -> None:
        authenticator = upgrade.authenticator
        if upgrade.maker.site_decides or (authenticator is not None and authenticator.needs_thread):
            upgrade.server.runtime.run_in_thread(with_database, upgrade)
        else:
            take_all(upgrade)

    return run


STEPS: tuple[Step, ...] = (
    route,
    handshake,
    offered_credential,
    origin,
    redis,
    extensions,
    where_it_may_block(authenticate, permissions),
    limits,
)


def admit(upgrade: Upgrade) -> Response | None:
    """Take all steps; an exception rejects.

    Returns:
        an HTTP answer where a route has it; None where the request may become a websocket.
    """
    for step in STEPS:
        if (answer := step(upgrade)) is not None:
            return answer
    return None


def abandon(upgrade: Upgrade) -> None:
    """Undo what the steps have done."""
    upgrade.server.process.release(upgrade.limit_keys)
    if hasattr(upgrade, "endpoint"):
        release_quietly(partial(upgrade.endpoint.on_close, 1006, ""))


def connection(upgrade: Upgrade, websocket: WebSocket) -> Connection:
    """The connection of an admitted client, with compression as agreed."""
    agreed = None
    process = upgrade.server.process
    if upgrade.compression is not None:
        agreement, options = upgrade.compression
        websocket.compress(agreement, options, process.compression)
        agreed = agreement.response
    opening = Opening(upgrade.handshake.key, upgrade.subprotocol, agreed)
    return Connection(process, websocket, upgrade.endpoint, opening, upgrade.identity, upgrade.limit_keys)


def release_quietly(release: Callable[[], Any]) -> None:
    """A failure is logged only, for the client must still get the answer that rejects it."""
    try:
        release()
    except Exception:
        logger.exception("a subscriber's release() failed")


def handshake_of(environ: Environ) -> Handshake:
    """
    Raises:
        InvalidHandshake: the request line or a header is not as RFC 6455, section 4.2.1 asks.
    """
    headers = {name: environ[variable] for name, variable in _HANDSHAKE_HEADERS.items() if variable in environ}
    return read_handshake(environ["REQUEST_METHOD"], environ["SERVER_PROTOCOL"], headers)


def _check_url(environ: Environ, path: str) -> None:
    """
    Raises:
        UpgradeRefused: 400, 404 or 414.
    """
    if not path.startswith("/"):
        # a hook would find another facility in it
        raise UpgradeRefused(400, "The path does not begin with a slash.")
    # a character has four bytes at most
    if 4 * len(path) > channels.MAX_FACILITY_SIZE < len(channels.facility_of(path).encode()):
        raise UpgradeRefused(
            404, f"There is no websocket here: the facility is longer than {channels.MAX_FACILITY_SIZE} bytes."
        )
    # uWSGI goes on without what is too long for its buffer-size
    if "QUERY_STRING" not in environ and environ.get("REQUEST_URI", "").partition("?")[2]:
        raise UpgradeRefused(414, "The query does not fit into uWSGI's buffer-size.")
