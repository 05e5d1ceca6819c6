"""Waiting for a signal on an event loop, and not waiting where a loop runs."""

from __future__ import annotations

import asyncio
import threading

import pytest

from iotio.core.primitives import Signal
from iotio.core.waiting import check_no_loop, is_cancelled, loop_runs_here, wait_on_loop


async def test_a_signal_that_is_set() -> None:
    signal = Signal()
    signal.set()
    assert await wait_on_loop(signal, 0)
    assert await wait_on_loop(signal, None)


async def test_a_signal_of_this_loop() -> None:
    signal = Signal()
    asyncio.get_running_loop().call_soon(signal.set)
    assert await wait_on_loop(signal, None)


async def test_a_signal_of_another_thread() -> None:
    signal = Signal()
    timer = threading.Timer(0.01, signal.set)
    timer.start()
    assert await wait_on_loop(signal, 5)
    timer.join()


async def test_a_signal_that_is_not_set_in_time() -> None:
    signal = Signal()
    assert not await wait_on_loop(signal, 0.01)
    signal.set()  # later, it is harmless
    await asyncio.sleep(0)


async def test_the_loop_goes_on_meanwhile() -> None:
    signal, other = Signal(), Signal()
    waiting = asyncio.create_task(wait_on_loop(signal, None))
    again = asyncio.create_task(wait_on_loop(signal, 5))
    asyncio.get_running_loop().call_soon(other.set)
    assert await wait_on_loop(other, 5)
    assert not waiting.done()
    signal.set()
    assert await waiting
    assert await again


async def test_a_wait_can_be_cancelled() -> None:
    signal = Signal()
    waiting = asyncio.create_task(wait_on_loop(signal, 5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await waiting
    assert is_cancelled(raised.value)
    signal.set()  # nothing waits any more
    await asyncio.sleep(0)


def test_a_signal_after_the_loop_is_closed() -> None:
    signal = Signal()
    assert not asyncio.run(wait_on_loop(signal, 0.01))
    signal.set()
    assert signal.is_set


@pytest.mark.parametrize("error", [ValueError(), TimeoutError(), KeyboardInterrupt()])
def test_other_errors_are_no_cancellation(error: BaseException) -> None:
    assert not is_cancelled(error)


def test_no_loop_runs_in_this_thread() -> None:
    assert not loop_runs_here()
    check_no_loop("call()", "await acall()")


async def test_a_loop_runs_in_this_thread() -> None:
    assert loop_runs_here()
    with pytest.raises(RuntimeError, match=r"call\(\) would block the event loop .* write await acall\(\)"):
        check_no_loop("call()", "await acall()")
    assert not await asyncio.to_thread(loop_runs_here), "another thread may wait"
