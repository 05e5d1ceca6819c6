"""Coroutines of anything that can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from iotio.hosts.awaitables import Outcome, as_coroutine, create_task


class Later:
    """An awaitable that is neither a coroutine nor a future."""

    def __await__(self) -> Generator[Any, None, str]:
        yield from asyncio.sleep(0).__await__()
        return "object"


async def word() -> str:
    return "coroutine"


async def test_whatever_can_be_awaited_makes_a_task() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()
    future.set_result("future")
    for awaitable, result in ((word(), "coroutine"), (future, "future"), (Later(), "object")):
        assert await loop.create_task(as_coroutine(awaitable)) == result


async def test_what_an_awaitable_raises_is_raised() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_exception(LookupError("none"))
    with pytest.raises(LookupError, match="none"):
        await as_coroutine(future)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_what_would_end_a_loop_is_the_cause_of_an_error(kind: type[BaseException]) -> None:
    async def work() -> None:
        raise kind("why")

    with pytest.raises(RuntimeError, match=f"a handler has raised {kind.__name__}") as raised:
        await asyncio.create_task(as_coroutine(work()))
    assert isinstance(raised.value.__cause__, kind)


where: ContextVar[str] = ContextVar("where", default="elsewhere")


async def where_am_i() -> str:
    return where.get()


async def test_a_task_has_the_context_and_the_name_of_its_work() -> None:
    loop = asyncio.get_running_loop()
    context = copy_context()
    context.run(where.set, "here")
    for awaitable, name in ((where_am_i(), "where_am_i"), (Later(), "as_coroutine")):
        task: Any = create_task(loop, awaitable, context)
        assert task.get_coro().__qualname__ == name
        assert await task in ("here", "object")


async def test_a_factory_that_takes_no_context() -> None:
    loop: Any = asyncio.get_running_loop()
    context = copy_context()
    context.run(where.set, "here")
    loop.set_task_factory(lambda loop, work: asyncio.Task(work, loop=loop))
    try:
        task = create_task(loop, where_am_i(), context)
    finally:
        loop.set_task_factory(None)
    assert await task == "here"


async def test_an_outcome_has_what_a_task_returned_or_raised() -> None:
    async def fail() -> None:
        raise LookupError("none")

    loop = asyncio.get_running_loop()
    good, bad = Outcome(), Outcome()
    for outcome, work in ((good, word()), (bad, fail())):
        task: asyncio.Task[Any] = loop.create_task(work)
        outcome.follow(task)
        await asyncio.wait({task})
    await asyncio.sleep(0)
    assert good.done.is_set
    assert (good.error, good.result()) == (None, "coroutine")
    assert isinstance(bad.error, LookupError)
    with pytest.raises(LookupError, match="none"):
        bad.result()


async def test_an_outcome_can_be_cancelled_from_any_thread() -> None:
    outcome = Outcome()
    outcome.cancel()  # nothing runs yet
    task = asyncio.get_running_loop().create_task(asyncio.sleep(60))
    outcome.follow(task)
    await asyncio.to_thread(outcome.cancel)
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert isinstance(outcome.error, asyncio.CancelledError)
    with pytest.raises(RuntimeError, match="the handler was cancelled"):
        outcome.result()
