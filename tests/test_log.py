"""What a log is told of an upgrade, and when it is told nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import RequestFactory, override_settings
from django.utils.log import RequireDebugTrue

import tests.django_setup  # noqa: F401
from ws4redis.subscriber import RedisSubscriber
from ws4redis.upgrade import log


class Handler(logging.Handler):
    def __init__(self, level: int = logging.NOTSET, filters: tuple[Any, ...] = ()) -> None:
        super().__init__(level)
        self.lines: list[str] = []
        for each in filters:
            self.addFilter(each)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[logging.Logger, logging.Logger]]:
    """A logger that stands alone, in place of Django's, and its parent."""
    parent = logging.Logger("parent", logging.INFO)
    child = logging.Logger("parent.child")
    child.parent, parent.parent = parent, None
    monkeypatch.setattr(log, "logger", child)
    yield child, parent


# handlers of the logger, of its parent, the logger's level, whether it hands on, DEBUG -> whether a line is read
READ = {
    "Django's own in production": (
        [],
        [(logging.INFO, (RequireDebugTrue(),)), (logging.ERROR, ())],
        0,
        True,
        False,
        False,
    ),
    "Django's own with DEBUG": ([], [(logging.INFO, (RequireDebugTrue(),))], 0, True, True, True),
    "one of the parent": ([], [(logging.INFO, ())], 0, True, False, True),
    "one of its own": ([(logging.NOTSET, ())], [], 0, True, False, True),
    "the parent's is out of reach": ([], [(logging.INFO, ())], 0, False, False, False),
    "warnings only": ([], [(logging.WARNING, ())], 0, True, False, False),
    "the logger is switched off": ([(logging.NOTSET, ())], [], logging.WARNING, True, False, False),
    "another filter decides by itself": ([(logging.INFO, (lambda record: True,))], [], 0, True, False, True),
    "none at all": ([], [], 0, True, False, False),
}


@pytest.mark.parametrize("case", READ)
def test_a_line_is_made_where_somebody_reads_it(
    loggers: tuple[logging.Logger, logging.Logger], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    own, parents, level, propagate, debug, read = READ[case]
    child, parent = loggers
    for logger, handlers in ((child, own), (parent, parents)):
        for threshold, filters in handlers:
            logger.addHandler(Handler(threshold, filters))
    child.setLevel(level)
    child.propagate = propagate
    made: list[Any] = []
    monkeypatch.setattr(child, "handle", made.append)
    with override_settings(DEBUG=debug):
        tell()
    assert bool(made) == read


@pytest.mark.parametrize("key", ["abcdefghijkl", "abcdef:gh:ijkl"])
def test_of_a_session_key_only_the_beginning_is_told(loggers: tuple[logging.Logger, logging.Logger], key: str) -> None:
    handler = Handler()
    loggers[0].addHandler(handler)
    tell("subscribe-session", "publish-broadcast", key=key)
    assert handler.lines == [
        "websocket on '/ws/news' subscribes to ['session:abcd...:news'] and publishes to ['broadcast:news']"
    ]


def tell(*flags: str, key: str = "abcdefghijkl") -> None:
    request = RequestFactory().get("/ws/news")
    request.session = SimpleNamespace(session_key=key, get=lambda name, default=None: default)  # type: ignore[assignment]
    subscriber = RedisSubscriber(None)  # type: ignore[arg-type]
    subscriber.set_pubsub_channels(request, flags)
    log.log_channels(request, subscriber)


@pytest.mark.parametrize(
    ("text", "line"), [("john", "john"), ("jo\nhn\r\x1b[31m", "jo\\nhn\\r\\x1b[31m"), ("jö\u2028hn", "jö\\u2028hn")]
)
def test_whatever_a_visitor_calls_himself_is_one_line(text: str, line: str) -> None:
    assert log.printable(text) == line
