"""The upgrade: a request becomes a websocket, or gets an HTTP status that says why not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from functools import cached_property
from io import BytesIO
from typing import Any

import django
from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import HttpRequest
from django.utils.module_loading import import_string
from redis import Redis

from ws4redis import channels, checks, redis_client, settings
from ws4redis.auth.identity import identify
from ws4redis.auth.limits import connection_limits
from ws4redis.auth.origin import check_origin
from ws4redis.auth.permissions import allowed_channels, hook
from ws4redis.exceptions import (
    FrameTooLargeException,
    HandshakeError,
    InvalidHandshake,
    RedisIsAway,
    UpgradeRefused,
    UpgradeRequiredError,
    WebSocketError,
)
from ws4redis.hearing import check_number
from ws4redis.historic import advice, historic_names, imported
from ws4redis.log import log_channels, printable
from ws4redis.lookups import Lookups
from ws4redis.loop.connection import Connection
from ws4redis.loop.ports import View
from ws4redis.loop.process import LoopProcess, loop_process
from ws4redis.loop.runtime import Runtime
from ws4redis.loop.tally import tally
from ws4redis.protocol.deflate import Agreement, Options, agree
from ws4redis.protocol.handshake import HEADERS, Handshake, accept_response, read_handshake, select_subprotocol
from ws4redis.redis_store import RedisMessage, RedisStore
from ws4redis.refusals import refusal_for
from ws4redis.subscriber import RedisSubscriber, completed, decides_nothing
from ws4redis.views import ChannelView
from ws4redis.websocket import WebSocket

__all__ = [
    "FrameTooLargeException",
    "HandshakeError",
    "RedisMessage",
    "UpgradeRequiredError",
    "WebSocketError",
    "WebsocketWSGIServer",
]

logger = logging.getLogger("django.request")

__getattr__ = historic_names(
    __name__,
    imported(
        PermissionDenied="django.core.exceptions.PermissionDenied",
        SimpleLazyObject="django.utils.functional.SimpleLazyObject",
        StrictRedis="redis.Redis",
        force_str="django.utils.encoding.force_str",
        get_user="django.contrib.auth.get_user",
        http="django.http",
        http_client="http.client",
        import_module="importlib.import_module",
        private_settings="ws4redis.settings",
        six="six",
        sys="sys",
    ),
)

#: and the names that WSGI gives them
_HANDSHAKE_HEADERS = {name: f"HTTP_{name.replace('-', '_').upper()}" for name in HEADERS}

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class WebsocketWSGIServer:
    """A WSGI application whose every request asks for a websocket. A door overrides ``upgrade_websocket``.

    Args:
        redis_connection: the ``redis.Redis`` to use in place of that of ``WS4REDIS_CONNECTION``: browsers' messages are
            published with it, and the process listens where its connections lead to.
    """

    runtime: Runtime

    #: of the answer that the WSGI server is told, and the browser does not get
    empty_body: Iterable[bytes] = ()

    def __init__(self, redis_connection: Redis | None = None) -> None:
        if not apps.ready:
            django.setup()
        for problem in checks.all_problems():
            logger.error("%s. %s", problem.msg.rstrip("."), problem.hint)
        channels.check_prefix()
        self._given_connection = redis_connection
        if hasattr(self, "select"):
            raise ImproperlyConfigured(
                f"{type(self).__name__}.select() would never be called: one loop waits for all websockets. Remove it."
            )
        self.Subscriber = _subscriber_class()
        self.possible_channels = [*self.Subscriber.subscription_channels, *self.Subscriber.publish_channels]

    @property
    def process(self) -> LoopProcess:
        return loop_process(self.runtime, self._client)

    @property
    def websockets(self) -> set[WebSocket]:
        """The open websockets of this process."""
        return self.process.websockets

    _websockets = websockets

    @property
    def _redis_connection(self) -> Redis:
        return self._client()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            request = self._request(environ)
            # one that was written for django-websocket-redis returns nothing
            handshake = self.assure_protocol_requirements(environ) or _handshake(environ)
            _check_url(environ, request.path_info)
            subprotocol = select_subprotocol(handshake.subprotocols, _subprotocol_preference())
            is_stock = self._is_stock()
            check_origin(request, hooked=not is_stock)
            self.process.check_redis()
            compression = _compression(handshake)
            view = self._admit_in_thread(request, is_stock)
        except InvalidHandshake as error:
            if _asks_for_health(environ):
                return self._tell_health(environ, start_response)
            return self._refuse(error, environ, start_response)
        except Exception as error:
            return self._refuse(error, environ, start_response)
        try:
            view.seats = self.process.acquire(connection_limits(request, channels.identity_once(request)))
            websocket = self._upgrade(environ, start_response)
        except Exception as error:
            self.process.release(view.seats)
            _release(view.on_close)
            return self._refuse(error, environ, start_response)
        logger.debug("websocket %x opens on %r", id(websocket), request.path_info)
        extensions = None
        if compression is not None:
            websocket.compress(*compression, self.process.compression)
            extensions = compression[0].response
        self.park(websocket, view, accept_response(handshake.key, subprotocol, extensions))
        return self.empty_body

    def park(self, websocket: WebSocket, view: View, response: bytes) -> None:
        """From here on the loop calls back; no greenlet and nothing of the request stays behind."""
        try:
            Connection(self.process, websocket, view, response).open()
        except BaseException:
            websocket.abort()
            raise

    # steps, to be overridden

    def assure_protocol_requirements(self, environ: Environ) -> Handshake | None:
        """Check the request line and headers (RFC 6455, section 4.2.1)."""
        return _handshake(environ)

    def process_request(self, request: HttpRequest) -> None:
        """Set ``request.session`` and ``request.user``."""
        identify(request)

    def process_subscriptions(self, request: HttpRequest) -> tuple[list[str], bool]:
        """Returns the URL's flags that the subscriber knows, and whether the browser wants its own messages."""
        flags = channels.flags_of(request)
        # kept are our own strings, not the URL's, of which each websocket has others
        known = {flag: flag for flag in self.possible_channels}
        return [known[flag] for flag in flags if flag in known], channels.ECHO in flags

    def upgrade_websocket(self, environ: Environ, start_response: StartResponse) -> WebSocket:
        """Take the connection out of the WSGI server's hands."""
        raise NotImplementedError("a door does this: uwsgi_runserver, django_runserver")

    # inside

    @cached_property
    def _lookups(self) -> Lookups:
        return Lookups(self.runtime, self._client)

    def _client(self) -> Redis:
        return self._given_connection or redis_client.client()

    def _upgrade(self, environ: Environ, start_response: StartResponse) -> WebSocket:
        websocket: object = self.upgrade_websocket(environ, start_response)
        if not isinstance(websocket, WebSocket):
            raise TypeError(f"upgrade_websocket() must return what its super() returned, not {websocket!r}")
        return websocket

    @staticmethod
    def _request(environ: Environ) -> WSGIRequest:
        # the WSGI server may use its dictionary again, for another visitor
        return WSGIRequest({**environ, "wsgi.input": BytesIO()})

    def _admit_in_thread(self, request: HttpRequest, is_stock: bool) -> View:
        if is_stock and django_settings.SESSION_COOKIE_NAME not in request.COOKIES:
            # nobody else will look at this request: not even an empty session is made
            return self._make_view(request)
        return self.runtime.run_in_thread(self._admit_with_database, request)

    def _is_stock(self) -> bool:
        """Whether no code of the site decides who may do what, wherever it was put."""
        return (
            decides_nothing(self.Subscriber)
            and getattr(self.process_request, "__func__", None) is _PROCESS_REQUEST
            and getattr(self.process_subscriptions, "__func__", None) is _PROCESS_SUBSCRIPTIONS
        )

    def _admit_with_database(self, request: HttpRequest) -> View:
        close_old_connections()
        try:
            return self._admit(request)
        finally:
            close_old_connections()

    def _admit(self, request: HttpRequest) -> View:
        """Who is it, and what may he do here. What is returned keeps nothing of the request."""
        (hook("WS4REDIS_PROCESS_REQUEST") or self.process_request)(request)
        return self._make_view(request)

    def _make_view(self, request: HttpRequest) -> View:
        flags, echo = self.process_subscriptions(request)
        flags = allowed_channels(request, flags)
        subscriber = self.Subscriber(self._client())
        try:
            subscriber.set_pubsub_channels(request, flags)
            subscriber.hand_over(request, flags)
            check_number(len(subscriber._publishers))
            view = ChannelView(subscriber, echo, self._lookups)
        except BaseException:
            _release(subscriber.release)
            raise
        log_channels(request, subscriber)
        return view

    def _tell_health(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        healthy, figures = self.process.health()
        body = f"{json.dumps(figures, indent=1)}\n".encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response("200 OK" if healthy else "503 Service Unavailable", headers)
        return _unless_head(environ, body)

    def _refuse(self, error: Exception, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        refusal = refusal_for(error)
        tally[f"refused with {refusal.status}"] += 1
        if refusal.status == 500:
            logger.error("websocket refused with 500%s", advice(error), exc_info=error)
        elif isinstance(error, RedisIsAway):
            # the log has that Redis is away, and need not have it once more for each who tries again
            logger.info("websocket refused with 503: %s", error)
        elif refusal.status not in (400, 426):
            logger.warning("websocket refused with %s: %s", refusal.status, printable(str(error)))
        body = f"{refusal.text}\n".encode()
        start_response(
            refusal.status_line,
            [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(body))),
                *(header for header in refusal.headers if self.may_send(header[0])),
            ],
        )
        return _unless_head(environ, body)

    def may_send(self, name: str) -> bool:
        """Whether the WSGI server lets an application send this header."""
        return True


