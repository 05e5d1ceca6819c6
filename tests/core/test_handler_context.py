"""Where user code runs: its context, the scope around it, what it raises, and calls that are abandoned."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from iotio.core.handler_context import HandlerContext, Scope
from iotio.core.handles import IoTClient, current_client
from iotio_protocol.log_throttle import LogThrottle
from tests.support.memory import make_manager

inside: ContextVar[str] = ContextVar("inside", default="outside")


class Runner:
    """A connection as far as its user code goes."""

    passed_on: tuple[type[BaseException], ...] = (KeyboardInterrupt,)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.log_throttle = LogThrottle(time.monotonic, threading.Lock())

    def run_async(self, coroutine: Any, context: Context) -> Any:
        return context.copy().run(asyncio.run, coroutine)


class Scopes:
    """A scope that counts how often it is entered and left, and sees in which context."""

    def __init__(self) -> None:
        self.entered = 0
        self.left: list[str] = []

    def __call__(self, client: IoTClient) -> Scopes:
        self.client = client
        return self

    def __enter__(self) -> None:
        self.entered += 1
        self._token = inside.set(f"inside {self.client.id}")

    def __exit__(self, *error: object) -> None:
        self.left.append(inside.get())
        inside.reset(self._token)  # raises in any other context


def make(scope: Scope | None = None) -> HandlerContext:
    client = IoTClient(None, "d", "kind", None, make_manager())  # type: ignore[arg-type]  # no connection is needed
    return HandlerContext(Runner(), client, copy_context(), scope)


def test_a_handler_runs_in_the_context_with_client_and_scope() -> None:
    context = make(Scopes())

    def handler(one: int, two: int) -> tuple[str, IoTClient, int]:
        return inside.get(), current_client.get(), one + two

    where, client, total = context.run_handler("add", handler, (1, 2))
    assert (where, client.id, total) == ("inside d", "d", 3)
    assert inside.get() == "outside"


def test_what_a_handler_returns_to_be_awaited_is_awaited() -> None:
    async def handler(value: str) -> str:
        await asyncio.sleep(0)
        return value + inside.get()

    assert make(Scopes()).run_handler("wait", handler, ("x ",)) == "x inside d"


def test_what_a_handler_raises_is_logged_and_ends_here(caplog: pytest.LogCaptureFixture) -> None:
    def handler() -> None:
        raise SystemExit("not about the program")

    assert make().run_handler("exit", handler, ()) is None
    assert "handler on_exit of type 'kind' failed for device 'd'" in caplog.text
    assert "not about the program" in caplog.text


def test_what_ends_the_thread_is_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    def handler() -> None:
        raise KeyboardInterrupt

    context = make()
    with pytest.raises(KeyboardInterrupt):
        context.run_handler("exit", handler, ())
    with pytest.raises(KeyboardInterrupt):
        context.run_observer(handler)
    assert caplog.records == []


def test_an_observer_runs_in_the_step_that_calls_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    context = make(Scopes())
    seen: list[str] = []

    def plain(number: int) -> None:
        seen.append(f"{number} {inside.get()}")

    async def later(number: int) -> None:
        seen.append(f"later {number}")

    def failing(number: int) -> None:
        raise ValueError(number)

    def step() -> None:
        for function in (plain, failing, later):
            context.run_observer(function, 1)

    context.run_handler("presence", step, ())
    assert seen == ["1 inside d", "later 1"]
    assert [record.getMessage() for record in caplog.records] == [
        "handler on_presence of type 'kind' failed for device 'd'"
    ]


def test_the_scope_is_left_once_where_it_was_entered() -> None:
    scopes = Scopes()
    context = make(scopes)
    context.tear_down()
    context.tear_down()
    assert (scopes.entered, scopes.left) == (1, ["inside d"])


def test_a_scope_that_cannot_be_entered_is_logged_and_not_left(caplog: pytest.LogCaptureFixture) -> None:
    def broken(client: IoTClient) -> AbstractContextManager[None]:
        raise RuntimeError("no application")

    context = make(broken)
    assert context.run_handler("x", lambda: 1, ()) == 1
    context.tear_down()
    assert "the context of device 'd' could not be entered; its handlers run without" in caplog.text
    assert "could not be left" not in caplog.text


def test_a_scope_that_cannot_be_left_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @contextmanager
    def broken(client: IoTClient) -> Iterator[None]:
        yield
        raise RuntimeError("left wrongly")

    make(broken).tear_down()
    assert "the context of device 'd' could not be left" in caplog.text


def test_user_code_goes_on_in_a_copy_while_an_abandoned_call_is_in_the_old_context() -> None:
    scopes = Scopes()
    context = make(scopes)
    entered, gate = threading.Event(), threading.Event()

    def stuck() -> None:
        entered.set()
        assert gate.wait(5)

    thread = threading.Thread(target=context.run_handler, args=("stuck", stuck, ()))
    thread.start()
    assert entered.wait(5)
    first = context.context
    assert context.abandon(1) is context.context is not first
    assert context.run_handler("disconnect", inside.get, ()) == "inside d"
    context.tear_down()
    assert scopes.left == [], "the abandoned call is still inside"
    gate.set()
    thread.join(5)
    context.abandoned_ended(1)
    assert scopes.left == ["inside d"]


def test_the_scope_waits_for_the_teardown_and_for_the_last_of_several_abandoned_calls() -> None:
    scopes = Scopes()
    context = make(scopes)
    context.abandon(2)
    context.abandoned_ended(1)
    context.abandoned_ended(1)
    assert scopes.left == [], "on_disconnect may still run"
    context.abandon(2)
    context.tear_down()
    context.abandoned_ended(1)
    assert (scopes.left, context.n_abandoned) == ([], 1)
    context.abandoned_ended(1)
    assert scopes.left == ["inside d"]
