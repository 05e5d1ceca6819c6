"""Steps of a lane."""

from __future__ import annotations

import functools
from typing import Any

from iotio.core.lane import Kind, Step, is_coroutine_function


async def later(value: Any) -> Any:
    return value


def now(value: Any) -> Any:
    return value


class Owner:
    async def later(self) -> None: ...

    def now(self) -> None: ...


def test_a_step_of_one_call() -> None:
    step = Step.of(Kind.EVENT, "x", now, 1)
    assert (step.kind, step.calls, step.is_async) == (Kind.EVENT, [("x", now, (1,), None)], False)
    assert Step.of(Kind.CONNECT, "connect", later, 1).is_async


def test_what_is_ours_never_waits() -> None:
    assert not Step.of(Kind.INTERNAL, "", later, 1).is_async


def test_handlers_of_all_kinds_are_told_apart() -> None:
    owner = Owner()
    assert [is_coroutine_function(one) for one in (later, now, owner.later, owner.now)] == [True, False, True, False]
    assert is_coroutine_function(functools.partial(later, 1))
