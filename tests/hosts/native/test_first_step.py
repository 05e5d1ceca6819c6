"""The first step of a coroutine, which no task runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iotio.hosts.native.first_step import finishes
from iotio.hosts.native.stand_in import StandIn


@pytest.mark.parametrize("value", [5, None, (1, 2), StopIteration])
def test_a_coroutine_that_never_waits_has_ended(value: Any) -> None:
    async def work() -> Any:
        return value

    me, coroutine = StandIn(), work()
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

    me, coroutine = StandIn(), work()
    assert not finishes(me, coroutine)
    assert me.result is gate
    assert me.work is coroutine
    assert steps == ["first"]
    coroutine.close()


def test_a_bare_wait_is_for_nothing() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    me, coroutine = StandIn(), work()
    assert not finishes(me, coroutine)
    assert me.result is None
    coroutine.close()


@pytest.mark.parametrize("kind", [ValueError, asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_what_a_coroutine_raises_is_raised(kind: type[BaseException]) -> None:
    async def work() -> None:
        raise kind("why")

    me, coroutine = StandIn(), work()
    with pytest.raises(kind, match="why"):
        finishes(me, coroutine)
    assert me.work is coroutine
    assert me.result is None
