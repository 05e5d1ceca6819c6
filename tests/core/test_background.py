"""The program's own work, on a clock that the test moves; a host in memory does it here and now."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from contextlib import contextmanager
from contextvars import Context, ContextVar
from math import inf
from typing import Any

import pytest

from iotio import DeviceType
from iotio.core.manager import Manager
from iotio.core.primitives import wait
from tests.support.memory import Clock, make_manager, v1_device

WAIT = 5.0  # seconds; nothing here takes as long


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(clock: Clock) -> Manager:
    manager = make_manager(DeviceType("echo"), clock=clock)
    v1_device(manager)  # the host in memory
    return manager


def test_every_so_many_seconds_from_the_beginning(manager: Manager, clock: Clock) -> None:
    seen: list[float] = []

    @manager.every(60)
    def work() -> None:
        seen.append(clock.now - 1000)

    assert manager.background.next_due == inf
    manager.sweep(clock.now)
    manager.begin()
    for now in (59.9, 60.0, 60.1, 119.9, 125.0, 179.0, 180.0, 500.0, 539.0, 540.0):
        clock.now = 1000 + now
        manager.sweep(clock.now)
    assert seen == [60.0, 125.0, 180.0, 500.0, 540.0], "no turn shifts the next one, and none is made up for"
    assert manager.background.next_due == 1600.0


@pytest.mark.parametrize("interval", [0.1, 1 / 3, 7])
def test_no_turn_comes_twice(manager: Manager, clock: Clock, interval: float) -> None:
    count = 0

    @manager.every(interval)
    def work() -> None:
        nonlocal count
        count += 1

    manager.begin()
    for _ in range(1000):
        clock.now = manager.background.next_due
        manager.sweep(clock.now)
    assert count == 1000
    assert clock.now == pytest.approx(1000 + 1000 * interval)


def test_the_order_of_a_program(manager: Manager, clock: Clock) -> None:
    seen: list[str] = []

    @manager.event
    async def on_start() -> None:
        seen.append("start")

    @manager.every(1)
    async def work() -> None:
        await asyncio.sleep(0)
        seen.append("work")

    @manager.event
    def on_stop() -> None:
        seen.append("stop")

    manager.background.end(0, wait)
    assert seen == [], "what has not begun does not end"
    manager.begin()
    manager.begin()
    assert seen == ["start"]
    clock.now += 1
    manager.sweep(clock.now)
    manager.close(0)
    manager.close(0)
    clock.now += 1
    manager.sweep(clock.now)
    assert seen == ["start", "work", "stop"]


def test_a_server_that_starts_again(manager: Manager, clock: Clock) -> None:
    seen: list[str] = []

    class Again(Manager):
        def on_start(self) -> None:
            seen.append("start")

        def on_stop(self) -> None:
            seen.append("stop")

    again = Again(clock=clock)
    again.loops.extend(manager.loops)
    again.every(1)(lambda: seen.append("work"))
    for _ in range(2):
        again.begin()
        clock.now += 1
        again.sweep(clock.now)
        again.background.end(0, wait)
    assert seen == ["start", "work", "stop"] * 2


def test_work_that_is_added_while_the_server_serves(manager: Manager, clock: Clock) -> None:
    seen: list[str] = []
    manager.begin()
    clock.now += 0.5
    manager.every(1)(lambda: seen.append("work"))
    for passed in (0.6, 0.4):
        clock.now += passed
        manager.sweep(clock.now)
    assert seen == ["work"]


def test_a_failure_is_logged_and_the_next_turn_comes(
    manager: Manager, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> None:
        raise LookupError("no sensor")

    async def later() -> None:
        raise SystemExit("no")

    for one in (work, later):
        one.__qualname__ = one.__name__
        manager.every(1)(one)
    manager.begin()
    for _ in range(2):
        clock.now += 1
        manager.sweep(clock.now)
    assert [record.getMessage() for record in caplog.records] == [
        "work, which runs every 1 s, failed",
        "later, which runs every 1 s, failed",
    ] * 2
    assert "LookupError: no sensor" in caplog.text


@pytest.mark.parametrize("name", ["on_start", "on_stop"])
def test_a_failure_at_the_start_or_end_is_logged(
    manager: Manager, clock: Clock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    def callback() -> None:
        raise LookupError("no database")

    seen: list[str] = []
    callback.__name__ = name
    manager.event(callback)
    manager.every(1)(lambda: seen.append("work"))
    manager.begin()
    clock.now += 1
    manager.sweep(clock.now)
    manager.close(0)
    assert seen == ["work"]
    assert [record.getMessage() for record in caplog.records] == [f"the manager's {name} failed"]


class Threads:
    """A place where a `def` runs in a thread that the test ends."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def run_def(self, function: Any, label: str) -> None:
        self.threads.append(threading.Thread(target=function, name=label))
        self.threads[-1].start()

    def submit(self, awaitable: Any, context: Context) -> Any:
        raise AssertionError

    def run_awaitable(self, awaitable: Any, context: Context) -> Any:
        raise AssertionError

    def give_way(self) -> None: ...


