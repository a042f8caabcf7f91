"""Whatever happens to Redis: publishers are told, browsers stay, health is red, and delivery is soon back.

How it looks when Redis fails over is in ``test_connections``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import websocket

from tests.browsers import counts
from tests.servers import Site, Valkey, free_port, wait_for
from ws4redis import settings
from ws4redis.exceptions import RedisUnavailable
from ws4redis.publisher import RedisPublisher

#: WS4REDIS_TIMEOUT, in seconds
BOUND = 1

#: delivery shall be back so many seconds after Redis is; other work on this machine gets the rest
BACK_WITHIN = 2
PATIENCE = 3


class Fault:
    """
    Attributes:
        publishers: what they see meanwhile, "error" or "works"; None where it is over at once.
        says: what Redis answers; empty where it does not.
        health: its status meanwhile.
    """

    publishers: str | None = "error"
    says = ""
    health = 503

    def __init__(self, valkey: Valkey, site: Site) -> None:
        self.valkey, self.site = valkey, site

    def begin(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class Killed(Fault):
    def begin(self) -> None:
        self.valkey.stop(signal.SIGKILL)

    def end(self) -> None:
        self.valkey.start()


class Stopped(Killed):
    """In good order; it comes back empty, as it keeps nothing."""

    def begin(self) -> None:
        self.valkey.stop(signal.SIGTERM)


class Hanging(Fault):
    def begin(self) -> None:
        self.valkey.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        self.valkey.send_signal(signal.SIGCONT)


class SubscriberKilled(Fault):
    publishers = None

    def begin(self) -> None:
        assert self.valkey.client().client_kill_filter(_type="pubsub") >= 1

    def end(self) -> None:
        """Nothing is left to be done."""


class Overflown(Fault):
    """The loop stands still, and Redis cuts off a subscriber that does not read."""

    publishers = "works"

    def begin(self) -> None:
        client = self.valkey.client()
        client.config_set("client-output-buffer-limit", "pubsub 1mb 1mb 1")
        # a browser of its own, which may turn out to be too slow for what the kernel still holds
        self.flooded = self.site.connect("/ws/flood?subscribe-broadcast")
        self.pid = counts(self.site)["pid"]
        os.kill(self.pid, signal.SIGSTOP)
        while any(int(each["sub"]) for each in client.client_list()):
            client.publish("broadcast:flood", b"x" * (1 << 20))

    def end(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self.flooded.close()


class Refusing(Fault):
    """Redis is there, and does not do all that it is asked."""

    health = 200


class OutOfMemory(Refusing):
    publishers, says = "works", "OOM"

    def begin(self) -> None:
        self.valkey.client().config_set("maxmemory", 1)

    def end(self) -> None:
        self.valkey.client().config_set("maxmemory", 0)


class DiskFull(Refusing):
    """As far as Redis can tell: its snapshot cannot be written. Then even PING is an error."""

    publishers, says = "works", "MISCONF"

    def begin(self) -> None:
        client = self.valkey.client()
        self.in_the_way = Path(self.valkey.folder.name, "dump.rdb")
        self.in_the_way.mkdir()
        client.config_set("save", "3600 1000000")
        client.bgsave()
        wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot has failed")
        # who connects meanwhile is served, too
        assert client.client_kill_filter(_type="pubsub") >= 1

    def end(self) -> None:
        self.in_the_way.rmdir()
        self.valkey.client().config_set("save", "")


class NoReplicas(Refusing):
    publishers, says = "works", "NOREPLICAS"

    def begin(self) -> None:
        self.valkey.client().config_set("min-replicas-to-write", 1)

    def end(self) -> None:
        self.valkey.client().config_set("min-replicas-to-write", 0)


class Replica(Refusing):
    """What is published there reaches nobody elsewhere."""

    says = "READONLY"

    def begin(self) -> None:
        self.valkey.client().replicaof("127.0.0.1", free_port())

    def end(self) -> None:
        self.valkey.client().replicaof("NO", "ONE")


class Forbidden(Refusing):
    says = "evalsha"

    def begin(self) -> None:
        self.valkey.client().acl_setuser("default", enabled=True, commands=["-eval", "-evalsha"])

    def end(self) -> None:
        self.valkey.client().acl_setuser("default", enabled=True, commands=["+eval", "+evalsha"])


class Busy(Refusing):
    """With somebody's script."""

    says, health = "BUSY", 503

    def begin(self) -> None:
        client = self.valkey.client()
        client.config_set("busy-reply-threshold", 100)
        self.script = threading.Thread(target=self.run)
        self.script.start()
        wait_for(self.is_busy, "the script is running")

    def run(self) -> None:
        with pytest.raises(redis.ResponseError, match="SCRIPT KILL"):
            self.valkey.client().eval("while true do end", 0)

    def is_busy(self) -> bool:
        try:
            return not self.valkey.client().ping()
        except redis.ResponseError:
            return True

    def end(self) -> None:
        self.valkey.client().script_kill()
        self.script.join()


