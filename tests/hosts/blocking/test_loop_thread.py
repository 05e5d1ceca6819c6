"""The loop of hosts that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar, copy_context

import pytest

from iotio.core.primitives import wait
from iotio.hosts.blocking.loop_thread import LoopThread
from tests.support.hosts import eventually
from tests.support.memory import make_manager

WAIT = 5.0  # seconds

word: ContextVar[str] = ContextVar("word", default="nothing")


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    made = LoopThread(make_manager())
    yield made
    made.stop()


def test_a_coroutine_runs_in_its_context_on_the_loops_thread(loop_thread: LoopThread) -> None:
    async def work() -> tuple[str, bool]:
        await asyncio.sleep(0)
        return word.get(), loop_thread.is_current

    context = copy_context()
    context.run(word.set, "given")
    outcome = loop_thread.submit(work(), context)
    assert wait(outcome.done, WAIT)
    assert outcome.result() == ("given", True)
    assert not loop_thread.is_current


def test_what_a_coroutine_raises_is_its_result(loop_thread: LoopThread) -> None:
    async def work() -> None:
        raise ValueError("why")

    outcome = loop_thread.submit(work(), copy_context())
    assert wait(outcome.done, WAIT)
    with pytest.raises(ValueError, match="why"):
        outcome.result()


def test_the_end_cancels_what_runs_and_the_loop_may_begin_again(loop_thread: LoopThread) -> None:
    entered = threading.Event()

    async def work() -> None:
        entered.set()
        await asyncio.get_running_loop().create_future()

    async def answer() -> int:
        return 5

    outcome = loop_thread.submit(work(), copy_context())
    assert entered.wait(WAIT)
    first = loop_thread.loop
    loop_thread.stop()
    assert first.is_closed()
    assert outcome.done.is_set
    with pytest.raises(RuntimeError, match="the handler was cancelled"):
        outcome.result()
    again = loop_thread.submit(answer(), copy_context())
    assert wait(again.done, WAIT)
    assert again.result() == 5
    assert loop_thread.loop is not first


def test_the_loop_may_end_itself(loop_thread: LoopThread) -> None:
    """A handler that closes the manager: its thread must not wait for its own end."""
    ended = threading.Event()

    def stop() -> None:
        loop_thread.stop()
        ended.set()

    first = loop_thread.loop
    assert loop_thread.call(stop)
    assert ended.wait(WAIT)
    eventually(first.is_closed)


def test_a_stopped_loop_fails_what_is_submitted() -> None:
    class Stopped(LoopThread):
        @property
        def loop(self) -> asyncio.AbstractEventLoop:
            loop = asyncio.new_event_loop()
            loop.close()
            return loop

    async def never() -> None: ...

    outcome = Stopped(make_manager()).submit(never(), copy_context())
    assert outcome.done.is_set
    with pytest.raises(RuntimeError, match="stopped"):
        outcome.result()


def test_a_blocked_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    loop_thread = LoopThread(make_manager())
    clock = loop_thread._manager.clock
    swept = threading.Event()
    loop_thread.loop.call_soon_threadsafe(swept.set)
    assert swept.wait(5)
    clock.now += 5  # type: ignore[attr-defined]  # the fake clock of the memory host
    eventually(lambda: "has blocked the loop thread" in caplog.text)
    loop_thread.stop()
