"""The samples of the how-to pages, each run with a real Redis and, where it needs one, a real server."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import types
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest
import redis
import websocket
from django.test import override_settings

from tests.browsers import log_in
from tests.docs.pages import HOWTO, runs
from tests.servers import ROOT, UWSGI, Sentinel, Valkey, free_port, wait_for
from ws4redis import settings
from ws4redis.core import channels
from ws4redis.publisher import RedisPublisher

# -- how to publish --


class Session(dict[str, Any]):
    session_key = "abc"


JOHN = SimpleNamespace(
    user=SimpleNamespace(is_authenticated=True, get_username=lambda: "john"),
    session=Session({channels.GROUPS_SESSION_KEY: ["editors", "chatusers"]}),
)

PUBLISHED: dict[str, tuple[tuple[Any, ...], set[str], str]] = {
    "to_everybody": ((), {"broadcast:news"}, "We are open"),
    "to_some": ((), {"user:john:news", "user:mary:news", "group:editors:news"}, "Please review"),
    "to_the_visitor": ((JOHN,), {"session:abc:cart"}, "3 items"),
    "to_the_visitors_colleagues": ((JOHN,), {"group:editors:news", "group:chatusers:news"}, "I am back"),
    "an_object": ((), {"broadcast:prices"}, '{"gold": 1234.5}'),
    "for_a_minute": ((), {"broadcast:news"}, "Doors close in a minute"),
    "to_who_listens_now": ((), {"broadcast:news"}, "A knock"),
    "if_somebody_listens": ((), {"broadcast:news"}, "Is anybody there?"),
    "or_else": ((), {"broadcast:news"}, "Important"),
}


@pytest.fixture(scope="module")
def publish() -> Any:
    return runpy.run_path(str(HOWTO / "publish.py"))


@pytest.fixture
def clean_redis(redis_server: Valkey, settings_of_redis: None) -> redis.Redis:
    client = redis_server.client()
    client.flushall()
    return client


@runs("howto/publish.py")
@pytest.mark.parametrize("name", PUBLISHED)
def test_publish(publish: Any, clean_redis: redis.Redis, name: str) -> None:
    arguments, names, message = PUBLISHED[name]
    with clean_redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.psubscribe("*")
        wait_for(lambda: clean_redis.pubsub_numpat() == 1, "the subscription")
        publish[name](*arguments)
        received = [wait_for(listener.get_message, "a message") for _ in names]
        assert listener.get_message(timeout=0.1) is None
    assert {each["channel"].decode() for each in received} == names
    assert {each["data"].decode() for each in received} == {message}


def test_publish_keeps(publish: Any, clean_redis: redis.Redis) -> None:
    publish["to_everybody"]()
    assert 3590 < clean_redis.ttl("broadcast:news") <= 3600
    publish["for_a_minute"]()
    assert 50 < clean_redis.ttl("broadcast:news") <= 60
    publish["to_who_listens_now"]()
    assert clean_redis.get("broadcast:news") == b"Doors close in a minute"


def test_publish_and_read_again(publish: Any, clean_redis: redis.Redis) -> None:
    assert publish["what_was_last"](JOHN) is None
    publish["to_the_visitor"](JOHN)
    assert publish["what_was_last"](JOHN) == b"3 items"


def test_publish_counts(publish: Any, site: UWSGI, settings_of_redis: None) -> None:
    assert publish["if_somebody_listens"]() is False
    browsers = [site.connect("/ws/news?subscribe-broadcast") for _ in range(2)]
    assert publish["if_somebody_listens"]() is True
    assert len(browsers) == 2


def test_publish_without_redis(publish: Any, settings_of_redis: None) -> None:
    assert publish["or_else"]() == "sent"
    settings.WS4REDIS_CONNECTION = f"redis://127.0.0.1:{free_port()}"
    assert publish["or_else"]() == "not sent"


def test_every_function_of_publish_is_run(publish: Any) -> None:
    functions = {name for name, value in publish.items() if isinstance(value, types.FunctionType)}
    assert functions == {*PUBLISHED, "what_was_last"}


# -- how to reach Redis --


@runs("howto/sentinel.py")
def test_sentinel(redis_server: Valkey, tmp_path: Path) -> None:
    with Sentinel(redis_server, tmp_path) as sentinel, override_settings(SENTINELS=[("127.0.0.1", sentinel.port)]):
        assert runpy.run_path(str(HOWTO / "sentinel.py"))["current_master"]().ping()


# -- how to change groups --


@runs("howto/groups.py")
def test_groups(redis_server: Valkey, settings_of_redis: None) -> None:
    from tests.django_setup import database

    redis = redis_server.client()

    def known(name: str) -> list[str]:
        return sorted(json.loads(redis.get(f"ws4redis:memberof:{name}") or "{}").get("groups", ["never told"]))

    with database():
        from django.contrib.auth.models import Group, User
        from django.db.models.signals import m2m_changed

        sample = runpy.run_path(str(HOWTO / "groups.py"))
        try:
            john, mary = User.objects.get(username="john"), User.objects.get(username="mary")
            editors = Group.objects.create(name="editors")
            john.groups.remove(Group.objects.get(name="writers"))
            assert [known("john"), known("mary")] == [["chatusers"], ["never told"]]
            editors.user_set.add(john, mary)
            assert [known("john"), known("mary")] == [["chatusers", "editors"], ["editors"]]
            editors.user_set.remove(john)
            assert known("john") == ["chatusers"]
            mary.groups.clear()
            assert known("mary") == []
            sample["ban"](john)
            assert known("john") == []
            assert not john.groups.exists(), "a ban that Redis alone knew would be lost with it"
        finally:
            m2m_changed.disconnect(sample["follow_groups"], sender=User.groups.through)
            redis.delete("ws4redis:memberof", "ws4redis:memberof:john", "ws4redis:memberof:mary")


# -- how to authorise, a subscriber of one's own --


@pytest.fixture
def with_settings(redis_server: Valkey, editors: Path) -> Iterator[Callable[..., UWSGI]]:
    """Starts the test site with the samples on its path."""
    started: list[UWSGI] = []

    def start(**names: str) -> UWSGI:
        paths = {f"WS4REDIS_{name.upper()}": f'"{path}"' for name, path in names.items()}
        server = UWSGI(redis_server.url, {"pythonpath": HOWTO}, DATABASE=str(editors), **paths)
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__()


@pytest.fixture(scope="module")
def editors(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test site's database, where mary is an editor."""
    path = tmp_path_factory.mktemp("editors") / "site.sqlite3"
    path.write_bytes(database.read_bytes())
    code = """
        import django; django.setup()
        from django.contrib.auth.models import Group, User
        User.objects.get(username="mary").groups.add(Group.objects.create(name="editors"))
    """
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.site.settings", "DATABASE": str(path)}
    subprocess.run([sys.executable, "-c", dedent(code)], cwd=ROOT, env=environment, check=True)
    return path


