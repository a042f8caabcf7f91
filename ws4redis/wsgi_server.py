"""The upgrade: a request becomes a websocket, or gets an HTTP status that says why not."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cached_property

import django
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.module_loading import import_string
from redis import Redis

from ws4redis import checks, settings
from ws4redis.auth.authenticators import Authenticator, Session, SiteHook
from ws4redis.auth.lookups import Lookups
from ws4redis.auth.permissions import allowed_channels, hook
from ws4redis.auth.session import identify
from ws4redis.broker import client as redis_client
from ws4redis.core import channels
from ws4redis.core.channel_set import check_number
from ws4redis.core.deprecated import historic_names, imported
from ws4redis.core.metrics import counters
from ws4redis.endpoints.channels import ChannelEndpoint
from ws4redis.endpoints.flags import flags_of
from ws4redis.endpoints.own_source import OwnSourceEndpoint
from ws4redis.exceptions import FrameTooLargeException, HandshakeError, UpgradeRequiredError, WebSocketError
from ws4redis.loop.connection import Connection
from ws4redis.loop.endpoint import Endpoint
from ws4redis.loop.process import LoopProcess, loop_process
from ws4redis.protocol.handshake import Handshake
from ws4redis.redis_store import RedisMessage, RedisStore
from ws4redis.runtime.port import Runtime
from ws4redis.subscriber import RedisSubscriber, completed, decides_nothing
from ws4redis.upgrade import steps
from ws4redis.upgrade.health import Health
from ws4redis.upgrade.log import log_channels, log_opening, log_rejection
from ws4redis.upgrade.responses import Environ, Response, StartResponse, error_response
from ws4redis.upgrade.steps import Maker, Route
from ws4redis.websocket import WebSocket

__all__ = [
    "FrameTooLargeException",
    "HandshakeError",
    "RedisMessage",
    "UpgradeRequiredError",
    "WebSocketError",
    "WebsocketWSGIServer",
]

logger = logging.getLogger("ws4redis")

__getattr__ = historic_names(
    __name__,
    imported(
        PermissionDenied="django.core.exceptions.PermissionDenied",
        SimpleLazyObject="django.utils.functional.SimpleLazyObject",
        StrictRedis="redis.Redis",
        WSGIRequest="django.core.handlers.wsgi.WSGIRequest",
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


class WebsocketWSGIServer:
    """A WSGI application for websockets only. A door overrides ``upgrade_websocket``.

    Args:
        redis_connection: the ``redis.Redis`` with which clients' messages are published, and to whose server the
            process subscribes; None means that of ``WS4REDIS_CONNECTION``.
    """

    runtime: Runtime

    #: for the WSGI server only; the client gets nothing of it
    empty_body: Iterable[bytes] = ()

    def __init__(self, redis_connection: Redis | None = None) -> None:
        if not apps.ready:
            django.setup()
        for problem in checks.all_problems():
            logger.error("%s. %s", problem.msg.rstrip("."), problem.hint)
        checks.assure_prefix()
        self.options = settings.read_options()
        self._given_connection = redis_connection
        if hasattr(self, "select"):
            raise ImproperlyConfigured(
                f"{type(self).__name__}.select() would never be called: one loop waits for all websockets. Remove it."
            )
        self.Subscriber = _subscriber_class()
        #: flags (historic name)
        self.possible_channels = [*self.Subscriber.subscription_channels, *self.Subscriber.publish_channels]
        #: the channels are last: they serve each request
        self.routes: list[Route] = [Health(lambda: self.process, self.options.health_path), self._channels]
        self.authenticators: list[Authenticator] = [
            SiteHook(lambda: settings.WS4REDIS_PROCESS_REQUEST),
            Session(lambda request: self.process_request(request)),
        ]

    @property
    def process(self) -> LoopProcess:
        return loop_process(self.runtime, self._client, self.options)

    @property
    def websockets(self) -> set[WebSocket]:
        """The open websockets of this process."""
        return self.process.websockets

    _websockets = websockets

    @property
    def _redis_connection(self) -> Redis:
        return self._client()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        upgrade = steps.Upgrade(self, environ)
        try:
            answer = steps.admit(upgrade)
            if answer is not None:
                return answer.start(environ, start_response, self.may_send)
            websocket = self._upgrade(environ, start_response)
        except Exception as error:
            steps.abandon(upgrade)
            return self._reject(error).start(environ, start_response, self.may_send)
        log_opening(upgrade.request, websocket)
        self.park(steps.connection(upgrade, websocket))
        return self.empty_body

    def park(self, connection: Connection) -> None:
        """Hand the connection over to the loop; no greenlet and nothing of the request remains."""
        self.process.use_heartbeat(settings.WS4REDIS_HEARTBEAT)
        connection.open()

    # hooks, to be overridden

    def assure_protocol_requirements(self, environ: Environ) -> Handshake | None:
        """Check the request line and headers (RFC 6455, section 4.2.1)."""
        return steps.handshake_of(environ)

    def process_request(self, request: HttpRequest) -> None:
        """Set ``request.session`` and ``request.user``."""
        identify(request)

    def process_subscriptions(self, request: HttpRequest) -> tuple[list[str], bool]:
        """Returns the URL's flags that the subscriber knows, and whether the client wants its own messages."""
        flags = flags_of(request)
        # not the URL's strings, of which each websocket would keep its own
        known = {flag: flag for flag in self.possible_channels}
        return [known[flag] for flag in flags if flag in known], channels.ECHO in flags

    def upgrade_websocket(self, environ: Environ, start_response: StartResponse) -> WebSocket:
        """Must take the connection over from the WSGI server."""
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

    def _channels(self, request: HttpRequest) -> Maker:
        """The last route."""
        return Maker(self._make_endpoint, self._site_decides())

    def _site_decides(self) -> bool:
        """Whether any code of the site checks permissions."""
        return not (
            decides_nothing(self.Subscriber)
            and getattr(self.process_request, "__func__", None) is _PROCESS_REQUEST
            and getattr(self.process_subscriptions, "__func__", None) is _PROCESS_SUBSCRIPTIONS
        )

    def _make_endpoint(self, request: HttpRequest) -> Endpoint:
        flags, echo = self.process_subscriptions(request)
        flags = allowed_channels(hook(settings.WS4REDIS_ALLOWED_CHANNELS), request, flags)
        subscriber = self.Subscriber(self._client())
        try:
            subscriber.limit_channels(self.options.max_channels)
            subscriber.set_pubsub_channels(request, flags)
            subscriber.hand_over(request, flags)
            check_number(len(subscriber._publishers), self.options.max_channels)
            endpoint = (
                OwnSourceEndpoint(subscriber, echo, self._lookups, self.runtime)
                if subscriber.has_own_source
                else ChannelEndpoint(subscriber, echo, self._lookups)
            )
        except BaseException:
            steps.release_quietly(subscriber.release)
            raise
        log_channels(request, subscriber)
        return endpoint

    def _reject(self, error: Exception) -> Response:
        response = error_response(error)
        counters[f"rejected with {response.status}"] += 1
        log_rejection(error, response.status)
        return response

    def may_send(self, name: str) -> bool:
        """Whether the WSGI server lets an application send this header."""
        return True


#: our own, for a site may assign others to the class
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
