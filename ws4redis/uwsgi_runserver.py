"""The door for uWSGI; the only module that knows it.

uWSGI parses the request, forks and reloads the workers and runs gevent's loop. From the upgrade on the connection is
ours: ``uWSGIWebsocketServer.upgrade_websocket`` takes a duplicate of the descriptor and returns from the WSGI call.
"""

from __future__ import annotations

try:
    import uwsgi
except ImportError:
    raise ImportError(
        "ws4redis.uwsgi_runserver works inside uWSGI only. For manage.py runserver, "
        'set WSGI_APPLICATION = "ws4redis.django_runserver.application".'
    ) from None

import os

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from gevent import monkey

from ws4redis.runtime.borrowed import must_have

PATCHED_LATE = "gevent" in uwsgi.opt and not monkey.is_module_patched("socket")
if PATCHED_LATE:
    # gevent looks for existing locks among all objects, which makes Django's settings load
    if "DJANGO_SETTINGS_MODULE" not in os.environ and not django_settings.configured:
        raise ImproperlyConfigured(
            "Set DJANGO_SETTINGS_MODULE in wsgi.py before ws4redis.uwsgi_runserver is imported, "
            "or let uWSGI patch: add gevent-early-monkey-patch = true."
        )
    monkey.patch_all()
    must_have("django", connections, "_connections")
    # made before gevent patched: all greenlets would share one connection, which Django rejects
    connections._connections = type(connections)()._connections

import _socket  # noqa: E402
import ctypes  # noqa: E402
import logging  # noqa: E402
import resource  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

import gevent  # noqa: E402
from redis import Redis  # noqa: E402

from ws4redis.core.deprecated import historic_names, imported  # noqa: E402
from ws4redis.exceptions import UpgradeRefused  # noqa: E402
from ws4redis.loop.process import LoopProcess, running_process  # noqa: E402
from ws4redis.runtime.gevent_runtime import GeventRuntime  # noqa: E402
from ws4redis.runtime.sockets import StreamSocket, configure_socket  # noqa: E402
from ws4redis.upgrade.responses import Environ, StartResponse  # noqa: E402
from ws4redis.uwsgi import options as uwsgi_options  # noqa: E402
from ws4redis.uwsgi.drain import AcceptLocks, Drain  # noqa: E402
from ws4redis.websocket import WebSocket  # noqa: E402
from ws4redis.wsgi_server import WebsocketWSGIServer  # noqa: E402

if TYPE_CHECKING:
    from ws4redis.settings import Options

logger = logging.getLogger("ws4redis")

#: descriptors beyond this are of no use, and a limit may be "infinite"
_MOST_DESCRIPTORS = 1 << 20

#: descriptors for files, logs and the like
_SPARE_DESCRIPTORS = 64

#: after which uWSGI kills an ending worker, by default
_GRACE_SECONDS = 60

#: None where the system has no epoll
_epoll_ctl = getattr(ctypes.CDLL(None), "epoll_ctl", None)
_EPOLL_CTL_DEL = 2

_runtime = GeventRuntime()


class uWSGIWebsocketServer(WebsocketWSGIServer):
    """The WSGI application for websockets under uWSGI with ``--gevent``."""

    runtime = _runtime

    #: with anything else uWSGI lets all other greenlets run before it asks for more
    empty_body = b""  # type: ignore[assignment]

    def __init__(self, redis_connection: Redis | None = None) -> None:
        super().__init__(redis_connection)
        global _latest
        _latest = self
        _runtime.threads = self.options.threads
        _in_each_worker(_worker)
        _in_each_worker(_start_soon)
        _at_exit(_drain)

    def upgrade_websocket(self, environ: Environ, start_response: StartResponse) -> WebSocket:
        _worker().check_capacity(self.process)
        original = uwsgi.connection_fd()
        connected = _duplicate(original)
        try:
            _forget_in_loop(original)
            _replace_by_null(original)
            # for uWSGI's access log; the client gets our own answer through the duplicate
            start_response("101 Switching Protocols", [])
            return WebSocket(self.runtime, connected, self.options.max_message_size, self.options.outbox_size)
        except BaseException:
            connected.close()
            raise


__getattr__ = historic_names(__name__, imported(WebSocketError="ws4redis.exceptions.WebSocketError"))

#: the spelling of an older manual
uWSGIWebSocketServer = uWSGIWebsocketServer

#: once uWSGI's own, now the same everywhere
uWSGIWebsocket = uWSGIWebSocket = WebSocket