#: kept aside: a site may assign others, to this very class, too
_PROCESS_REQUEST = WebsocketWSGIServer.process_request
_PROCESS_SUBSCRIPTIONS = WebsocketWSGIServer.process_subscriptions


def _subscriber_class() -> type[RedisSubscriber]:
    given = settings.WS4REDIS_SUBSCRIBER
    subscriber = import_string(given) if isinstance(given, str) else given
    if isinstance(subscriber, type) and issubclass(subscriber, RedisSubscriber):
        return subscriber
    if isinstance(subscriber, type) and issubclass(subscriber, RedisStore) and subscriber is not RedisStore:
        logger.warning("WS4REDIS_SUBSCRIBER: %s extends RedisStore; let it extend RedisSubscriber", given)
        return completed(subscriber)
    raise ImproperlyConfigured(
        f"WS4REDIS_SUBSCRIBER: {given} must be a subclass of ws4redis.subscriber.RedisSubscriber."
    )


def _check_url(environ: Environ, path: str) -> None:
    """
    Raises:
        UpgradeRefused: 400, 404 or 414.
    """
    if not path.startswith("/"):
        # a hook that looks at the path knows its facilities by another one
        raise UpgradeRefused(400, "The path does not begin with a slash.")
    # a character has four bytes at most
    if 4 * len(path) > channels.MAX_FACILITY_SIZE < len(channels.facility_of(path).encode()):
        raise UpgradeRefused(
            404, f"There is no websocket here: the facility is longer than {channels.MAX_FACILITY_SIZE} bytes."
        )
    # uWSGI goes on without what is too long for its buffer-size
    if "QUERY_STRING" not in environ and environ.get("REQUEST_URI", "").partition("?")[2]:
        raise UpgradeRefused(414, "The query does not fit into uWSGI's buffer-size.")


