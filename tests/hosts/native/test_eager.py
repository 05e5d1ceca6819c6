"""The first step runs at once, and asyncio's own tools work in it and after it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from iotio.hosts.native import eager
from iotio.hosts.native.stand_in import FirstStep

word: ContextVar[str] = ContextVar("word", default="nothing")


class Here:
    """What the host of a loop has."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.first_step = FirstStep(loop)


HERE: list[Here] = []  # that of the last test's loop


def here(loop: asyncio.AbstractEventLoop) -> Here:
    HERE[:] = [Here(loop)]
    return HERE[0]


def start(work: Coroutine[Any, Any, Any], context: Context | None = None) -> asyncio.Future[Any]:
    """What `run` does, as a future."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    try:
        result = eager.run(work, context or copy_context(), HERE[0] if HERE and HERE[0].loop is loop else here(loop))
    except asyncio.CancelledError:
        outcome.cancel()
    except Exception as error:
        outcome.set_exception(error)
    else:
        if isinstance(result, eager.Waiting):
            return result.task
        outcome.set_result(result)
    return outcome


async def test_a_coroutine_that_never_waits_is_done_at_once() -> None:
    seen: list[str] = []

    async def work() -> int:
        seen.append("ran")
        return 5

    outcome = start(work())
    assert seen == ["ran"]
    assert outcome.done()
    assert outcome.result() == 5


async def test_a_coroutine_goes_on_where_it_waited() -> None:
    steps: list[str] = []
    gate = asyncio.get_running_loop().create_future()

    async def work() -> str:
        steps.append("first")
        steps.append(await gate)
        await asyncio.sleep(0)
        return "end"

    task = start(work())
    assert steps == ["first"]
    assert not task.done()
    gate.set_result("second")
    assert await task == "end"
    assert steps == ["first", "second"]


async def test_what_it_waits_for_may_be_done_before_the_task_looks() -> None:
    gate = asyncio.get_running_loop().create_future()

    async def work() -> Any:
        return await gate

    task = start(work())
    gate.set_result(1)
    assert await task == 1


async def test_all_steps_run_in_the_context() -> None:
    context = copy_context()
    context.run(word.set, "given")
    seen = []

    async def work() -> None:
        seen.append(word.get())
        word.set("changed")
        await asyncio.sleep(0)
        seen.append(word.get())

    await start(work(), context)
    assert seen == ["given", "changed"]
    assert word.get() == "nothing"
    assert context.run(word.get) == "changed"


@pytest.mark.parametrize("wait", [False, True])
async def test_an_exception_is_the_outcome(wait: bool) -> None:
    async def work() -> None:
        if wait:
            await asyncio.sleep(0)
        raise ValueError("boom")

    task = start(work())
    with pytest.raises(ValueError, match="boom"):
        await task


@pytest.mark.parametrize("wait", [False, True])
async def test_a_cancelled_error_of_its_own_is_a_cancelled_outcome(wait: bool) -> None:
    async def work() -> None:
        if wait:
            await asyncio.sleep(0)
        raise asyncio.CancelledError

    task = start(work())
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_the_end_of_the_program_is_passed_on(kind: type[BaseException]) -> None:
    async def work() -> None:
        raise kind

    outer = asyncio.current_task()
    with pytest.raises(kind):
        start(work())
    assert asyncio.current_task() is outer


async def test_the_current_task_is_the_same_in_all_steps() -> None:
    outer = asyncio.current_task()

    async def work() -> list[Any]:
        tasks = [asyncio.current_task()]
        for _ in range(3):
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
        return tasks

    task = start(work())
    assert asyncio.current_task() is outer
    first, *others = await task
    assert first is not None
    assert first is not outer
    assert all(one is first for one in others)
    assert first.done()
    assert isinstance(first.get_name(), str)


async def test_one_within_another() -> None:
    async def inner() -> Any:
        return asyncio.current_task()

    async def work() -> tuple[Any, Any, Any]:
        before = asyncio.current_task()
        outcome = start(inner())
        return before, outcome.result(), asyncio.current_task()

    before, within, after = start(work()).result()
    assert before is after
    assert within is not before


@pytest.mark.parametrize("waits", [0, 1])
@pytest.mark.parametrize("seconds", [0.0, 0.02])
async def test_timeout(waits: int, seconds: float) -> None:
    async def work() -> str:
        for _ in range(waits):
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.sleep(30)
        except TimeoutError:
            return "late"
        return "in time"

    assert await start(work()) == "late"


async def test_a_timeout_that_does_not_come() -> None:
    async def work() -> str:
        async with asyncio.timeout(30):
            await asyncio.sleep(0)
        return "in time"

    assert await start(work()) == "in time"


@pytest.mark.parametrize("waits", [0, 1])
async def test_task_group(waits: int) -> None:
    async def child(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def work() -> int:
        for _ in range(waits):
            await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child(number)) for number in range(3)]
        return sum(task.result() for task in tasks)

    assert await start(work()) == 3


@pytest.mark.parametrize("waits", [0, 1])
async def test_a_failing_child_of_a_task_group_cancels_the_wait(waits: int) -> None:
    async def child() -> None:
        raise ValueError("child")

    async def work() -> str:
        for _ in range(waits):
            await asyncio.sleep(0)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await asyncio.sleep(30)
        except* ValueError:
            pass
        return "went on"

    assert await start(work()) == "went on"


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_cancellation_reaches_the_wait_and_what_it_waits_for(turns: int) -> None:
    seen: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("child")
            raise

    inner = asyncio.create_task(child())
    await asyncio.sleep(0)

    async def work() -> None:
        try:
            await inner
        except asyncio.CancelledError:
            seen.append("work")
            raise

    task = start(work())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert seen == ["child", "work"]


async def test_a_coroutine_may_refuse_to_be_cancelled() -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return "no"
        return "?"

    task = start(work())
    task.cancel()
    assert await task == "no"


@pytest.mark.parametrize("wait", [False, True])
async def test_cancelling_itself_in_the_first_step(wait: bool) -> None:
    async def work() -> None:
        me = asyncio.current_task()
        assert me is not None
        assert me.cancelling() == 0
        assert me.cancel()
        assert me.cancelling() == 1
        if wait:
            await asyncio.sleep(30)

    task = start(work())
    await asyncio.wait([task])
    assert task.cancelled()


async def test_cancelled_before_a_bare_wait() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise AssertionError("went on")

    task = start(work())
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
