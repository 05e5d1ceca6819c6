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

__all__ = ["StandIn", "Waiting", "change", "enter", "leave", "run"]

_enter_task: Any = asyncio.tasks._enter_task
_leave_task: Any = asyncio.tasks._leave_task


if sys.version_info >= (3, 12):
    _current_task: Any = asyncio.current_task
else:  # it is slow there; the dictionary is what it looks into
    _current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]


class Waiting:
    """What `run` returns for a coroutine that waits: the rest of it is a task."""

    __slots__ = ("task",)

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task


def run(work: Coroutine[Any, Any, Any], context: Context, loop: asyncio.AbstractEventLoop) -> Any:
    """Run a coroutine up to its first wait, on the loop's thread.

    Returns:
        Its result if it never waited, else a `Waiting`.

    Raises:
        BaseException: what it raised; CancelledError if it was cancelled.
    """
    me = StandIn()
    me.work = work
    previous = enter(me, loop)
    try:
        waited_for = context.run(work.send, None)
    except StopIteration as end:
        if me.cancels:
            raise asyncio.CancelledError from None
        return end.value
    else:
        return Waiting(me.promote(work, waited_for, context, loop))
    finally:
        leave(me, loop, previous)


def enter(me: StandIn, loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    """Make a stand-in the current task, until `leave`. Returns what was it before."""
    previous: asyncio.Task[Any] | None = _current_task(loop)
    if previous is not None:
        _leave_task(loop, previous)
    _enter_task(loop, me)
    return previous


def leave(me: StandIn, loop: asyncio.AbstractEventLoop, previous: asyncio.Task[Any] | None) -> None:
    """What was the current task before `enter` is it again."""
    _leave_task(loop, me)
    if previous is not None:
        _enter_task(loop, previous)


def change(me: StandIn, loop: asyncio.AbstractEventLoop) -> StandIn:
    """Put another stand-in in the place of one that somebody may have kept."""
    another = StandIn()
    _leave_task(loop, me)
    _enter_task(loop, another)
    return another


class StandIn:
    """What the coroutine sees as its task, from its first step to its last: some libraries compare.

    What it is asked after the first step goes to the real task.
    """

    __slots__ = ("cancels", "task", "work")

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.work: Coroutine[Any, Any, Any] | None = None
        self.cancels: list[Any] = []  # requests of the first step

    def promote(
        self, work: Coroutine[Any, Any, Any], waited_for: Any, context: Context, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[Any]:
        """The coroutine waits for something: a task takes over.

        Args:
            work: the coroutine.
            waited_for: what its first step gave.
            context: for the task.
            loop: its loop.
        """
        self.task = task = loop.create_task(_Rest(work, waited_for, self, loop), context=context)
        for message in self.cancels:
            task.cancel(message)
        return task

    def cancel(self, msg: Any = None) -> bool:
        if self.task is not None:
            return self.task.cancel(msg)
        self.cancels.append(msg)
        return True

    def cancelling(self) -> int:
        return self.task.cancelling() if self.task is not None else len(self.cancels)

    def uncancel(self) -> int:
        if self.task is not None:
            return self.task.uncancel()
        if self.cancels:
            self.cancels.pop()
        return len(self.cancels)

    def done(self) -> bool:
        return self.task is not None and self.task.done()

    def get_coro(self) -> Coroutine[Any, Any, Any] | None:
        return self.work

    def get_name(self) -> str:
        return self.task.get_name() if self.task is not None else f"Step-{id(self):x}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)


class _Rest(Coroutine[Any, Any, Any]):
    """A coroutine from its first wait on, as the coroutine of a real task."""

    def __init__(
        self, work: Coroutine[Any, Any, Any], waited_for: Any, me: StandIn, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._work = work
        self._waited_for = waited_for  # what the first step waits for; the task must still be told
        self._told = False
        self._me: Any = me
        self._loop = loop

    def __await__(self) -> Any:
        raise TypeError("this is for a task to drive")

    def send(self, value: Any) -> Any:
        if not self._told:
            return self._tell()
        return self._step(self._work.send, value)

    def throw(self, error: Any, *rest: Any) -> Any:  # tasks pass the exception only
        if not self._told:
            waited_for = self._tell()
            if waited_for is not None and isinstance(error, asyncio.CancelledError):
                # A task that is cancelled cancels what it waits for, and that wakes it.
                if waited_for.cancel(*error.args):
                    return waited_for
                waited_for._asyncio_future_blocking = False
        return self._step(self._work.throw, error)

    def close(self) -> None:
        self._work.close()

    def _tell(self) -> Any:
        self._told = True
        waited_for, self._waited_for = self._waited_for, None
        return waited_for

    def _step(self, function: Any, argument: Any) -> Any:
        loop, me = self._loop, self._me
        asyncio.tasks._leave_task(loop, me.task)
        asyncio.tasks._enter_task(loop, me)
        try:
            return function(argument)
        finally:
            asyncio.tasks._leave_task(loop, me)
            asyncio.tasks._enter_task(loop, me.task)
