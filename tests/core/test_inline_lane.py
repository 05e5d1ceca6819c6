"""The lane of hosts whose connections have a thread: steps run at once, in the thread that pushes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import pytest

from iotio import IoTClient
from iotio.core.handler_context import HandlerContext
from iotio.core.inline_lane import InlineLane
from iotio.core.lane import Kind, Step
from iotio.core.primitives import Signal, wait
from iotio_protocol.log_throttle import LogThrottle
from tests.support.memory import make_manager


class Owner:
    """A connection as far as its lane goes; writes down what runs."""

    passed_on: tuple[type[BaseException], ...] = (KeyboardInterrupt,)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.log_throttle = LogThrottle(time.monotonic, threading.Lock())
        self._handler_context: HandlerContext | None = None
        self.takes_events = True
        self.context = copy_context()
        self.journal: list[str] = []
        self.aside: list[Callable[[], None]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.lane = InlineLane(self)

    @property
    def handler_context(self) -> HandlerContext:
        if self._handler_context is None:
            client = IoTClient(None, "d", "kind", None, make_manager())  # type: ignore[arg-type]  # none is needed
            self._handler_context = HandlerContext(self, client, self.context, None)
        return self._handler_context

    def abandon_calls(self, count: int) -> None:
        assert self._lock.locked()
        if self._handler_context is not None:
            self.context = self._handler_context.abandon(count)

    def answer(self, event: str, reply_head: bytes | None, result: Any) -> None:
        self.journal.append(f"reply {result}")

    def wait_for(self, signal: Signal, timeout: float) -> bool:
        return wait(signal, timeout)

    def run_aside(self, function: Callable[[], None]) -> None:
        self.aside.append(function)

    def run_async(self, coroutine: Any, context: Context) -> Any:
        raise AssertionError("not used here")

    def note(self, name: str) -> str:
        assert not self._lock.locked(), "never while user code runs"
        self.journal.append(name)
        return name

    def stuck(self, name: str) -> None:
        self.journal.append(name)
        self.entered.set()
        assert self.gate.wait(5)
        self.journal.append(f"{name} ends")

    def push(self, name: str, kind: Kind = Kind.EVENT, function: Callable[..., Any] | None = None) -> None:
        self.lane.push(Step.of(kind, "event", function or self.note, name))

    def push_in_thread(self, name: str, kind: Kind = Kind.EVENT) -> threading.Thread:
        thread = threading.Thread(target=self.push, args=(name, kind, self.stuck))
        thread.start()
        assert self.entered.wait(5)
        return thread


@pytest.fixture
def owner() -> Owner:
    return Owner()


def test_steps_run_at_once_and_what_an_event_returns_is_sent(owner: Owner) -> None:
    for number, kind in enumerate(Kind):
        owner.push(str(number), kind)
    assert owner.journal == ["0", "1", "reply 1", "2", "3"]
    assert owner.lane.is_idle


def test_first_steps_run_at_once_too(owner: Owner) -> None:
    owner.lane.push_first([Step.of(Kind.CONNECT, "connect", owner.note, name) for name in "ab"])
    assert owner.journal == ["a", "b"]


def test_busy_while_a_turn_runs_and_not_idle_while_events_are_to_be_handled(owner: Owner) -> None:
    owner.lane.expect(["one", "two"])
    assert (owner.lane.is_busy, owner.lane.is_idle) == (False, False)
    thread = owner.push_in_thread("x")
    assert owner.lane.is_busy
    owner.gate.set()
    thread.join(5)
    owner.lane.handled()
    owner.lane.handled()
    assert owner.lane.is_idle


def test_a_turn_within_a_turn_ends_with_the_outer_one(owner: Owner) -> None:
    def outer(name: str) -> None:
        owner.push("inner", Kind.INTERNAL)
        assert owner.lane.is_busy
        owner.push("connect", Kind.CONNECT)
        assert owner.lane.is_busy

    owner.push("outer", Kind.INTERNAL, outer)
    assert owner.journal == ["inner", "connect"]
    assert owner.lane.is_idle


def test_a_handler_that_ends_the_thread_ends_its_turn(owner: Owner) -> None:
    def end(name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        owner.push("x", Kind.EVENT, end)
    assert owner.lane.is_idle


def test_events_that_have_not_begun_are_dropped(owner: Owner) -> None:
    owner.takes_events = False
    owner.push("not taken")
    owner.takes_events = True
    with owner._lock:
        owner.lane.drop_events()
    owner.push("dropped")
    owner.push("disconnect", Kind.DISCONNECT)
    assert owner.journal == ["disconnect"]


def test_a_function_is_called_at_once_or_soon(owner: Owner) -> None:
    owner.lane.call(lambda: owner.journal.append("at once"))
    owner.lane.call_soon(lambda: owner.journal.append("where it may wait"))
    assert owner.journal == ["at once"]
    owner.aside.pop()()
    assert owner.journal == ["at once", "where it may wait"]


def test_soon_is_after_the_turn_that_runs(owner: Owner) -> None:
    thread = owner.push_in_thread("x")
    with owner._lock:
        owner.lane.drop_events()
    owner.lane.call_soon(lambda: owner.journal.append("teardown"))
    assert owner.journal == ["x"]
    owner.gate.set()
    thread.join(5)
    assert (owner.journal, owner.aside) == (["x", "x ends", "teardown"], [])


def test_soon_is_left_to_a_thread_that_has_events_of_a_device_that_ended_itself(owner: Owner) -> None:
    owner.lane.expect(["one"])
    owner.lane.call_soon(lambda: owner.journal.append("never: the thread ends itself"))
    owner.push("x")
    owner.lane.handled()
    assert (owner.journal, owner.aside) == (["x", "reply x"], [])


def test_a_lane_waits_where_it_is_held(owner: Owner) -> None:
    signal = Signal()
    timer = threading.Timer(0.02, signal.set)
    timer.start()
    owner.lane.hold(signal, 5, lambda: owner.journal.append("lost"))
    assert (signal.is_set, owner.journal) == (True, [])
    owner.lane.hold(Signal(), 0.01, lambda: owner.journal.append("lost"))
    assert owner.journal == ["lost"]


def test_what_follows_an_abandoned_turn_runs_beside_it_in_another_context(owner: Owner) -> None:
    thread = owner.push_in_thread("x")
    before = owner.context
    owner.lane.abandon()
    assert owner.context is not before
    owner.push("disconnect", Kind.DISCONNECT)
    assert owner.journal == ["x", "disconnect"]
    assert owner.handler_context.n_abandoned == 1
    owner.gate.set()
    thread.join(5)
    assert owner.handler_context.n_abandoned == 0
    owner.push("event")
    owner.push("connect", Kind.CONNECT)
    assert owner.journal == ["x", "disconnect", "x ends"], "nothing of an abandoned device begins any more"


def test_a_turn_without_user_code_can_be_abandoned(owner: Owner) -> None:
    thread = owner.push_in_thread("x", Kind.INTERNAL)
    owner.lane.abandon()
    owner.gate.set()
    thread.join(5)
    assert owner.lane.is_idle
    assert owner._handler_context is None