NO_ANSWER = (Killed, Stopped, Hanging, SubscriberKilled, Overflown)
REFUSALS = (OutOfMemory, DiskFull, NoReplicas, Replica, Forbidden, Busy)
FAULTS = {each.__name__: each for each in (*NO_ANSWER, *REFUSALS)}


def start(door: type[Site], valkey: Valkey, database: Path) -> Site:
    return door(valkey.url, DATABASE=str(database), WS4REDIS_TIMEOUT=json.dumps(BOUND), WS4REDIS_HEALTH_PATH='"health"')


@pytest.fixture
def publisher(valkey: Valkey) -> Iterator[RedisPublisher]:
    settings.WS4REDIS_CONNECTION, settings.WS4REDIS_TIMEOUT = valkey.url, BOUND
    yield RedisPublisher(facility="trouble", broadcast=True)
    del settings.WS4REDIS_CONNECTION, settings.WS4REDIS_TIMEOUT


def health(site: Site) -> int:
    return ask(site)[0]


def ask(site: Site) -> tuple[int, dict[str, Any]]:
    """Status and figures."""
    try:
        with urllib.request.urlopen(site.url("/ws/health"), timeout=20) as response:
            return int(response.status), json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def survives(site: Site, fault: Fault, publisher: RedisPublisher) -> None:
    browsers = [site.connect("/ws/trouble?subscribe-broadcast") for _ in range(20)]
    assert publisher.publish_message("before") == 1
    assert [each.recv() for each in browsers] == ["before"] * 20
    wait_for(lambda: health(site) == 200, "health is green")
    speaker = site.connect("/ws/trouble?publish-broadcast")
    fault.begin()
    if fault.says and fault.publishers == "works":
        still_delivers(site, fault, publisher, speaker, browsers)
    if fault.publishers == "error":
        begin = time.monotonic()
        with pytest.raises(RedisUnavailable, match=fault.says or "Redis"):
            publisher.publish_message("lost")
        took = time.monotonic() - begin
        print(f"publishers knew after {took:.2f} s, the bound is {BOUND} s")
        assert took < BOUND * 4
        speaker.send("lost, too")
        opcode, data = speaker.recv_data()
        assert (opcode, int.from_bytes(data[:2], "big")) == (8, 1013)
        wait_for(lambda: health(site) == fault.health, f"health is {fault.health}")
        for each in browsers:
            each.ping("still there")
            assert each.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG
    fault.end()
    took = delivered_after(browsers[0], publisher)
    print(f"delivery was back after {took:.2f} s, promised are {BACK_WITHIN} s")
    assert took < BACK_WITHIN * PATIENCE
    wait_for(lambda: health(site) == 200, "health is green again")
    assert publisher.publish_message("all is well") == 1
    for each in browsers:
        wait_for(lambda each=each: each.recv() == "all is well", "what is published now")
    speaker.close()
    wait_for(lambda: counts(site)["connected"] == 20, "the listeners are still there")
    log = site.log()
    assert log.count("Redis connection lost") <= 1 and log.count("Redis cannot store") <= 1
    # runserver tells each 503 of health as an error
    assert "Traceback" not in log and " ERROR " not in log.replace("django.server ERROR", "")


def still_delivers(
    site: Site,
    fault: Fault,
    publisher: RedisPublisher,
    speaker: websocket.WebSocket,
    browsers: list[websocket.WebSocket],
) -> None:
    """Live messages still go out where only keeping is refused, and health says so."""
    # of this process; the site's own knows when its first browser speaks
    wait_for(lambda: publisher.publish_message("live", expire=0) == 1, "the subscription")
    for each in browsers:
        wait_for(lambda each=each: each.recv() == "live", "what is published")
    assert publisher.publish_message("not kept") == 1
    speaker.send("said")
    assert [[each.recv(), each.recv()] for each in browsers] == [["not kept", "said"]] * len(browsers)
    figures = wait_for(lambda: (found := ask(site)[1])["cannot_keep"] and found, "health says it")
    assert fault.says in figures["cannot_keep"]
    assert figures["counts"]["not kept: refused by Redis"] == 1
    site.connect("/ws/trouble?subscribe-broadcast").close()
    wait_for(lambda: health(site) == fault.health, f"health is {fault.health}")


