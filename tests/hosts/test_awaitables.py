"""Coroutines of anything that can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from iotio.hosts.awaitables import as_coroutine


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