def cookie_of(site: UWSGI, name: str) -> dict[str, str]:
    return {"cookie": f"sessionid={log_in(site, name)}"}


def status_for(site: UWSGI, path: str, **options: Any) -> int:
    try:
        return int(site.connect(path, **options).getstatus())
    except websocket.WebSocketBadStatusException as error:
        return int(error.status_code)


def test_only_users_publish(with_settings: Callable[..., UWSGI], clean_redis: redis.Redis) -> None:
    site = with_settings(allowed_channels="authorise.only_users_publish")
    path = "/ws/news?subscribe-broadcast&publish-broadcast"
    listener, somebody, john = (site.connect(path), site.connect(path), site.connect(path, **cookie_of(site, "john")))
    somebody.send("from somebody")
    somebody.close()  # is answered when the message was handled
    assert clean_redis.get("broadcast:news") is None
    john.send("from john")
    assert listener.recv() == "from john"


@pytest.mark.contract(
    "14 manual: 9 a visitor who has not logged in gets the hook's 403",
    "asks channels: #190, #174, #103: who may publish",
)
@runs("howto/authorise.py")
def test_only_users(with_settings: Callable[..., UWSGI], clean_redis: redis.Redis) -> None:
    site = with_settings(allowed_channels="authorise.only_users")
    path = "/ws/news?subscribe-broadcast&publish-broadcast"
    assert status_for(site, path) == 403
    users, staff = (site.connect(path, **cookie_of(site, name)) for name in ("john", "admin"))
    users.send("from john")
    staff.send("from admin")
    assert users.recv() == "from admin"
    assert clean_redis.get("broadcast:news") == b"from admin"


