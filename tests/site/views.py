"""Plain Django views of the test site."""

import os
import socket
import threading
import time
from pathlib import Path

from django.contrib.auth import get_user_model, login
from django.http import HttpResponse, JsonResponse

from tests.site.hooks import RememberingSubscriber
from ws4redis.auth.groups import update_groups
from ws4redis.core.metrics import counters
from ws4redis.loop import process
from ws4redis.publisher import RedisPublisher

# a clock that runs faster, for tests that wait for what takes many ticks
process._TICK_SECONDS = float(os.environ.get("TICK_SECONDS", process._TICK_SECONDS))

#: slow requests that are not answered yet
in_flight = 0


def _socket_options(connection):
    with socket.socket(fileno=os.dup(connection.websocket._socket.fileno())) as connected:
        return [
            connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
            connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT),
            connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        ]


def _worker_id():
    """runserver is one process."""
    try:
        import uwsgi
    except ImportError:
        return 1
    return uwsgi.worker_id()


def counts(request):
    """What the loop of this process holds."""
    found = {
        "worker": _worker_id(),
        "pid": os.getpid(),
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "cpu": sum(os.times()[:2]),
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * 4096,
        "counters": dict(counters),
        "slow": in_flight,
        "released": len(RememberingSubscriber.released),
        "connections": 0,
        "connected": 0,
        "waiting": 0,
        "channels": 0,
        "questions": 0,
        "options": [],
    }
    loop = process.running_process()
    if loop is not None:
        with loop.runtime.lock:
            found["connections"] = len(loop.connections)
            found["connected"] = sum(each.accepted for each in loop.connections)
            found["waiting"] = sum(len(each.websocket.outbox or b"") for each in loop.connections)
            found["channels"] = len(loop.hub.channels) - 1  # the canary's
            found["questions"] = sum(map(len, (loop.pubsub._pending, loop.pubsub._unsent)))
            found["options"] = sorted(_socket_options(each) for each in loop.connections)
    return JsonResponse(found)


def slow(request):
    """Takes its time, without keeping others waiting."""
    global in_flight
    in_flight += 1
    time.sleep(float(request.GET["seconds"]))
    in_flight -= 1
    return HttpResponse("slow")


def log_in(request, name):
    user = get_user_model()._default_manager.get_by_natural_key(name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(request.session.session_key)


def visit(request):
    """A session without a login."""
    request.session["visited"] = True
    request.session.save()
    return HttpResponse(request.session.session_key)


def publish(request):
    publisher = RedisPublisher(facility=request.GET["facility"], broadcast=True)
    return HttpResponse(str(publisher.publish_message(request.GET["message"])))


def expel(request, name):
    """Out of all groups; then the group speaks."""
    user = get_user_model()._default_manager.get_by_natural_key(name)
    groups = [each.name for each in user.groups.all()]
    update_groups(user, [])
    facility = request.GET["facility"]
    RedisPublisher(facility=facility, groups=groups).publish_message("secret", expire=0)
    RedisPublisher(facility=facility, users=[name]).publish_message("the end", expire=0)
    return HttpResponse(",".join(groups))


def stacks(request):
    """Where each greenlet and thread of this worker stands, to be read when a test hangs."""
    from gevent.util import format_run_info

    return HttpResponse("\n".join(format_run_info(thread_stacks=True, greenlet_stacks=True)))
