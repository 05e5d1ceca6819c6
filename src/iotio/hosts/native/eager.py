"""Run a coroutine's first step at once, and make it a task only if it really waits.

Most `async def` handlers never wait; a task for each would cost them a pass through the loop. The coroutine runs with
a stand-in as the current task, so that `asyncio.timeout()`, task groups and cancellation work in its first step, and a
task resumes it where it waited. CPython's own eager tasks, from 3.12 on, make the task all the same.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from .first_step import finishes
from .stand_in import StandIn

__all__ = ["Waiting", "change", "enter", "leave", "run"]

_enter_task: Any = asyncio.tasks._enter_task
_leave_task: Any = asyncio.tasks._leave_task


if sys.version_info >= (3, 12):
    _current_task: Any = asyncio.current_task
else:  # it is slow there; the dictionary is what it looks into
    _current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]


class Waiting:
    """Stand for a coroutine that waits, as the result of `run`: the rest of the coroutine is a task."""

    __slots__ = ("task",)

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task


def run(work: Coroutine[Any, Any, Any], context: Context, loop: asyncio.AbstractEventLoop) -> Any:
    """Run a coroutine up to its first wait, on the loop's thread.

    Returns:
        The coroutine's result if it never waited, else a `Waiting`.

    Raises:
        BaseException: what the coroutine raised; CancelledError if it was cancelled.
    """
    me = StandIn()
    previous = enter(me, loop)
    try:
        if not context.run(finishes, me, work):
            return Waiting(me.promote(context, loop))
        if me.cancels:
            raise asyncio.CancelledError
        return me.result
    finally:
        leave(me, loop, previous)


def enter(me: StandIn, loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    """Make a stand-in the current task, until `leave`. Returns the current task before it, or None."""
    previous: asyncio.Task[Any] | None = _current_task(loop)
    if previous is not None:
        _leave_task(loop, previous)
    _enter_task(loop, me)
    return previous


def leave(me: StandIn, loop: asyncio.AbstractEventLoop, previous: asyncio.Task[Any] | None) -> None:
    """Make the task that `enter` returned the current one again."""
    _leave_task(loop, me)
    if previous is not None:
        _enter_task(loop, previous)


def change(me: StandIn, loop: asyncio.AbstractEventLoop) -> StandIn:
    """Make a new stand-in the current task in the place of one that user code may have kept."""
    another = StandIn()
    _leave_task(loop, me)
    _enter_task(loop, another)
    return another