class _Worker:
    """One worker, with uWSGI's options and the system's limits."""

    def __init__(self, options: Options) -> None:
        self.pid = os.getpid()
        self._options = options
        report = uwsgi_options.check_options(uwsgi.opt, PATCHED_LATE, _python_in_venv())
        self._errors = "; ".join(report.errors)
        if report.errors:
            logger.critical("uWSGI cannot serve websockets with these options: %s", self._errors)
        if report.warnings:
            logger.warning("uWSGI's options should be changed: %s", "; ".join(report.warnings))
        self._capacity = _raise_descriptor_limit() - _kept_back(options)
        logger.info("worker %s has room for %s websockets", uwsgi.worker_id(), self._capacity)
        self._drain: Drain | None = None
        self._draining: gevent.Greenlet | None = None

    def check_capacity(self, process: LoopProcess) -> None:
        """Reject while there still are descriptors to do so."""
        if self._errors:
            raise UpgradeRefused(503, "This server is not set up for websockets; its log says why.")
        if len(process.connections) >= self._capacity:
            raise UpgradeRefused(503, "This server has no room for more websockets.")

    def accept(self) -> None:
        """Called when uWSGI's loop runs: it accepts, and has set up its own signals, to which ours are added."""
        if self._drain is None:
            accept_locks = AcceptLocks(next(iter(uwsgi.sockets), None), uwsgi.worker_id())
            grace_seconds = int(uwsgi.opt.get("worker-reload-mercy", _GRACE_SECONDS))
            self._drain = Drain(accept_locks, grace_seconds, self._options.drain_seconds)
            for number in signal.SIGHUP, signal.SIGTERM, signal.SIGINT:
                # a master that stops sends its workers SIGINT, and the others when it reloads
                gevent.signal_handler(number, self._drain.start, number == signal.SIGINT)

    def drain(self) -> None:
        """uWSGI calls this more than once, and ends the process when one call returns: each waits for the end."""
        process = running_process()
        if self._drain is None or process is None:
            return
        if not self._drain.started:
            # after max-worker-lifetime uWSGI calls this at the end of each request, and under gevent never ends
            os.kill(self.pid, signal.SIGHUP)
        if self._draining is None:
            self._draining = gevent.spawn(self._drain.close_all, process)
        self._draining.join()


#: the last server that was made: its Redis and its options are those of the process
_latest: uWSGIWebsocketServer


def _start_soon() -> None:
    """Before the first request, for health must be known; not before all servers are made."""
    gevent.spawn(_start)


def _start() -> None:
    _worker().accept()
    _ = _latest.process


_the_worker: _Worker | None = None


def _worker() -> _Worker:
    global _the_worker
    if _the_worker is None or _the_worker.pid != os.getpid():
        _the_worker = _Worker(_latest.options)
    return _the_worker


def _python_in_venv() -> bool:
    return sys.prefix != sys.base_prefix and os.path.basename(os.path.realpath("/proc/self/exe")).startswith("python")


def _raise_descriptor_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return int(max(soft, wanted))


def _kept_back(options: Options) -> int:
    """Descriptors for requests under way, three each; for Redis; for a loop in each thread; and some more."""
    cores = int(uwsgi.opt.get("gevent", 0))
    return 3 * cores + options.max_connections + 4 * options.threads + _SPARE_DESCRIPTORS


def _in_each_worker(function: Callable[[], Any]) -> None:
    """Call it now, or after the fork where that is still to come."""

    def in_worker() -> None:
        if uwsgi.worker_id() > 0:  # mules and spoolers are forked, too
            function()

    if uwsgi.worker_id() > 0:
        function()
    else:
        uwsgi.post_fork_hook = _chain(getattr(uwsgi, "post_fork_hook", None), in_worker)


def _at_exit(function: Callable[[], Any]) -> None:
    uwsgi.atexit = _chain(getattr(uwsgi, "atexit", None), function)


def _drain() -> None:
    if _the_worker is not None and _the_worker.pid == os.getpid():  # the master calls it, too
        _the_worker.drain()


def _chain(earlier: Callable[[], Any] | None, function: Callable[[], Any]) -> Callable[[], None]:
    def both() -> None:
        if earlier is not None:
            earlier()
        function()

    return both


def _duplicate(descriptor: int) -> StreamSocket:
    # the plain C type: a gevent socket would bring two watchers and a hub of its own along
    connected = _socket.socket(-1, _socket.SOCK_STREAM, 0, os.dup(descriptor))
    configure_socket(connected)
    return connected


def _forget_in_loop(descriptor: int) -> None:
    """Take the original out of libev's epoll set.

    libev leaves it in and the duplicate keeps it alive there, which makes libev build the whole set anew for each
    websocket that closes. ``select.epoll.fromfd`` is no way: when it is collected it closes the loop.
    """
    loop = gevent.get_hub().loop.fileno()
    if loop is not None and _epoll_ctl is not None:
        _epoll_ctl(loop, _EPOLL_CTL_DEL, descriptor, None)


_NULL = os.open(os.devnull, os.O_RDWR)


def _replace_by_null(descriptor: int) -> None:
    """Nothing that uWSGI writes or shuts down later reaches the client."""
    os.dup2(_NULL, descriptor)
