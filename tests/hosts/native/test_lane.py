"""The lane of the native host, on a loop and with workers of its own, without a network."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

import pytest

from iotio import IoTClient
from iotio.core.handler_context import HandlerContext
from iotio.core.lane import MAX_WAITING, MAX_WAITING_BYTES, TOO_MUCH_WAITS, Kind, Step
from iotio.core.manager import Manager
from iotio.core.primitives import Signal
from iotio.hosts.native.host import NativeHost
from iotio.hosts.native.lane import LoopLane
from iotio_protocol.log_throttle import LogThrottle


class Transport(asyncio.Transport):
    """Counts how often reading pauses and goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


class Fake:
    """A connection as far as its lane goes; writes down what runs."""

    passed_on: tuple[type[BaseException], ...] = ()

    def __init__(self, host: NativeHost) -> None:
        self._lock = threading.Lock()
        self.log_throttle = LogThrottle(time.monotonic, threading.Lock())
        self.transport = Transport()
        self.lane = LoopLane(host, self, self.transport)
        self.context: HandlerContext | None = None
        self.journal: list[str] = []
        self.gate = threading.Event()
        self.entered = threading.Event()

    def run_async(self, coroutine: Any, context: Any) -> Any:
        raise AssertionError("not used here")

    def begin_user_code(self) -> HandlerContext:
        assert self.context is None
        client = IoTClient(None, "d", "kind", None, Manager())  # type: ignore[arg-type]  # no connection is needed
        self.context = HandlerContext(self, client, copy_context(), None)
        return self.context

    def abandon_calls(self, count: int) -> None:
        assert self.context is not None
        self.context.abandon(count)

    awaited = 0  # bytes more that may be read for calls

    def fail_calls(self, why: str) -> None:
        self.journal.append(f"calls fail: {why}")

    def answer(self, event: str, reply_head: bytes | None, result: Any) -> None:
        self.journal.append(f"answer {result}")

    # what the steps call

    def plain(self, name: str) -> None:
        self.journal.append(name)

    def plain_answers(self, name: str) -> str:
        return name

    def stuck(self, name: str) -> None:
        self.journal.append(name)
        self.entered.set()
        assert self.gate.wait(5)
        self.journal.append(f"{name} ends")

    async def quick(self, name: str) -> None:
        self.journal.append(name)

    async def waits(self, name: str) -> str:
        self.journal.append(name)
        await asyncio.sleep(0.005)
        self.journal.append(f"{name} ends")
        return name

    async def waits_at_the_gate(self, name: str) -> None:
        self.journal.append(name)
        self.entered.set()
        await until(self.gate.is_set)
        self.journal.append(f"{name} ends")

    async def fails(self, name: str) -> None:
        raise ValueError(name)

    async def fails_later(self, name: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(name)

    async def is_cancelled(self, name: str) -> None:
        raise asyncio.CancelledError

    def push(self, function: Callable[..., Any], name: str, kind: Kind = Kind.EVENT) -> None:
        self.lane.push(Step.of(kind, "event", function, name))


def on_a_loop(test: Callable[[Fake], Awaitable[None]]) -> Fake:
    """Run a test with a lane on a loop of its own."""
    made: list[Fake] = []

    async def main() -> None:
        host = NativeHost(Manager())
        made.append(Fake(host))
        try:
            await asyncio.wait_for(test(made[0]), 10)
        finally:
            made[0].gate.set()
            host.close()

    asyncio.run(main())
    return made[0]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_steps_run_in_order_whatever_they_are() -> None:
    async def test(one: Fake) -> None:
        one.push(one.plain, "1")
        one.push(one.quick, "2")
        one.push(one.waits, "3")
        one.push(one.plain_answers, "4")
        one.push(one.plain, "5", Kind.DISCONNECT)
        one.lane.push(Step.of(Kind.INTERNAL, "", one.plain, "6"))
        assert not one.lane.is_idle
        await until(lambda: one.lane.is_idle)

    assert on_a_loop(test).journal == ["1", "2", "3", "3 ends", "answer 3", "answer 4", "5", "6"]


def test_the_first_step_of_an_async_def_runs_at_once_and_what_waits_is_not_idle() -> None:
    async def test(one: Fake) -> None:
        one.push(one.quick, "at once")
        assert one.journal == ["at once"]
        assert one.lane.is_idle
        one.push(one.waits, "waits")
        assert (one.lane.is_idle, one.lane.running) == (False, 1)
        await until(lambda: one.lane.is_idle)

    on_a_loop(test)


def test_what_only_a_connect_answers_goes_nowhere() -> None:
    async def test(one: Fake) -> None:
        one.push(one.plain_answers, "x", Kind.CONNECT)
        one.push(one.waits, "y", Kind.CONNECT)
        await until(lambda: one.lane.is_idle)

    assert on_a_loop(test).journal == ["y", "y ends"]


def test_what_handlers_raise_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    async def test(one: Fake) -> None:
        one.push(one.is_cancelled, "a")
        one.push(one.fails, "b")
        one.push(one.fails_later, "c")
        one.push(one.plain, "goes on")
        await until(lambda: one.lane.is_idle)

    assert on_a_loop(test).journal == ["goes on"]
    assert [record.getMessage() for record in caplog.records] == [
        "handler on_event of type 'kind' failed for device 'd'"
    ] * 2


def test_first_steps_come_before_what_waits() -> None:
    async def test(one: Fake) -> None:
        one.push(one.waits, "1")
        one.push(one.plain, "4")
        first = [Step.of(Kind.CONNECT, "connect", one.plain, "2"), Step.of(Kind.CONNECT, "connect", one.quick, "3")]
        one.lane.push_first(first)
        await until(lambda: one.lane.is_idle)
        one.lane.push_first([Step.of(Kind.CONNECT, "connect", one.quick, "5")])

    assert on_a_loop(test).journal == ["1", "1 ends", "answer 1", "2", "3", "4", "5"]


def test_first_steps_of_a_held_lane_wait_too() -> None:
    async def test(one: Fake) -> None:
        signal = Signal()
        one.lane.hold(signal, 5, lambda: None)
        one.push(one.quick, "2")
        one.lane.push_first([Step.of(Kind.CONNECT, "connect", one.quick, "1")])
        assert one.journal == []
        signal.set()
        await until(lambda: one.lane.is_idle)

    assert on_a_loop(test).journal == ["1", "2"]


def test_a_lane_is_held_until_the_signal() -> None:
    async def test(one: Fake) -> None:
        signal = Signal()
        one.lane.hold(signal, 5, lambda: one.plain("lost"))
        one.push(one.quick, "behind")
        one.lane.call(lambda: one.plain("called"))
        await asyncio.sleep(0.01)
        assert one.journal == []
        assert not one.lane.is_idle
        threading.Thread(target=signal.set).start()
        await until(lambda: one.lane.is_idle)

    assert on_a_loop(test).journal == ["behind", "called"]


def test_a_lane_loses_patience_and_then_goes_on() -> None:
    async def test(one: Fake) -> None:
        one.lane.hold(Signal(), 0.01, lambda: one.plain("lost"))
        one.push(one.quick, "behind")
        await until(lambda: one.journal == ["lost"])
        await until(lambda: one.lane.is_idle)

    assert on_a_loop(test).journal == ["lost", "behind"]


def test_functions_of_ours_are_called_on_the_loop() -> None:
    async def test(one: Fake) -> None:
        loop_thread = threading.get_ident()
        seen: list[int] = []
        one.lane.call(lambda: seen.append(threading.get_ident()))
        assert len(seen) == 1, "at once"
        one.lane.call_soon(lambda: seen.append(threading.get_ident()))
        assert len(seen) == 1, "not within what runs now"
        thread = threading.Thread(target=one.lane.call, args=(lambda: seen.append(threading.get_ident()),))
        thread.start()
        thread.join(5)
        await until(lambda: len(seen) == 3)
        assert set(seen) == {loop_thread}

    on_a_loop(test)


def test_events_that_have_not_begun_are_dropped_and_all_else_is_not() -> None:
    async def test(one: Fake) -> None:
        one.push(one.stuck, "0")
        await until(one.entered.is_set)
        for number in range(100):
            one.push(one.quick if number % 2 else one.plain, f"event {number}")
        one.push(one.plain, "disconnect", Kind.DISCONNECT)
        threading.Thread(target=one.lane.drop_events).start()
        await until(lambda: one.lane._drops_events)
        one.push(one.quick, "event")
        one.gate.set()
        await until(lambda: one.lane.is_idle)

    assert on_a_loop(test).journal == ["0", "0 ends", "disconnect"]


def test_the_device_is_read_again_when_events_are_dropped() -> None:
    async def test(one: Fake) -> None:
        one.push(one.stuck, "0")
        await until(one.entered.is_set)
        one.push(one.quick, "1")
        for number in range(300):
            one.push(one.plain, f"event {number}")
        assert one.lane.is_full
        one.lane.drop_events()
        await until(lambda: not one.lane.is_full)
        assert one.lane.running == 1
        assert one.transport.calls == ["pause", "resume"]

    on_a_loop(test)


def test_a_full_lane_pauses_reading_until_it_has_room() -> None:
    async def test(one: Fake) -> None:
        one.push(one.stuck, "0")
        for number in range(254):
            one.push(one.plain, f"event {number}")
        assert one.transport.calls == []
        one.push(one.plain, "one more")
        assert one.transport.calls == ["pause"]
        one.gate.set()
        await until(lambda: one.lane.is_idle)
        assert one.transport.calls == ["pause", "resume"]

    assert len(on_a_loop(test).journal) == 257


def reads(one: Fake) -> bool:
    return one.lane.is_reading


def full(one: Fake) -> bool:
    return one.lane.is_full


def sized(one: Fake, function: Callable[..., Any], name: str, size: int) -> None:
    """Push an event that came in so many bytes."""
    step = Step.of(Kind.EVENT, "event", function, name)
    step.size = size
    one.lane.push(step)


@pytest.mark.parametrize("first", ["stuck", "waits_at_the_gate"])
def test_a_lane_is_full_of_bytes_too(first: str) -> None:
    async def test(one: Fake) -> None:
        one.push(getattr(one, first), "0")
        await until(one.entered.is_set)
        for number in range(15):
            sized(one, one.plain, f"event {number}", 64 * 1024)
        assert one.transport.calls == []
        sized(one, one.quick, "one more", 64 * 1024)
        assert one.transport.calls == ["pause"]
        assert not reads(one)
        one.gate.set()
        await until(lambda: one.lane.is_idle)
        assert one.transport.calls == ["pause", "resume"]
        assert one.lane._size == 0

    assert len(on_a_loop(test).journal) == 18


def test_a_full_lane_is_read_for_the_answers_of_calls_up_to_a_point() -> None:
    async def test(one: Fake) -> None:
        sized(one, one.stuck, "0", MAX_WAITING_BYTES)
        await until(one.entered.is_set)
        assert one.transport.calls == [], "what runs does not wait"
        sized(one, one.plain, "much", MAX_WAITING_BYTES)
        assert one.transport.calls == ["pause"]
        one.awaited = 1000
        one.lane.answer_awaited()
        await until(lambda: one.lane.is_reading)
        assert one.transport.calls == ["pause", "resume"]
        sized(one, one.plain, "more", 999)
        assert reads(one)
        one.awaited = 0  # they have their answers
        sized(one, one.plain, "one", 1)
        assert one.transport.calls == ["pause", "resume", "pause"]
        one.awaited = 1001
        one.lane.answer_awaited()
        await until(lambda: one.lane.is_reading)
        sized(one, one.plain, "too much", 1)
        assert not reads(one)
        assert one.journal == ["0", f"calls fail: {TOO_MUCH_WAITS}"]
        one.lane.answer_awaited()
        await until(lambda: len(one.journal) == 3)
        assert one.journal[2:] == [f"calls fail: {TOO_MUCH_WAITS}"], "those that begin now fail at once"
        one.gate.set()
        await until(lambda: one.lane.is_idle)
        assert one.transport.calls == ["pause", "resume"] * 2 + ["pause", "resume"]

    on_a_loop(test)


def test_a_lane_that_gets_full_while_a_call_waits_goes_on_reading() -> None:
    async def test(one: Fake) -> None:
        one.push(one.stuck, "0")
        await until(one.entered.is_set)
        one.awaited = 1000
        for number in range(2 * MAX_WAITING - 2):
            one.push(one.plain, f"event {number}")
        assert full(one)
        assert one.transport.calls == []
        one.push(one.plain, "one more")
        assert one.transport.calls == ["pause"]
        one.gate.set()
        await until(lambda: one.lane.is_idle)
        assert one.transport.calls == ["pause", "resume"]

    on_a_loop(test)


def test_what_is_abandoned_counts_no_more() -> None:
    async def test(one: Fake) -> None:
        one.push(one.stuck, "0")
        await until(one.entered.is_set)
        sized(one, one.plain, "1", MAX_WAITING_BYTES)
        assert full(one)
        one.lane.abandon()
        await until(lambda: one.lane.is_idle)
        assert not full(one)
        one.gate.set()
        await until(lambda: one.context is not None and not one.context.n_abandoned)
        assert one.lane._size == 0

    on_a_loop(test)


def test_what_is_abandoned_holds_up_nothing_and_reports_its_end() -> None:
    async def test(one: Fake) -> None:
        one.push(one.stuck, "0")
        one.push(one.plain, "queued behind it on the worker")
        await until(one.entered.is_set)
        one.push(one.plain, "disconnect", Kind.DISCONNECT)
        assert one.journal == ["0"]
        one.lane.abandon()
        assert one.context is not None
        assert one.context.n_abandoned == 2
        await until(lambda: one.lane.is_idle)
        assert one.context.n_abandoned == 1, "what was behind it is not kept"
        assert one.journal == ["0", "disconnect"]
        one.gate.set()
        await until(lambda: one.context is not None and one.context.n_abandoned == 0)

    assert on_a_loop(test).journal == ["0", "disconnect", "0 ends"]


def test_an_abandoned_async_def_reports_its_end_too() -> None:
    async def test(one: Fake) -> None:
        one.push(one.waits, "0")
        one.lane.abandon()
        one.push(one.plain, "disconnect", Kind.DISCONNECT)
        await until(lambda: one.context is not None and one.context.n_abandoned == 0)
        await until(lambda: one.lane.is_idle)

    assert sorted(on_a_loop(test).journal) == ["0", "0 ends", "answer 0", "disconnect"]


def test_an_idle_lane_can_be_abandoned() -> None:
    async def test(one: Fake) -> None:
        one.lane.abandon()
        assert one.lane.is_idle
        one.push(one.plain, "goes on")
        await until(lambda: one.lane.is_idle)

    assert on_a_loop(test).journal == ["goes on"]


def test_a_slow_handler_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        host = NativeHost(Manager(), slow_handler=0.01)
        one = Fake(host)
        one.push(one.stuck, "0")
        await until(lambda: "has been running" in caplog.text)
        one.gate.set()
        await until(lambda: one.lane.is_idle)
        host.close()

    asyncio.run(asyncio.wait_for(main(), 10))
    assert "handler on_event of type 'kind' for device 'd' has been running" in caplog.text
