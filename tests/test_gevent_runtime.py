"""The port to gevent: what its threads promise to the loop. Without patching, so what waits here is a real thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from ws4redis.runtime.gevent_runtime import GeventRuntime
from ws4redis.runtime.gevent_threads import ThreadPool

#: for threads that wait for each other
PATIENCE = 30


def jobs(pool: ThreadPool, *functions: Callable[..., Any]) -> list[gevent.Greenlet]:
    return [gevent.spawn(pool.run, function) for function in functions]


def results(greenlets: list[gevent.Greenlet]) -> list[Any]:
    return [each.get(timeout=PATIENCE) for each in greenlets]


def run(pool: ThreadPool, function: Callable[..., Any]) -> Any:
    # a loop that waits for nothing itself would end, so there is a time-out
    return results(jobs(pool, function))[0]


def slowly() -> str:
    time.sleep(0.1)
    return "slow"


def test_it_runs_in_another_thread() -> None:
    pool = ThreadPool(2)
    assert run(pool, threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("delay", [0, 0.1], ids=["quick", "slow"])
def test_what_it_raises_is_raised(delay: float) -> None:
    def fail() -> None:
        time.sleep(delay)
        raise LookupError("on purpose")

    pool = ThreadPool(1)
    for _ in range(2):
        with pytest.raises(LookupError, match="on purpose"):
            run(pool, fail)
    assert run(pool, int) == 0


def test_quick_ones_share_a_thread() -> None:
    pool = ThreadPool(16)
    run(pool, int)
    assert len(set(results(jobs(pool, *[threading.get_ident] * 100)))) < 16


def test_slow_ones_run_at_the_same_time() -> None:
    """All of them must have begun before one of them can end."""
    pool, meeting = ThreadPool(4), threading.Barrier(4)
    assert sorted(results(jobs(pool, *[lambda: meeting.wait(PATIENCE)] * 4))) == [0, 1, 2, 3]


def test_more_than_there_are_threads() -> None:
    assert results(jobs(ThreadPool(2), *[slowly] * 7)) == ["slow"] * 7


def test_the_loop_goes_on_while_one_is_slow() -> None:
    pool, end = ThreadPool(2), threading.Event()
    [slow] = jobs(pool, lambda: end.wait(PATIENCE))
    for _ in range(10):
        gevent.sleep(0.01)
        assert run(pool, int) == 0
    end.set()
    assert results([slow]) == [True]


@pytest.mark.parametrize("fails", [False, True])
def test_another_thread_lets_the_loop_do_it(fails: bool) -> None:
    runtime, outcomes = GeventRuntime(), []
    runtime.start()

    def work() -> int:
        if fails:
            raise LookupError("on purpose")
        return threading.get_ident()

    def ask() -> None:
        try:
            outcomes.append(runtime.run_in_loop(work))
        except LookupError as error:
            outcomes.append(str(error))

    ask()
    thread = threading.Thread(target=ask)
    thread.start()
    with gevent.Timeout(PATIENCE):
        while thread.is_alive():
            gevent.sleep(0.01)
    assert outcomes == [("on purpose" if fails else threading.get_ident())] * 2
