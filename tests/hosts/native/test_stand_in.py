"""What a coroutine sees as its task: before a task has taken over, and after."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from iotio.hosts.native import eager
from iotio.hosts.native.first_step import finishes
from iotio.hosts.native.stand_in import StandIn

word: ContextVar[str] = ContextVar("word", default="nothing")


def begun(work: Coroutine[Any, Any, Any]) -> StandIn:
    """A stand-in whose coroutine has run up to its first wait."""
    loop = asyncio.get_running_loop()
    me = StandIn()
    previous = eager.enter(me, loop)
    try:
        assert not finishes(me, work)
    finally:
        eager.leave(me, loop, previous)
    return me


def promoted(work: Coroutine[Any, Any, Any]) -> tuple[StandIn, asyncio.Task[Any]]:
    """A stand-in whose coroutine waits, and the task that has taken over."""
    me = begun(work)
    return me, me.promote(copy_context(), asyncio.get_running_loop())


def test_requests_of_the_first_step_are_counted() -> None:
    me = StandIn()
    assert (me.cancelling(), me.uncancel(), me.done()) == (0, 0, False)
    assert me.cancel("a")
    assert me.cancel()
    assert (me.cancelling(), me.cancels) == (2, ["a", None])
    assert me.uncancel() == 1
    assert me.cancels == ["a"]
    assert me.get_coro() is None
    assert me.get_name().startswith("Step-")
    assert me.get_name() != StandIn().get_name()


async def test_the_task_takes_over_what_it_is_asked() -> None:
    gate = asyncio.get_running_loop().create_future()

    async def work() -> str:
        await gate
        return "end"

    coroutine = work()
    me, task = promoted(coroutine)
    assert me.task is task
    assert me.get_name() == task.get_name()
    assert me.get_coro() is coroutine
    assert not me.done()
    ended: list[Any] = []
    me.add_done_callback(ended.append)
    gate.set_result(None)
    assert await task == "end"
    assert me.done()
    await asyncio.sleep(0)  # callbacks run in the turn after
    assert ended == [task]


async def test_each_step_sees_the_stand_in() -> None:
    seen: list[Any] = []

    async def work() -> None:
        for _ in range(3):
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    me, task = promoted(work())
    await task
    assert seen == [me] * 4
    seen.append(asyncio.current_task())
    assert seen[-1] is not me


async def test_later_steps_run_in_the_context_given() -> None:
    seen: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        seen.append(word.get())

    me = begun(work())
    context = copy_context()
    context.run(word.set, "given")
    await me.promote(context, asyncio.get_running_loop())
    assert seen == ["given"]


async def test_cancellation_is_counted_by_the_task() -> None:
    counts: list[int] = []

    async def work() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as error:
            counts.append(me.cancelling())
            counts.append(me.uncancel())
            return str(error)
        return "not cancelled"

    me, task = promoted(work())
    await asyncio.sleep(0)  # the task waits by now
    assert me.cancel("enough")
    assert await task == "enough"
    assert counts == [1, 0]


@pytest.mark.parametrize("refused", [True, False])
async def test_a_request_of_the_first_step_reaches_the_task(refused: bool) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def work() -> str:
        me = asyncio.current_task()
        assert me is not None
        me.cancel("enough")
        try:
            await gate
        except asyncio.CancelledError:
            if not refused:
                raise
        return "refused"

    me, task = promoted(work())
    if refused:
        assert await task == "refused"
    else:
        with pytest.raises(asyncio.CancelledError):
            await task
    assert gate.cancelled()
    assert me.done()


async def test_a_wait_that_is_over_already_is_still_cancelled() -> None:
    """A future that is done cannot be cancelled, so the exception goes into the coroutine itself."""
    gate = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def work() -> None:
        try:
            await gate
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    me, task = promoted(work())
    gate.set_result(None)
    me.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_what_later_steps_raise_is_the_outcome() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("why")

    me, task = promoted(work())
    with pytest.raises(ValueError, match="why"):
        await task
    assert isinstance(me.exception(), ValueError)
    assert asyncio.current_task() is not None


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_what_would_end_the_loop_is_the_cause_of_an_error(kind: type[BaseException]) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise kind("why")

    _, task = promoted(work())
    with pytest.raises(RuntimeError, match=f"a handler has raised {kind.__name__}") as raised:
        await task
    assert isinstance(raised.value.__cause__, kind)


async def test_the_rest_of_a_coroutine_is_for_a_task_only() -> None:
    closed: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append("closed")

    _, task = promoted(work())
    rest: Any = task.get_coro()
    with pytest.raises(TypeError, match="for a task to drive"):
        await rest
    rest.close()
    assert closed == ["closed"]
    task.cancel()
    with pytest.raises((asyncio.CancelledError, RuntimeError)):
        await task
