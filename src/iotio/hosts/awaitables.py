"""Make coroutines of awaitables, and tasks of them: a task and `asyncio.run` take nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from contextvars import Context
from typing import Any

from iotio.core.primitives import Signal

__all__ = ["ENDS_LOOPS", "Outcome", "as_coroutine", "contained", "create_task"]

ENDS_LOOPS = (KeyboardInterrupt, SystemExit)
"""What a task raises again in its loop, which then ends. For a handler's task that is the end of all devices."""


async def as_coroutine(awaitable: Awaitable[Any]) -> Any:
    """Await anything that can be awaited: a coroutine, a future, an object with `__await__`.

    Raises:
        RuntimeError: it has raised one of ENDS_LOOPS, which is the cause.
    """
    try:
        return await awaitable
    except ENDS_LOOPS as error:
        raise contained(error) from error


def contained(error: BaseException) -> RuntimeError:
    """Return the error to raise from one of ENDS_LOOPS, in its place."""
    return RuntimeError(f"a handler has raised {type(error).__name__}, which ends neither the loop nor the program")


def create_task(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[Any], context: Context) -> asyncio.Task[Any]:
    """Make a task of an awaitable by the loop's task factory, if one is set, with the errors of `as_coroutine`.

    Args:
        loop: the loop; this is its thread.
        awaitable: of any kind; the task's coroutine has its name, which tools show.
        context: to run in; a factory that takes no context gets a copy of it.
    """
    work = as_coroutine(awaitable)
    for name in ("__name__", "__qualname__"):
        setattr(work, name, getattr(awaitable, name, getattr(work, name)))
    try:
        return loop.create_task(work, context=context)
    except TypeError:  # a factory of loop and coroutine only, as before Python 3.11
        return context.run(loop.create_task, work)


class Outcome:
    """Keep the result of an awaitable that runs on a loop.

    Attributes:
        done: set when the result is there.
        error: what it raised; None if it returned.
    """

    def __init__(self) -> None:
        self.done = Signal()
        self._result: Any = None
        self.error: BaseException | None = None
        self._task: asyncio.Task[Any] | None = None

    def follow(self, task: asyncio.Task[Any]) -> None:
        """Take the result of a task when it ends; on its loop's thread."""
        self._task = task
        task.add_done_callback(self._settle)

    def cancel(self) -> None:
        """Cancel the task, if it runs; from any thread."""
        if self._task is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def _settle(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.error = asyncio.CancelledError()
        else:
            self.error = task.exception()
            self._result = None if self.error else task.result()
        self.done.set()

    def fail(self, error: BaseException) -> None:
        """Take an error in the place of a task's result."""
        self.error = error
        self.done.set()

    def result(self) -> Any:
        """Return the result, or raise what the coroutine raised; RuntimeError if it was cancelled."""
        if isinstance(self.error, asyncio.CancelledError):
            raise RuntimeError("the handler was cancelled") from self.error
        if self.error is not None:
            raise self.error
        return self._result
