"""The program's own work beside its devices: `on_start`, what runs every so many seconds, and `on_stop`.

It begins with a host, or by `Manager.begin`, and never when the program is imported. A function is called where
handlers of its kind run: an `async def` on the host's loop, a `def` in a thread or greenlet, in the application's
context. All times are the manager's clock's; a host calls `Background.sweep` when `Background.next_due` has come.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import Context
from math import floor, inf
from typing import Any, TypeVar

from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger

from .handlers import takes
from .ports import BackgroundPort, Outcome, WorkPlace
from .primitives import Signal, allocate_lock
from .waiting import is_cancelled, loop_runs_here

__all__ = ["Background"]

Function = TypeVar("Function", bound=Callable[..., Any])


class _Call:
    """One call of a function of the program, in no device's context, but in the application's.

    Attributes:
        ended: set when the function has returned, and what it returned is awaited.
    """

    def __init__(self, background: Background, function: Callable[[], Any], label: str, place: WorkPlace) -> None:
        self.ended = Signal()
        self._background = background
        self._function = function
        self._label = label
        self._place = place
        self._context = Context()
        scope = background.manager.scope
        self._scope = nullcontext() if scope is None else scope(None)
        self._outcome: Outcome | None = None  # of an awaitable

    def begin(self) -> None:
        """Have the function called where its kind runs; from any thread."""
        if inspect.iscoroutinefunction(self._function):
            self._run()  # this makes the coroutine, and runs nothing of it
        else:
            self._place.run_def(self._run, self._label)

    def cancel(self) -> None:
        """Cancel what is awaited; a `def` cannot be."""
        if self._outcome is not None:
            self._outcome.cancel()

    def _run(self) -> None:
        try:
            self._context.run(self._scope.__enter__)
            try:
                result = self._context.run(self._function)
                if hasattr(result, "__await__"):
                    self._outcome = self._place.submit(result, self._context)
            finally:
                if self._outcome is None:
                    self._leave()
        except BaseException as error:  # nothing that it raises may end the thread, which may be a server's
            self._failed(error)
        if self._outcome is None:
            self.ended.set()
        else:
            self._outcome.done.add_callback(self._awaited)

    def _awaited(self) -> None:
        assert self._outcome is not None
        try:
            self._leave()
        finally:
            if self._outcome.error is not None:
                self._failed(self._outcome.error)
            self.ended.set()

    def _leave(self) -> None:
        self._context.run(self._scope.__exit__, None, None, None)

    def _failed(self, error: BaseException) -> None:
        if not (self._background.has_ended and is_cancelled(error)):
            self._background.throttle.error(error, self._label, "%s failed", self._label)


class _Job:
    """A function that is called every so many seconds."""

    def __init__(self, function: Callable[[], Any], interval: float) -> None:
        name = getattr(function, "__qualname__", None) or repr(function)
        if not takes(function, 0):
            raise TypeError(f"{name} must be a function without parameters: it is called every {interval:g} s")
        self.function = function
        self.label = f"{name}, which runs every {interval:g} s,"
        self.due = inf
        self.call: _Call | None = None  # the last one
        self._interval = interval
        self._since = 0.0
        self._turn = 1  # the number of the next call

    def begin(self, now: float) -> None:
        """Count the seconds from now."""
        self._since = now
        self._turn = 1
        self.due = now + self._interval

    def advance(self, now: float) -> None:
        """Set the time of the next call: a multiple of the interval from the beginning, so that none drifts."""
        self._turn = max(self._turn, floor((now - self._since) / self._interval)) + 1  # what was missed is left out
        self.due = self._since + self._turn * self._interval


class Background:
    """The work of one manager. Every method may be called from any thread.

    Args:
        manager: has the clock, the callbacks, the application's scope and the loops of the hosts.

    Attributes:
        next_due: when `sweep` has something to do, on the manager's clock; infinity for never.
        has_begun: whether the work has begun, once at least.
        has_ended: whether it has ended since.
        place_without_loop: where the work is done as long as no host has a loop.
    """

    def __init__(self, manager: BackgroundPort) -> None:
        self.next_due = inf
        self.has_begun = self.has_ended = False
        self.place_without_loop: WorkPlace | None = None
        self.manager = manager
        self.throttle = LogThrottle(lambda: manager.clock(), allocate_lock(), get_logger("iotio.manager"))
        self._lock = allocate_lock()
        self._jobs: list[_Job] = []
        self._started = Signal()  # `on_start` has ended

    def every(self, seconds: object) -> Callable[[Function], Function]:
        """Return a decorator; see `Manager.every`."""
        if callable(seconds):
            raise TypeError("write @manager.every(60), with the seconds between two calls, above the function")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < inf:
            raise ValueError(f"every() takes the seconds between two calls, a number above 0, not {seconds!r}")

        def add(function: Function) -> Function:
            job = _Job(function, seconds)
            with self._lock:
                self._jobs.append(job)
                if self._runs:
                    job.begin(self.manager.clock())
                    self.next_due = min(self.next_due, job.due)
            return function

        return add

    @property
    def _place(self) -> WorkPlace:
        """Where the work is done now: by the host whose loop was the last to begin."""
        loops = self.manager.loops
        if loops:
            return loops[-1]
        if self.place_without_loop is None:
            raise RuntimeError("there is no host yet that could do the work of this manager")
        return self.place_without_loop

    @property
    def _runs(self) -> bool:
        return self._started.is_set and not self.has_ended

    @property
    def waits_for_begin(self) -> bool:
        """Whether there is work that has not begun; hosts that nobody tells of their start ask for each request."""
        if self._started.is_set or self.has_ended:
            return False
        callbacks = self.manager.callbacks
        return bool(self._jobs) or callbacks.start_handler is not None or callbacks.stop_handler is not None

    def begin(self) -> Signal:
        """Call `on_start`, then begin what runs every so many seconds; only the first call of several does.

        Returns:
            A signal that is set when `on_start` has ended.
        """
        with self._lock:
            if self.has_begun and not self.has_ended:
                return self._started
            self.has_begun, self.has_ended = True, False
            self._started = Signal()
        function = self.manager.callbacks.start_handler
        if function is None:
            self._begin_jobs()
        else:
            call = self._call(function, "the manager's on_start")
            call.ended.add_callback(self._begin_jobs)
        return self._started

    def sweep(self, now: float) -> None:
        """Call what is due. What still runs misses its turn, which is logged."""
        if now < self.next_due:
            return
        with self._lock:
            due = [job for job in self._jobs if job.due <= now] if self._runs else []
            for job in due:
                job.advance(now)
            self._set_next_due()
        for job in due:
            if job.call is not None and not job.call.ended.is_set:
                self.throttle.warning(job.label, "%s has not ended since its last turn and misses this one", job.label)
            else:
                job.call = self._call(job.function, job.label)

    def end(self, timeout: float, wait: Callable[[Signal, float], bool]) -> None:
        """End what runs every so many seconds, then call `on_stop`. Does nothing before `begin`, or a second time.

        An `async def` that runs is cancelled, and a `def` is waited for. On the thread of a loop nothing is.

        Args:
            timeout: seconds to wait, in all.
            wait: how to wait in this thread.
        """
        with self._lock:
            if not self.has_begun or self.has_ended:
                return
            self.has_ended = True
            calls = [job.call for job in self._jobs if job.call is not None]
            for job in self._jobs:
                job.due = inf
            self.next_due = inf
        clock = self.manager.clock
        deadline = clock() + (0 if loop_runs_here() else timeout)
        for call in calls:
            call.cancel()
        for call in calls:
            wait(call.ended, max(deadline - clock(), 0))
        function = self.manager.callbacks.stop_handler
        if function is not None:
            wait(self._call(function, "the manager's on_stop").ended, max(deadline - clock(), 0))

    def _call(self, function: Callable[[], Any], label: str) -> _Call:
        call = _Call(self, function, label, self._place)
        call.begin()
        return call

    def _begin_jobs(self) -> None:
        with self._lock:
            if not self.has_ended:
                now = self.manager.clock()
                for job in self._jobs:
                    job.begin(now)
                self._set_next_due()
            started = self._started
        started.set()

    def _set_next_due(self) -> None:
        self.next_due = min((job.due for job in self._jobs), default=inf)