def _unless_head(environ: Environ, body: bytes) -> Iterable[bytes]:
    """The body of an answer, of which HEAD gets the headers only; uWSGI would send it."""
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _asks_for_health(environ: Environ) -> bool:
    path = settings.WS4REDIS_HEALTH_PATH
    return (
        path is not None
        and environ["REQUEST_METHOD"] in ("GET", "HEAD")
        and "HTTP_UPGRADE" not in environ
        and channels.facility_of(environ["PATH_INFO"]) == path
    )


def _handshake(environ: Environ) -> Handshake:
    return read_handshake(environ["REQUEST_METHOD"], environ["SERVER_PROTOCOL"], _headers(environ))


def _compression(handshake: Handshake) -> tuple[Agreement, Options] | None:
    """What is agreed on, where the browser offers compression and the site wants it."""
    wanted = settings.WS4REDIS_DEFLATE
    if not wanted or not handshake.extensions:
        return None
    options = Options() if wanted is True else Options(**wanted)
    agreement = agree(handshake.extensions, options)
    return None if agreement is None else (agreement, options)


def _release(release: Callable[[], Any]) -> None:
    """A visitor who is refused shall hear why, even if this fails."""
    try:
        release()
    except Exception:
        logger.exception("a subscriber's release() failed")


def _headers(environ: Environ) -> dict[str, str]:
    """Those of a handshake."""
    return {name: environ[variable] for name, variable in _HANDSHAKE_HEADERS.items() if variable in environ}


def _subprotocol_preference() -> Any:
    preference = settings.WS4REDIS_SUBPROTOCOL
    return import_string(preference) if isinstance(preference, str) else preference
