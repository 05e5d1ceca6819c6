"""What a coroutine sees as its task: before it runs by itself, and after."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from iotio.hosts.native import eager
from iotio.hosts.native.first_step import finishes
from iotio.hosts.native.stand_in import FirstStep, StandIn

word: ContextVar[str] = ContextVar("word", default="nothing")


def fresh() -> StandIn:
    task = FirstStep(asyncio.get_running_loop()).task
    assert isinstance(task, StandIn)
    return task


def begun(work: Coroutine[Any, Any, Any]) -> StandIn:
    """A stand-in whose coroutine has run up to its first wait."""
    loop = asyncio.get_running_loop()
    me = FirstStep(loop)
    task: StandIn = me.task
    previous = eager.enter(task, loop)
    try:
        assert not finishes(me, work)
    finally:
        eager.leave(task, loop, previous)
    return task


def running(work: Coroutine[Any, Any, Any]) -> StandIn:
    """A stand-in whose coroutine waits, as the task that it is then."""
    return begun(work).start(copy_context())


async def test_it_is_a_task() -> None:
    task = fresh()
    assert isinstance(task, asyncio.Task)
    assert weakref.ref(task)() is task
    assert {task: 1}[task] == 1
    assert task.get_loop() is asyncio.get_running_loop()
    assert repr(task) == "<StandIn of no coroutine yet>"


async def test_requests_of_the_first_step_are_counted() -> None:
    task = fresh()
    assert (task.cancelling(), task.uncancel()) == (0, 0)
    assert task.cancel("a")
    assert task.cancel()
    assert task.cancelling() == 2
    assert task.uncancel() == 1
    assert task.get_coro() is None


async def test_names() -> None:
    first, second = fresh(), fresh()
    assert first.get_name() == first.get_name()
    assert first.get_name() != second.get_name()
    second.set_name(7)
    assert second.get_name() == "7"

    async def work() -> None:
        named = asyncio.current_task()
        assert named is not None
        named.set_name("lamp")
        await asyncio.sleep(0)
        assert named.get_name() == "lamp"
        named.set_name("lamp 2")

    task = running(work())
    assert task.get_name() == "lamp"
    await task
    assert task.get_name() == "lamp 2"


async def test_in_no_first_step_it_is_in_nobodys_way() -> None:
    """`asyncio.run` cancels all tasks that are not done, and waits for them."""
    task = fresh()
    assert task.done()
    assert task not in asyncio.all_tasks()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there the first step is in no list")
async def test_all_tasks_has_it_in_each_step() -> None:
    seen: list[bool] = []

    async def work() -> None:
        for _ in range(2):
            me = asyncio.current_task()
            assert me is not None
            seen.append(me in asyncio.all_tasks())
            seen.append(not me.done())
            await asyncio.sleep(0)

    task = running(work())
    assert task in asyncio.all_tasks()
    await task
    assert seen == [True] * 4
    assert task not in asyncio.all_tasks()


async def test_it_runs_on_from_the_first_wait() -> None:
    gate = asyncio.get_running_loop().create_future()
    ended: list[Any] = []

    async def work() -> str:
        me = asyncio.current_task()
        assert me is not None
        me.add_done_callback(ended.append)
        await gate
        return "end"

    coroutine = work()
    task = running(coroutine)
    assert task.get_coro() is coroutine
    assert not task.done()
    assert task.get_stack()
    assert "work" in repr(task)
    task.add_done_callback(ended.append)
    gate.set_result(None)
    assert await task == "end"
    assert task.done()
    await asyncio.sleep(0)  # callbacks run in the turn after
    assert ended == [task, task]


async def test_a_callback_that_is_taken_back() -> None:
    async def work() -> None:
        me = asyncio.current_task()
        assert me is not None
        me.add_done_callback(called.append)
        assert me.remove_done_callback(called.append) == 1
        await asyncio.sleep(0)

    called: list[Any] = []
    await running(work())
    await asyncio.sleep(0)
    assert called == []


async def test_each_step_sees_it() -> None:
    seen: list[Any] = []

    async def work() -> None:
        for _ in range(3):
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    task = running(work())
    await task
    assert seen == [task] * 4
    assert asyncio.current_task() is not task


async def test_later_steps_run_in_the_context_given() -> None:
    seen: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        seen.append(word.get())

    task = begun(work())
    context = copy_context()
    context.run(word.set, "given")
    await task.start(context)
    assert seen == ["given"]


async def test_cancellation_is_counted() -> None:
    counts: list[int] = []

    async def work() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as error:
            counts.append(task.cancelling())
            counts.append(task.uncancel())
            return str(error)
        return "not cancelled"

    task = running(work())
    await asyncio.sleep(0)  # the task waits by now
    assert task.cancel("enough")
    assert await task == "enough"
    assert counts == [1, 0]


@pytest.mark.parametrize("refused", [True, False])
async def test_a_request_of_the_first_step_reaches_the_wait(refused: bool) -> None:
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

    task = running(work())
    if refused:
        assert await task == "refused"
    else:
        with pytest.raises(asyncio.CancelledError):
            await task
    assert gate.cancelled()
    assert task.done()


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

    task = running(work())
    gate.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_what_later_steps_raise_is_the_outcome() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("why")

    task = running(work())
    with pytest.raises(ValueError, match="why"):
        await task
    assert isinstance(task.exception(), ValueError)


@pytest.mark.parametrize("caught", [False, True])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_what_would_end_the_loop_is_the_cause_of_an_error(kind: type[BaseException], caught: bool) -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(30 if caught else 0)
        finally:
            raise kind("why")

    task = running(work())
    await asyncio.sleep(0)
    if caught:
        task.cancel()
    with pytest.raises(RuntimeError, match=f"a handler has raised {kind.__name__}") as raised:
        await task
    assert isinstance(raised.value.__cause__, kind)


async def test_whoever_has_kept_it_sees_how_the_first_step_ended() -> None:
    called: list[Any] = []
    outcomes: list[tuple[Any, BaseException | None]] = [
        (5, None),
        (None, ValueError("why")),
        (None, SystemExit("why")),
        (None, StopIteration("why")),
    ]
    for result, error in outcomes:
        task = fresh()
        task.add_done_callback(called.append)
        task.end(result, error)
        assert task.done()
        assert not task.cancelled()
        if error is None:
            assert await task == result
        else:
            found = task.exception()
            assert found is not None
            assert error in (found, found.__cause__) or isinstance(found, RuntimeError)
    await asyncio.sleep(0)
    assert len(called) == 4


@pytest.mark.parametrize("error", [None, asyncio.CancelledError()])
async def test_a_first_step_that_was_cancelled(error: BaseException | None) -> None:
    task = fresh()
    if error is None:
        task.cancel()
    task.end(5, error)
    assert task.cancelled()


async def test_an_error_of_the_first_step_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    task = fresh()
    task.end(None, ValueError("why"))
    del task
    gc.collect()
    assert caplog.records == []


async def test_the_rest_of_a_coroutine_is_for_a_task_only() -> None:
    closed: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append("closed")

    from iotio.hosts.native.stand_in import _Rest

    coroutine = work()
    coroutine.send(None)
    rest = _Rest(coroutine, None)
    with pytest.raises(TypeError, match="for a task to drive"):
        await rest
    rest.close()
    assert closed == ["closed"]