def test_never_twice_at_once(manager: Manager, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    place, go, began, ended = Threads(), threading.Event(), threading.Semaphore(0), list[str]()
    manager.loops[:] = [place]

    def work() -> None:
        began.release()
        assert go.wait(WAIT)

    work.__qualname__ = "work"
    manager.every(1)(work)
    manager.event(_named("on_stop", lambda: ended.append("stop")))
    manager.begin()
    for _ in range(3):
        clock.now += 1
        manager.sweep(clock.now)
    assert began.acquire(timeout=WAIT)
    assert len(place.threads) == 1
    text = "work, which runs every 1 s, has not ended since its last turn and misses this one"
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [(logging.WARNING, text)] * 2
    go.set()
    place.threads[0].join(WAIT)
    clock.now += 1
    manager.sweep(clock.now)
    assert began.acquire(timeout=WAIT)
    manager.background.end(WAIT, wait)
    assert ended == ["stop"]
    for thread in place.threads:
        thread.join(WAIT)


def test_the_end_waits_for_a_def_so_long_as_it_may(manager: Manager, clock: Clock) -> None:
    place, go, seen = Threads(), threading.Event(), list[str]()
    manager.loops[:] = [place]
    manager.every(1)(lambda: go.wait(WAIT))
    manager.event(_named("on_stop", lambda: seen.append("stop")))
    manager.begin()
    clock.now += 1
    manager.sweep(clock.now)

    def out_of_patience(signal: Any, timeout: float) -> bool:
        if not seen:
            seen.append(f"{timeout:g}")
        return wait(signal, 0 if len(place.threads) == 1 else WAIT)

    manager.background.end(3, out_of_patience)
    assert seen == ["3", "stop"]
    go.set()
    for thread in place.threads:
        thread.join(WAIT)


def _named(name: str, function: Any) -> Any:
    function.__name__ = name
    return function


where: ContextVar[str] = ContextVar("where", default="nowhere")


def test_work_runs_in_the_context_of_the_application(manager: Manager, clock: Clock) -> None:
    seen: list[str] = []

    @contextmanager
    def scope(client: Any) -> Any:
        token = where.set("application")
        yield
        where.reset(token)
        seen.append("left")

    manager.scope = scope

    @manager.every(1)
    def work() -> None:
        seen.append(where.get())

    @manager.every(1)
    async def later() -> None:
        await asyncio.sleep(0)
        seen.append(where.get())

    manager.every(1)(lambda: later())  # a def that returns something to be awaited
    manager.begin()
    clock.now += 1
    manager.sweep(clock.now)
    assert seen == ["application", "left"] * 3


def test_what_hosts_ask_for_each_request(manager: Manager) -> None:
    def waits() -> bool:
        return manager.background.waits_for_begin

    assert not waits(), "there is nothing to do"
    for name in ("on_start", "on_stop"):
        manager.event(_named(name, lambda: None))
        assert waits()
        vars(manager).pop(name)
        assert not waits()
    manager.every(1)(lambda: None)
    assert waits()
    manager.begin()
    assert not waits()
    manager.close(0)
    assert not waits(), "a server that goes down does not begin"


# Wrong use.


@pytest.mark.parametrize("seconds", [0, -1, inf, float("nan"), "60", None, True])
def test_seconds_are_a_number_above_0(manager: Manager, seconds: Any) -> None:
    text = f"every() takes the seconds between two calls, a number above 0, not {seconds!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        manager.every(seconds)


def test_every_without_seconds(manager: Manager) -> None:
    text = "write @manager.every(60), with the seconds between two calls, above the function"
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):

        @manager.every  # type: ignore[arg-type]  # that is the point
        def work() -> None: ...


def test_work_has_no_parameters(manager: Manager) -> None:
    def work(client: Any) -> None: ...

    work.__qualname__ = "work"
    with pytest.raises(TypeError, match=r"^work must be a function without parameters: it is called every 60 s$"):
        manager.every(60)(work)


@pytest.mark.parametrize("name", ["on_start", "on_stop"])
def test_callbacks_of_the_server_have_no_parameters(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TypeError, match=f"^the manager's {name} must take no parameter$"):
        Manager().event(_named(name, lambda client: None))
    made = type("Old", (Manager,), {name: lambda self, client: None})()
    assert f"{name} takes parameters, and so is not called by the server: give it another name" in caplog.text
    made.begin()
    made.close(0)


def test_work_needs_a_host() -> None:
    manager = Manager()
    manager.event(_named("on_start", lambda: None))
    with pytest.raises(RuntimeError, match="there is no host yet that could do the work of this manager"):
        manager.begin()
