"""What all native connections of one loop share: hand-over from other threads, the sweep, the end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from iotio.core.manager import Manager
from iotio.hosts.native.host import NativeHost
from iotio.hosts.timing import HELD_UP
from tests.support.hosts import serve_local

WAIT = 5.0  # seconds

word: ContextVar[str] = ContextVar("word", default="nothing")


@contextmanager
def host_on_this_loop(manager: Manager | None = None) -> Iterator[NativeHost]:
    """The host of the running loop, closed at the end."""
    host = NativeHost(manager or Manager())
    try:
        yield host
    finally:
        host.close()


class Output:
    """Something that has output, and says when it is flushed."""

    def __init__(self, seen: list[str], name: str) -> None:
        self.seen = seen
        self.name = name
        self.flushed = asyncio.Event()
        self.thread = 0

    def flush(self) -> None:
        self.thread = threading.get_ident()
        self.seen.append(self.name)
        self.flushed.set()


async def in_a_thread(function: Callable[[], Any]) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(function), WAIT)


async def test_only_the_loops_thread_is_current() -> None:
    with host_on_this_loop() as host:
        assert host.is_current
        assert not await in_a_thread(lambda: host.is_current)


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_output_is_flushed_on_the_loop(elsewhere: bool) -> None:
    with host_on_this_loop() as host:
        output = Output([], "a")
        if elsewhere:
            await in_a_thread(lambda: host.flush_later(output))
        else:
            host.flush_later(output)
            assert output.seen == []  # in a turn of its own, so that more can gather
        await asyncio.wait_for(output.flushed.wait(), WAIT)
        assert output.thread == host.thread


async def test_what_one_turn_gathers_keeps_its_order() -> None:
    with host_on_this_loop() as host:
        seen: list[str] = []
        last = Output(seen, "second output")
        host.flush_later(Output(seen, "first output"))
        host.call_later(lambda: seen.append("first call"))
        host.flush_later(last)
        host.call_later(lambda: seen.append("second call"))
        await asyncio.wait_for(last.flushed.wait(), WAIT)
        assert seen == ["first call", "second call", "first output", "second output"]


async def test_a_call_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise ValueError("why")

    with host_on_this_loop() as host:
        output = Output([], "a")
        called = asyncio.Event()
        host.call_later(fails)
        host.call_later(called.set)
        host.flush_later(output)
        await asyncio.wait_for(called.wait(), WAIT)
        await asyncio.wait_for(output.flushed.wait(), WAIT)
    (record,) = [one for one in caplog.records if one.name == "iotio.hosts"]
    assert record.getMessage() == "a device's turn could not be taken"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "why"


def test_a_loop_that_is_closed_calls_nothing() -> None:
    made: list[NativeHost] = []

    async def main() -> None:
        with host_on_this_loop() as host:
            made.append(host)

    asyncio.run(main())
    seen: list[str] = []
    thread = threading.Thread(target=lambda: made[0].call_later(lambda: seen.append("called")))
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert seen == []


async def test_an_awaitable_runs_in_the_context_given() -> None:
    async def work() -> tuple[str, int]:
        await asyncio.sleep(0)
        return word.get(), threading.get_ident()

    async def fails() -> None:
        raise ValueError("why")

    manager = Manager()
    with host_on_this_loop(manager) as host:
        assert manager.loops == [host]
        run = host.run_awaitable
        context = copy_context()
        context.run(word.set, "given")
        assert await in_a_thread(lambda: run(work(), context)) == ("given", host.thread)
        with pytest.raises(ValueError, match="why"):
            await in_a_thread(lambda: run(fails(), context))
    assert manager.loops == []


def test_an_awaitable_for_a_loop_that_is_gone_is_an_error() -> None:
    with serve_local("native") as server:
        run = server.manager.loops[-1].run_awaitable

        async def answer() -> int:
            return 5

        assert run(answer(), copy_context()) == 5
    assert server.manager.loops == []
    with pytest.raises(RuntimeError, match="closed"):
        run(answer(), copy_context())


class Swept(Manager):
    """A manager that says when it is swept."""

    def __init__(self) -> None:
        super().__init__()
        self.times: asyncio.Queue[float] = asyncio.Queue()

    def sweep(self, now: float) -> bool:
        self.times.put_nowait(now)
        return super().sweep(now)


async def test_deadlines_are_swept_until_the_end() -> None:
    manager = Swept()
    with host_on_this_loop(manager):
        first = await asyncio.wait_for(manager.times.get(), WAIT)
        second = await asyncio.wait_for(manager.times.get(), WAIT)
        assert first < second <= manager.clock()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(manager.times.get(), 0.5)


async def test_a_loop_that_was_blocked_reads_before_it_sweeps(caplog: pytest.LogCaptureFixture) -> None:
    """What devices have sent meanwhile must be read before their silence is judged."""
    manager = Swept()
    with caplog.at_level(logging.WARNING, "iotio"), host_on_this_loop(manager):
        await asyncio.wait_for(manager.times.get(), WAIT)
        time.sleep(HELD_UP + 0.5)  # the test is that the loop is blocked
        unblocked = manager.clock()
        swept = await asyncio.wait_for(manager.times.get(), WAIT)
    assert swept - unblocked >= 0.04  # a turn of the loop and more, in which it reads
    assert "an async def handler has blocked the loop for" in caplog.text


async def test_what_threads_hand_over_has_turns_too() -> None:
    """Threads can add more than the loop can take: it looks at its sockets in between."""
    with host_on_this_loop() as host:
        now = [0.0]
        host.clock = lambda: now[0]
        seen: list[str] = []

        def slow() -> None:
            now[0] += 0.001
            seen.append("function")

        for _ in range(40):
            host.call_later(slow)
        host.flush_later(Output(seen, "output"))
        asyncio.get_running_loop().call_soon(seen.append, "another callback of the loop")
        while len(seen) < 42:
            await asyncio.sleep(0)
        assert seen[:18] == ["function"] * 16 + ["output", "another callback of the loop"]
        assert seen[18:] == ["function"] * 24


class Late:
    """A host whose clock the test moves. An emitter that waits for the loop does so until the loop has its turn."""

    def __init__(self, host: NativeHost) -> None:
        self.host = host
        self.now = 0.0
        host.clock = lambda: self.now

    def emit(self, late: float, seen: list[str] | None = None) -> None:
        """Have output flushed, and so much later see whether the loop was held up."""
        self.host.flush_later(Output([] if seen is None else seen, "flushed"))
        self.now += late
        self.host.give_way()


async def test_a_thread_that_emits_waits_for_the_turn_of_a_loop_that_is_held_up() -> None:
    with host_on_this_loop() as host:
        late, seen, begun = Late(host), list[str](), threading.Event()

        def emit() -> None:
            begun.set()
            late.emit(0.002, seen)
            seen.append("emitted")

        emitting = asyncio.get_running_loop().run_in_executor(None, emit)
        assert begun.wait(WAIT)
        time.sleep(0.01)  # something blocks the loop
        await emitting
        assert seen == ["flushed", "emitted"]


async def test_a_thread_that_emits_waits_for_a_loop_that_has_too_much_from_its_last_turn_on() -> None:
    with host_on_this_loop() as host:
        late, seen, begun = Late(host), list[str](), threading.Event()

        def slow() -> None:
            late.now += 0.002

        for _ in range(17):
            host.call_later(slow)
        while not late.now:
            await asyncio.sleep(0)
        assert late.now == pytest.approx(0.032)  # a turn is over, longer than anybody waits, and one is left

        def emit() -> None:
            begun.set()
            late.emit(0.002, seen)
            seen.append("emitted")

        emitting = asyncio.get_running_loop().run_in_executor(None, emit)
        assert begun.wait(WAIT)
        time.sleep(0.01)  # something blocks the loop
        await emitting
        assert seen == ["flushed", "emitted"]


@pytest.mark.parametrize("seconds", [0.0005, 0.03], ids=["a moment", "long"])
async def test_a_thread_that_emits_goes_on_where_nothing_is_late_or_something_else_blocks_the_loop(
    seconds: float,
) -> None:
    with host_on_this_loop() as host:
        late = Late(host)
        late.now = 1.0

        def emit() -> None:
            late.emit(seconds)
            if seconds > 0.02:
                late.emit(0.005)  # nobody waits for a loop that has not come to its turn

        thread = threading.Thread(target=emit, daemon=True)
        thread.start()
        thread.join(WAIT)  # without a turn of the loop
        assert not thread.is_alive()


async def test_a_loop_does_not_give_way_to_another_one() -> None:
    with host_on_this_loop() as host:
        late = Late(host)

        async def emit() -> None:
            late.emit(0.002)

        thread = threading.Thread(target=lambda: asyncio.run(emit()), daemon=True)
        thread.start()
        thread.join(WAIT)
        assert not thread.is_alive()
        late.emit(0.002)  # nor to itself


async def test_nobody_waits_for_a_loop_that_is_closed() -> None:
    def serve() -> NativeHost:
        async def begin() -> NativeHost:
            return NativeHost(Manager())

        return asyncio.run(begin())

    ended = await in_a_thread(serve)
    await in_a_thread(lambda: Late(ended).emit(0.002))
    ended.workers.close()
