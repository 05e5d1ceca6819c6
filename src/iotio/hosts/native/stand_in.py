"""Stand in for the task of a coroutine whose first step no task runs; see eager.py."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from ..awaitables import ENDS_LOOPS, contained

__all__ = ["StandIn"]


class StandIn:
    """Be the current task of a coroutine from its first step to its last: some libraries compare them.

    After the first step every question and request is passed on to the real task.
    """

    __slots__ = ("cancels", "result", "task", "work")

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.work: Coroutine[Any, Any, Any] | None = None
        self.result: Any = None
        self.cancels: list[Any] = []  # requests of the first step

    def promote(self, context: Context, loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any]:
        """Make a task of a coroutine that waits, to run its later steps.

        Args:
            context: for the task.
            loop: its loop.
        """
        assert self.work is not None
        waited_for, self.result = self.result, None
        self.task = task = loop.create_task(_Rest(self.work, waited_for, self, loop), context=context)
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
    """Run a coroutine from its first wait on, as the coroutine of a real task."""

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
        except ENDS_LOOPS as error:
            raise contained(error) from error
        finally:
            asyncio.tasks._leave_task(loop, me)
            asyncio.tasks._enter_task(loop, me.task)
