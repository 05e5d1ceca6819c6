"""Run a coroutine's first step at once, and make it a task only if it really waits.

Most `async def` handlers never wait; a task for each would cost them a pass through the loop. The coroutine runs with
a task that is not running yet as the current one, so that all that asks for it works in its first step; where it waits,
that task begins to run. One whose first step nobody has looked at stands in for the next coroutine: references, also
weak ones, tell. CPython's own eager tasks, from 3.12 on, make a task for each.

Where the program has set a task factory, there are no stand-ins: the factory makes the tasks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, Protocol

from .first_step import finishes, references
from .stand_in import FirstStep

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


class Host(Protocol):
    """The loop's host.

    Attributes:
        loop: the loop.
        first_step: the one that is used again, as long as nobody looks at its task.
    """

    loop: asyncio.AbstractEventLoop
    first_step: FirstStep


def run(work: Coroutine[Any, Any, Any], context: Context, host: Host) -> Any:
    """Run a coroutine up to its first wait, on the loop's thread.

    Returns:
        The coroutine's result if it never waited, else a `Waiting`.

    Raises:
        BaseException: what the coroutine raised; CancelledError if it was cancelled.
    """
    loop = host.loop
    me = host.first_step
    if _current_task(loop) is me.task:  # within the first step of another
        me = FirstStep(loop)
    task = me.task
    previous = enter(task, loop)
    seen_by = references(task)
    try:
        try:
            done = context.run(finishes, me, work)
        except BaseException as error:
            me = _replace(host, me, loop)
            task.end(None, error)
            raise
        if not done:
            me = _replace(host, me, loop)
            return Waiting(task.start(context))
        result, me.result = me.result, None
        if references(task) != seen_by:
            me = _replace(host, me, loop)
            is_cancelled = task.cancelling()
            task.end(result)
            if is_cancelled:
                raise asyncio.CancelledError
        return result
    finally:
        leave(me.task, loop, previous)


def _replace(host: Host, me: FirstStep, loop: asyncio.AbstractEventLoop) -> FirstStep:
    another = change(me, loop)
    if host.first_step is me:
        host.first_step = another
    return another


def enter(task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    """Make a stand-in the current task, until `leave`. Returns the current task before it, or None."""
    previous: asyncio.Task[Any] | None = _current_task(loop)
    if previous is not None:
        _leave_task(loop, previous)
    _enter_task(loop, task)
    return previous


def leave(task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop, previous: asyncio.Task[Any] | None) -> None:
    """Make the task that `enter` returned the current one again."""
    _leave_task(loop, task)
    if previous is not None:
        _enter_task(loop, previous)


def change(me: FirstStep, loop: asyncio.AbstractEventLoop) -> FirstStep:
    """Make a new stand-in the current task in the place of one that user code may have kept, or that runs by itself."""
    another = FirstStep(loop)
    _leave_task(loop, me.task)
    _enter_task(loop, another.task)
    me.task = None  # it has `me`
    return another