def delivered_after(browser: websocket.WebSocket, publisher: RedisPublisher) -> float:
    """Seconds until what is published arrives; what is lost until then is told by the count 0 or an error."""
    begin = time.monotonic()

    def arrives() -> bool:
        try:
            return publisher.publish_message("again", expire=0) == 1
        except RedisUnavailable:
            return False

    wait_for(arrives, "a listener")
    wait_for(lambda: browser.recv() == "again", "a delivery")
    return time.monotonic() - begin


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_trouble(
    door: type[Site], valkey: Valkey, database: Path, publisher: RedisPublisher, fault: type[Fault]
) -> None:
    with start(door, valkey, database) as site:
        survives(site, fault(valkey, site), publisher)


def test_redis_is_not_there_at_the_start(
    door: type[Site], valkey: Valkey, database: Path, publisher: RedisPublisher
) -> None:
    valkey.stop()
    with start(door, valkey, database) as site:
        assert health(site) == 503
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            site.connect("/ws/trouble?subscribe-broadcast")
        assert refused.value.status_code == 503
        with pytest.raises(RedisUnavailable):
            publisher.publish_message("lost")
        valkey.start()
        wait_for(lambda: health(site) == 200, "health is green")
        browser = site.connect("/ws/trouble?subscribe-broadcast")
        assert publisher.publish_message("hi") == 1
        assert browser.recv() == "hi"


# a network that loses everything, without a word


class RemoteValkey(Valkey):
    """In a network of its own, at the other end of a wire that can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.name = f"ws{self.port}"
        self.address = "10.213.7.2"

    def command(self) -> list[str]:
        command = [each.replace("127.0.0.1", self.address) for each in super().command()]
        return ["ip", "netns", "exec", self.name, *command, "--protected-mode", "no"]

    @property
    def url(self) -> str:
        return f"redis://{self.address}:{self.port}/0"

    def answers(self) -> bool:
        try:
            return bool(redis.Redis.from_url(self.url, socket_connect_timeout=1).ping())
        except (redis.ConnectionError, redis.TimeoutError):  # the wire may still be coming up
            return False

    def ip(self, arguments: str) -> None:
        subprocess.run(["ip", *arguments.split()], check=True, capture_output=True)

    def __enter__(self) -> RemoteValkey:
        name = self.name
        self.ip(f"netns add {name}")
        try:
            self.ip(f"link add {name}a type veth peer name {name}b netns {name}")
            self.ip(f"address add 10.213.7.1/30 dev {name}a")
            self.ip(f"link set {name}a up")
            self.ip(f"-n {name} address add {self.address}/30 dev {name}b")
            self.ip(f"-n {name} link set {name}b up")
            super().__enter__()
        except BaseException:
            self.ip(f"netns delete {name}")
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__()
        self.ip(f"link delete {self.name}a")
        self.ip(f"netns delete {self.name}")


class CutOff(Fault):
    valkey: RemoteValkey

    def begin(self) -> None:
        self.valkey.ip(f"-n {self.valkey.name} link set {self.valkey.name}b down")
        # as long as a broken connection takes to be given up, and some attempts to connect again
        wait_for(lambda: "Redis connection lost" in self.site.log(), "the loop notices")

    def end(self) -> None:
        self.valkey.ip(f"-n {self.valkey.name} link set {self.valkey.name}b up")


def test_the_network_is_cut(door: type[Site], database: Path) -> None:
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("networks of one's own need root, and iproute2")
    with RemoteValkey() as valkey:
        settings.WS4REDIS_CONNECTION, settings.WS4REDIS_TIMEOUT = valkey.url, BOUND
        try:
            with start(door, valkey, database) as site:
                publisher = RedisPublisher(facility="trouble", broadcast=True)
                survives(site, CutOff(valkey, site), publisher)
        finally:
            del settings.WS4REDIS_CONNECTION, settings.WS4REDIS_TIMEOUT
