"""The first step of a coroutine, which no task runs."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest

from iotio.hosts.native.first_step import finishes, references
from iotio.hosts.native.stand_in import FirstStep


@pytest.mark.parametrize("value", [5, None, (1, 2), StopIteration])
async def test_a_coroutine_that_never_waits_has_ended(value: Any) -> None:
    async def work() -> Any:
        return value

    me, coroutine = FirstStep(asyncio.get_running_loop()), work()
    assert finishes(me, coroutine)
    assert me.result is value
    assert me.work is coroutine


async def test_what_a_coroutine_waits_for_is_kept() -> None:
    gate = asyncio.get_running_loop().create_future()
    steps: list[str] = []

    async def work() -> None:
        steps.append("first")
        await gate
        steps.append("second")

    me, coroutine = FirstStep(asyncio.get_running_loop()), work()
    assert not finishes(me, coroutine)
    assert me.result is gate
    assert me.work is coroutine
    assert steps == ["first"]
    coroutine.close()


async def test_a_bare_wait_is_for_nothing() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    me, coroutine = FirstStep(asyncio.get_running_loop()), work()
    assert not finishes(me, coroutine)
    assert me.result is None
    coroutine.close()


@pytest.mark.parametrize("kind", [ValueError, asyncio.CancelledError, KeyboardInterrupt, SystemExit])
async def test_what_a_coroutine_raises_is_raised(kind: type[BaseException]) -> None:
    async def work() -> None:
        raise kind("why")

    me, coroutine = FirstStep(asyncio.get_running_loop()), work()
    with pytest.raises(kind, match="why"):
        finishes(me, coroutine)
    assert me.work is coroutine
    assert me.result is None


async def test_references_of_both_kinds_are_counted() -> None:
    task = FirstStep(asyncio.get_running_loop()).task
    before = references(task)
    strong = [task]
    assert references(task) != before
    strong.clear()
    weak = weakref.ref(task)
    assert references(task) != before
    kept = weakref.WeakSet([task])
    del weak
    assert references(task) != before
    kept.clear()
    assert references(task) == before
    weak = weakref.ref(task)
    found = references(task)
    del strong
    assert references(task) == found
    assert weak() is task