@pytest.mark.contract(
    "9.4 allowed channels: it may decide by the path",
    "asks channels: #190, #174, #103: who may publish",
)
def test_by_facility(with_settings: Callable[..., UWSGI]) -> None:
    site = with_settings(allowed_channels="authorise.by_facility")
    john, mary = cookie_of(site, "john"), cookie_of(site, "mary")
    assert status_for(site, "/ws/editors/news?subscribe-broadcast") == 403
    assert status_for(site, "/ws/editors/news?subscribe-broadcast", **john) == 403
    assert status_for(site, "/ws/editors/news?subscribe-broadcast", **mary) == 101
    assert status_for(site, "/ws/news?subscribe-broadcast", **john) == 101


@pytest.mark.contract(
    "9.3 process request: it is called in place of the cookie's look-up",
    "9.3 process request: a token in the URL may identify the user",
    "asks identity: #67, #82, #164, #232, #233: tokens in place of the session",
)
def test_a_ticket(with_settings: Callable[..., UWSGI], clean_redis: redis.Redis) -> None:
    import tests.django_setup  # noqa: F401  before any model

    authorise = runpy.run_path(str(HOWTO / "authorise.py"))
    ticket = authorise["make_ticket"](JOHN.user)
    site = with_settings(process_request="authorise.user_by_ticket")
    path = "/ws/news?subscribe-user&ticket="
    assert status_for(site, f"{path}{ticket}x") == 403
    browser = site.connect(path + ticket)
    assert clean_redis.publish("user:john:news", "for john") == 1
    assert browser.recv() == "for john"
    stranger = authorise["make_ticket"](SimpleNamespace(get_username=lambda: "nobody"))
    assert status_for(site, path + stranger) == 403
    site.connect("/ws/news?subscribe-user", **cookie_of(site, "mary"))
    assert clean_redis.publish("user:mary:news", "the cookie does not count") == 0


@runs("howto/subscriber.py")
def test_a_subscriber_of_ones_own(with_settings: Callable[..., UWSGI]) -> None:
    site = with_settings(subscriber="subscriber.SigningSubscriber")
    listener = site.connect("/ws/room?subscribe-broadcast")
    john = site.connect("/ws/room?subscribe-broadcast&publish-broadcast", **cookie_of(site, "john"))
    somebody = site.connect("/ws/room?publish-broadcast")
    john.send("hi")
    assert listener.recv() == "john: hi"
    somebody.send("ho")
    assert listener.recv() == "somebody: ho"
    assert john.recv() == "somebody: ho"
    john.close()
    assert listener.recv() == "john has left"


# -- look into Redis --


