"""Be the task of a coroutine whose first step no task runs; see eager.py.

A `StandIn` is a real task that does not run yet: whoever asks for the current task in the first step gets it, may keep
it, or a weak reference to it, and cancel it or add callbacks. At the coroutine's first wait it begins to run. If the
coroutine never waits and nobody has looked, the next coroutine gets the same one.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from ..awaitables import ENDS_LOOPS, contained

__all__ = ["FirstStep", "StandIn"]

_numbers = itertools.count(1)

if TYPE_CHECKING:
    Task = asyncio.Task[Any]
else:
    Task = asyncio.Task


class FirstStep:
    """Hold what the first step of a coroutine is about.

    Attributes:
        work: the coroutine.
        result: what it has returned, or what it waits for.
        task: its stand-in; None once another first step has taken the place of this one.

    Args:
        loop: where it runs.
    """

    __slots__ = ("result", "task", "work")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.work: Coroutine[Any, Any, Any] | None = None
        self.result: Any = None
        self.task: Any = StandIn(self, loop)


class StandIn(Task):
    """Be the current task of a coroutine from its first step to its last.

    Args:
        first: the first step.
        loop: where it runs.
    """

    def __init__(self, first: FirstStep, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.Future.__init__(self, loop=loop)  # Task's own would have the loop run it
        self._first = first
        self._runs = False
        self._given_name: str | None = None
        self._requests: list[Any] = []  # to be cancelled, in the first step
        self._noticed: StandIn | None = None  # one more reference, so that `FirstStep` sees that it was looked at
        if sys.version_info < (3, 14):  # later ones ask no `done` method, and a loop that ends would wait for it
            asyncio.tasks._register_task(self)

    def start(self, context: Context) -> StandIn:
        """Run the rest of the coroutine, which waits now, as a task does.

        Args:
            context: for all its steps.
        """
        first, callbacks = self._first, self._callbacks or ()
        waited_for, first.result = first.result, None
        self._runs, self._noticed = True, None
        rest = _Rest(first.work, waited_for)
        Task.__init__(self, rest, loop=self.get_loop(), name=self._given_name, context=context)
        for callback, its_context in callbacks:
            Task.add_done_callback(self, callback, context=its_context)
        for message in self._requests:
            Task.cancel(self, message)
        return self

    def end(self, result: Any, error: BaseException | None = None) -> None:
        """End with the coroutine, which never waited; for whoever has kept the task or added a callback.

        Args:
            result: what it returned.
            error: what it raised.
        """
        self._runs, self._noticed = True, None
        if self._requests or isinstance(error, asyncio.CancelledError):
            asyncio.Future.cancel(self)
        elif error is not None:
            if isinstance(error, (*ENDS_LOOPS, StopIteration)):  # a future takes no StopIteration
                error = contained(error)
            asyncio.Future.set_exception(self, error)
            Task.exception(self)  # it is logged already
        else:
            asyncio.Future.set_result(self, result)

    def _notice(self) -> None:
        if not self._runs:
            self._noticed = self

    def __repr__(self) -> str:
        return "<StandIn of no coroutine yet>" if self._first.work is None else Task.__repr__(self)

    # -- what a task is asked --------------------------------------------------------------------------

    def cancel(self, msg: Any = None) -> bool:
        if self._runs:
            return Task.cancel(self, msg)
        self._notice()
        self._requests.append(msg)
        return True

    def cancelling(self) -> int:
        return Task.cancelling(self) if self._runs else len(self._requests)

    def uncancel(self) -> int:
        if self._runs:
            return Task.uncancel(self)
        if self._requests:
            self._requests.pop()
        return len(self._requests)

    def done(self) -> bool:
        if self._runs:
            return Task.done(self)
        return asyncio.current_task(self.get_loop()) is not self  # it waits for its first coroutine

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        self._notice()
        Task.add_done_callback(self, fn, context=context)

    def get_coro(self) -> Any:
        return self._first.work

    @property
    def _coro(self) -> Any:  # what asyncio itself looks at to describe a task
        return self._first.work

    def get_name(self) -> str:
        if self._runs:
            return Task.get_name(self)
        if self._given_name is None:
            self._notice()
            self._given_name = f"Handler-{next(_numbers)}"  # asyncio keeps its own counter to itself
        return self._given_name

    def set_name(self, value: object, /) -> None:
        if self._runs:
            Task.set_name(self, value)
        else:
            self._notice()
            self._given_name = str(value)


class _Rest(Coroutine[Any, Any, Any]):
    """Run a coroutine from its first wait on, as the coroutine of its task."""

    def __init__(self, work: Coroutine[Any, Any, Any] | None, waited_for: Any) -> None:
        self._work: Any = work
        self._waited_for = waited_for  # what the first step waits for; the task must still be told
        self._told = False

    def __await__(self) -> Any:
        raise TypeError("this is for a task to drive")

    def send(self, value: Any) -> Any:
        if not self._told:
            return self._tell()
        try:
            return self._work.send(value)
        except ENDS_LOOPS as error:
            raise contained(error) from error

    def throw(self, error: Any, *rest: Any) -> Any:  # tasks pass the exception only
        if not self._told:
            waited_for = self._tell()
            if waited_for is not None and isinstance(error, asyncio.CancelledError):
                # A task that is cancelled cancels what it waits for, and that wakes it.
                if waited_for.cancel(*error.args):
                    return waited_for
                waited_for._asyncio_future_blocking = False
        try:
            return self._work.throw(error)
        except ENDS_LOOPS as ended:
            raise contained(ended) from ended

    def close(self) -> None:
        self._work.close()

    def _tell(self) -> Any:
        self._told = True
        waited_for, self._waited_for = self._waited_for, None
        return waited_for
