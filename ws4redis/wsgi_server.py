"""The upgrade: a request becomes a websocket, or gets an HTTP status that says why not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, NamedTuple

import django
from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import Http404, HttpRequest
from django.utils.module_loading import import_string
from redis import Redis

from ws4redis import channels, checks, redis_client, settings
from ws4redis.auth.identity import identify
from ws4redis.auth.origin import check_origin
from ws4redis.auth.permissions import allowed_channels, hook
from ws4redis.exceptions import InvalidHandshake, RedisUnavailable, UpgradeRefused
from ws4redis.loop.connection import Connection, View
from ws4redis.loop.process import LoopProcess, loop_process
from ws4redis.loop.runtime import Runtime
from ws4redis.protocol.handshake import Handshake, accept_response, read_handshake, select_subprotocol
from ws4redis.subscriber import RedisSubscriber
from ws4redis.views import ChannelView
from ws4redis.websocket import WebSocket

logger = logging.getLogger("django.request")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    426: "Upgrade Required",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Refusal(NamedTuple):
    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


def refusal_for(error: Exception) -> Refusal:
    """The HTTP answer for whatever happened before the upgrade; what was not meant for the visitor is not shown."""
    match error:
        case InvalidHandshake():
            return Refusal(error.status, str(error), tuple(error.headers))
        case UpgradeRefused():
            return Refusal(error.status, str(error))
        case PermissionDenied():
            return Refusal(403, "You may not connect here.")
        case Http404():
            return Refusal(404, "There is no websocket here.")
        case SuspiciousOperation():
            return Refusal(400, "This request is not acceptable.")
        case RedisUnavailable():
            return Refusal(503, "Redis is not available.")
        case _:
            return Refusal(500, "The server failed; its log says why.")


class WebsocketWSGIServer:
    """A WSGI application whose every request asks for a websocket. A door overrides ``upgrade_websocket``.

    Args:
        redis_connection: the ``redis.Redis`` to use in place of that of ``WS4REDIS_CONNECTION``: browsers' messages are
            published with it, and the process listens where its connections lead to.
    """

    runtime: Runtime

    def __init__(self, redis_connection: Redis | None = None) -> None:
        if not apps.ready:
            django.setup()
        for problem in checks.all_problems():
            logger.error("%s. %s", problem.msg.rstrip("."), problem.hint)
        self._redis_connection = redis_connection
        subscriber = settings.WS4REDIS_SUBSCRIBER
        self.Subscriber = import_string(subscriber) if isinstance(subscriber, str) else subscriber
        self.possible_channels = [*self.Subscriber.subscription_channels, *self.Subscriber.publish_channels]

    @property
    def process(self) -> LoopProcess:
        return loop_process(self.runtime, self._client)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            request = self._request(environ)
            handshake = self.assure_protocol_requirements(environ)
            subprotocol = select_subprotocol(handshake.subprotocols, _subprotocol_preference())
            check_origin(request)
            view = self._admit_in_thread(request)
            websocket = self.upgrade_websocket(environ, start_response)
        except Exception as error:
            return self._refuse(error, environ, start_response)
        logger.debug("websocket %x opens on %r", id(websocket), request.path_info)
        self.park(websocket, view, accept_response(handshake.key, subprotocol))
        return []

    def park(self, websocket: WebSocket, view: View, response: bytes) -> None:
        """From here on the loop calls back; no greenlet and nothing of the request stays behind."""
        try:
            Connection(self.process, websocket, view, response).open()
        except BaseException:
            websocket.abort()
            raise

    # steps, to be overridden

    def assure_protocol_requirements(self, environ: Environ) -> Handshake:
        """Check the request line and headers (RFC 6455, section 4.2.1)."""
        return read_handshake(environ["REQUEST_METHOD"], environ["SERVER_PROTOCOL"], _headers(environ))

    def process_request(self, request: HttpRequest) -> None:
        """Set ``request.session`` and ``request.user``."""
        identify(request)

    def process_subscriptions(self, request: HttpRequest) -> tuple[list[str], bool]:
        """Returns the URL's flags that the subscriber knows, and whether the browser wants its own messages."""
        flags = channels.flags_of(request.GET)
        return [flag for flag in flags if flag in self.possible_channels], channels.ECHO in flags

    def upgrade_websocket(self, environ: Environ, start_response: StartResponse) -> WebSocket:
        """Take the connection out of the WSGI server's hands."""
        raise NotImplementedError("a door does this: uwsgi_runserver, django_runserver")

    # inside

    def _client(self) -> Redis:
        return self._redis_connection or redis_client.client()

    @staticmethod
    def _request(environ: Environ) -> WSGIRequest:
        # the WSGI server may use its dictionary again, for another visitor
        return WSGIRequest({**environ, "wsgi.input": BytesIO()})

    def _admit_in_thread(self, request: HttpRequest) -> View:
        if self._has_nothing_to_look_up(request):
            return self._admit(request)
        return self.runtime.run_in_thread(self._admit_with_database, request)

    def _has_nothing_to_look_up(self, request: HttpRequest) -> bool:
        return (
            django_settings.SESSION_COOKIE_NAME not in request.COOKIES
            and settings.WS4REDIS_PROCESS_REQUEST is None
            and settings.WS4REDIS_ALLOWED_CHANNELS is None
            and self.Subscriber is RedisSubscriber
            and type(self).process_request is WebsocketWSGIServer.process_request
            and type(self).process_subscriptions is WebsocketWSGIServer.process_subscriptions
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
        flags, echo = self.process_subscriptions(request)
        flags = allowed_channels(request, flags)
        subscriber = self.Subscriber(self._client())
        subscriber.set_pubsub_channels(request, flags)
        view = ChannelView(subscriber, echo)
        if logger.isEnabledFor(logging.INFO):
            _log_channels(request, subscriber)
        return view

    def _refuse(self, error: Exception, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        refusal = refusal_for(error)
        if refusal.status == 500:
            logger.error("websocket refused with 500", exc_info=error)
        elif refusal.status not in (400, 426):
            logger.warning("websocket refused with %s: %s", refusal.status, error)
        body = f"{refusal.text}\n".encode()
        start_response(
            f"{refusal.status} {_REASONS.get(refusal.status, 'Refused')}",
            [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(body))),
                *(header for header in refusal.headers if self.may_send(header[0])),
            ],
        )
        return [body]

    def may_send(self, name: str) -> bool:
        """Whether the WSGI server lets an application send this header."""
        return True


def _headers(environ: Environ) -> dict[str, str]:
    return {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}


def _log_channels(request: HttpRequest, subscriber: RedisSubscriber) -> None:
    """For whoever asks why nothing arrives; a session key is as good as a password, so only its beginning is told."""
    key = channels.identity_of(request).session_key

    def shown(names: Iterable[str]) -> list[str]:
        return sorted(name.replace(key, f"{key[:4]}...") if key else name for name in names)

    logger.info(
        "websocket on %r hears %s and publishes to %s",
        request.path_info,
        shown(subscriber._subscriptions),
        shown(subscriber._publishers),
    )


def _subprotocol_preference() -> Any:
    preference = settings.WS4REDIS_SUBPROTOCOL
    return import_string(preference) if isinstance(preference, str) else preference