class RedisCli:
    """Runs what stands in a file of the page; ``redis-cli`` finds the tests' Redis."""

    def __init__(self, folder: Path, port: int) -> None:
        program = shutil.which("redis-cli")
        if program is None:
            pytest.skip("redis-cli is not installed (Debian has it in redis-tools)")
        command = folder / "redis-cli"
        command.write_text(f'#!/bin/sh\nexec {program} -p {port} "$@"\n')
        command.chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}

    def __call__(self, name: str) -> list[str]:
        """The lines of the answers."""
        done = subprocess.run(
            self._command(name), env=self._environment, capture_output=True, text=True, check=True, timeout=30
        )
        assert not done.stderr
        return [line for line in done.stdout.splitlines() if line]

    @contextmanager
    def endless(self, name: str) -> Iterator[Callable[[], str]]:
        """Runs meanwhile what ends by Ctrl-C only; what it has said until now."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self._command(name), env=self._environment, stdout=output, start_new_session=True
            )

            def said() -> str:
                # not seek(): the program writes at the same position
                return os.pread(output.fileno(), 1 << 20, 0).decode()

            try:
                yield said
            finally:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(20)

    def _command(self, name: str) -> list[str]:
        return ["sh", "-e", str(HOWTO / "redis-cli" / name)]


@pytest.fixture
def redis_cli(redis_server: Valkey, tmp_path: Path) -> RedisCli:
    return RedisCli(tmp_path, redis_server.port)


@pytest.mark.contract(
    "3 names: other programs publish to these names by hand",
    "asks delivery: #211, #267, #60: all is connected, and nothing arrives",
    "differs from 0.6: `PUBSUB NUMSUB`",
)
@runs(*(f"howto/redis-cli/{name}.sh" for name in ("channels", "last", "publish", "keep", "forget")))
def test_look_with_redis_cli(site: UWSGI, clean_redis: redis.Redis, redis_cli: RedisCli) -> None:
    browser, _ = (site.connect("/ws/news?subscribe-broadcast") for _ in range(2))
    runpy.run_path(str(HOWTO / "publish.py"))["for_a_minute"]()
    assert browser.recv() == "Doors close in a minute"

    *listed, name, listeners, other_name, other_listeners = redis_cli("channels.sh")
    canary = [each for each in listed if ":canary:" in each]
    assert sorted(listed) == sorted(["broadcast:news", *canary]) and len(canary) == 1
    assert [name, listeners, other_name, other_listeners] == ["broadcast:news", "1", "user:john:news", "0"]

    key, kept, seconds = redis_cli("last.sh")
    assert (key, kept) == ("broadcast:news", "Doors close in a minute")
    assert 50 < int(seconds) <= 60

    assert redis_cli("publish.sh") == ["1"]
    assert browser.recv() == "hello"
    assert clean_redis.get("broadcast:news") == b"Doors close in a minute"

    assert redis_cli("keep.sh") == ["OK", "1"]
    assert browser.recv() == "hello"
    assert site.connect("/ws/news?subscribe-broadcast").recv() == "hello"

    assert redis_cli("forget.sh") == ["1"]
    assert clean_redis.get("broadcast:news") is None


@runs("howto/redis-cli/listen.sh")
def test_listen_with_redis_cli(clean_redis: redis.Redis, redis_cli: RedisCli) -> None:
    with redis_cli.endless("listen.sh") as said:
        wait_for(lambda: clean_redis.pubsub_numpat() == 1, "the subscription")
        clean_redis.publish("user:john:news", "for john")
        clean_redis.publish("user:john:olds", "is not shown")
        clean_redis.publish("broadcast:news", "for all")
        shown = wait_for(lambda: "for all" in said() and said().splitlines()[-8:], "the messages")
    assert shown == [
        "pmessage",
        "*:news",
        "user:john:news",
        "for john",
        "pmessage",
        "*:news",
        "broadcast:news",
        "for all",
    ]


@runs("howto/redis-cli/monitor.sh")
def test_monitor_with_redis_cli(clean_redis: redis.Redis, redis_cli: RedisCli) -> None:
    with redis_cli.endless("monitor.sh") as said:
        wait_for(lambda: any(each["cmd"] == "monitor" for each in clean_redis.client_list()), "MONITOR")
        runpy.run_path(str(HOWTO / "publish.py"))["for_a_minute"]()
        shown = wait_for(lambda: '"PUBLISH" "broadcast:news"' in said() and said(), "the command")
    assert '"SETEX" "broadcast:news" "60" "Doors close in a minute"' in shown


# -- publish inside a transaction, and test it --


@pytest.fixture
def writers(settings_of_redis: None, redis_server: Valkey) -> Iterator[Any]:
    """A group in a database of its own."""
    from tests.django_setup import database

    redis_server.client().flushall()
    with database():
        from django.contrib.auth.models import Group

        yield Group.objects.get(name="writers")


@pytest.fixture
def rename() -> Any:
    return runpy.run_path(str(HOWTO / "transaction.py"))["rename"]


class Undone(Exception):
    pass


def last_of_groups() -> bytes | None:
    return RedisPublisher().fetch_message(None, "groups", "broadcast")


@runs("howto/transaction.py")
def test_a_commit_publishes(writers: Any, rename: Any) -> None:
    from django.db import transaction

    with transaction.atomic():
        rename(writers, "authors")
        assert last_of_groups() is None
    assert last_of_groups() == b"now authors"


def test_a_rollback_publishes_nothing(writers: Any, rename: Any) -> None:
    from django.db import transaction

    with pytest.raises(Undone), transaction.atomic():
        rename(writers, "authors")
        raise Undone
    writers.refresh_from_db()
    assert (writers.name, last_of_groups()) == ("writers", None)


def test_without_redis_a_commit_is_one(writers: Any, rename: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.WS4REDIS_CONNECTION = f"redis://127.0.0.1:{free_port()}"
    rename(writers, "authors")
    writers.refresh_from_db()
    assert writers.name == "authors"
    assert "Redis is not available" in caplog.text


@runs("howto/rename_tests.py")
def test_the_test_of_a_transaction(writers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOWTO))
    case = runpy.run_path(str(HOWTO / "rename_tests.py"))["RenameTests"]
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun == 1
    assert [*result.errors, *result.failures] == []


# -- moving from Django Channels --

JOHN_OF_CHANNELS = SimpleNamespace(pk=7, is_authenticated=True, get_username=lambda: "john")


@runs("howto/channels/consumers.py")
def test_before_with_channels() -> None:
    pytest.importorskip("channels", reason="channels is not installed")
    from asgiref.sync import async_to_sync, sync_to_async
    from asgiref.testing import ApplicationCommunicator

    async def connect_and_hear(consumers: dict[str, Any], user: Any) -> list[dict[str, Any]]:
        scope = {"type": "websocket", "path": "/news", "user": user}
        browser = ApplicationCommunicator(consumers["NewsConsumer"].as_asgi(), scope)
        await browser.send_input({"type": "websocket.connect"})
        answers = [await browser.receive_output(20)]
        if user.is_authenticated:
            await sync_to_async(consumers["tell"])(user, "hi")
            answers.append(await browser.receive_output(20))
        await browser.send_input({"type": "websocket.disconnect", "code": 1000})
        await browser.wait(20)
        return answers

    layer = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with override_settings(CHANNEL_LAYERS=layer):
        consumers = runpy.run_path(str(HOWTO / "channels/consumers.py"))
        john = async_to_sync(connect_and_hear)(consumers, JOHN_OF_CHANNELS)
        stranger = async_to_sync(connect_and_hear)(consumers, SimpleNamespace(is_authenticated=False))
    assert [each["type"] for each in john] == ["websocket.accept", "websocket.send"]
    assert john[1]["text"] == "hi"
    assert [each["type"] for each in stranger] == ["websocket.close"]


@runs("howto/channels/after.py")
def test_after_with_ws4redis(site: UWSGI, clean_redis: redis.Redis) -> None:
    tell = runpy.run_path(str(HOWTO / "channels/after.py"))["tell"]
    browser = site.connect("/ws/news?subscribe-user", **cookie_of(site, "john"))
    other = site.connect("/ws/news?subscribe-user&subscribe-broadcast", **cookie_of(site, "mary"))
    tell(JOHN_OF_CHANNELS, "hi")
    RedisPublisher(facility="news", broadcast=True).publish_message("to all", expire=0)
    assert browser.recv() == "hi"
    assert other.recv() == "to all"
