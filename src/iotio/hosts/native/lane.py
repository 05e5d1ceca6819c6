"""The lane of one device on an asyncio loop: `async def` runs on the loop, its first step at once; `def` on a worker.

All methods are for the loop's thread, where nothing else is said. This is a hot path.
"""

from __future__ import annotations

import asyncio
import time
from _thread import LockType
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ...core.handler_context import HandlerContext
from ...core.lane import MAX_WAITING, MAX_WAITING_BYTES, TOO_MUCH_WAITS, Kind, Step
from ...core.primitives import Signal
from ..awaitables import create_task
from .eager import Waiting, run
from .workers import Job

if TYPE_CHECKING:
    from .host import NativeHost

__all__ = ["Dispatcher", "LoopLane"]

_LOW = MAX_WAITING // 4  # events, at which a device is read again that was not
_LOW_BYTES = MAX_WAITING_BYTES // 4


class Dispatcher(Protocol):
    """The connection, as its lane needs it."""

    _lock: LockType

    def begin_user_code(self) -> HandlerContext: ...
    def abandon_calls(self, count: int) -> None: ...
    @property
    def awaited(self) -> int: ...
    def fail_calls(self, why: str) -> None: ...
    def answer(self, event: str, reply_head: bytes | None, result: Any) -> None: ...


class Reading(Protocol):
    """What is read from the device: its connection, or a transport."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class LoopLane:
    """Runs the steps of one device, one after the other. See `iotio.core.lane.Lane`.

    Attributes:
        is_idle: whether nothing runs or waits, so that an event may be handled at once.
        is_full: whether so much waits that the device is not read, unless a call waits for its answer.
        running: calls that have begun and not ended.

    Args:
        host: the loop's host.
        connection: what the steps are for.
        reading: reading pauses while the lane is full.
    """

    def __init__(self, host: NativeHost, connection: Dispatcher, reading: Reading) -> None:
        self.is_idle = True
        self.is_full = False
        self.running = 0
        self._host = host
        self._connection = connection
        self._reading = reading
        self._handler_context: HandlerContext | None = None  # from the first user code on
        self._steps: deque[Step] | None = None  # those that wait; made when there are any: most devices are idle
        self._waiting = 0  # events in them
        self._size = 0  # bytes of these, and of the steps that wait on a worker
        self._reads_on = False  # although the lane is full, for the answers of calls
        self._on_worker = 0  # of `running`, calls on a worker: `def` handlers may queue up there
        self._generation = 0  # the number of times that what ran was abandoned
        self._owner: object = self  # of our jobs, for the workers
        self._limiter: asyncio.TimerHandle | None = None  # has a look at what runs
        self._drops_events = False
        self._held = False
        self._timer: asyncio.TimerHandle | None = None  # while held
        self._current_event = ""  # whose handler has begun last
        self._current_since = 0.0
        self._begun_at = 0.0  # when the step began, on the machine's clock

    # -- what stands in the lane -----------------------------------------------------------------------

    def push(self, step: Step) -> None:
        """Run a step now if nothing is before it, else in its turn."""
        if self._steps is not None or self._held or not self._may_begin(step):
            self._append(step)
        else:
            self._begin(step)
        if self.is_full:
            if self._reads_on and not self._may_read_on():
                self._reads_on = False
                self._reading.pause_reading()
        elif self._waiting + self.running >= MAX_WAITING or self._size >= MAX_WAITING_BYTES:
            self.is_full = True
            self._reads_on = self._may_read_on()
            if not self._reads_on:
                self._reading.pause_reading()

    def _may_read_on(self) -> bool:
        """Return whether the device may be read although the lane is full. If that would be too much, calls fail."""
        more = self._connection.awaited
        if not more:
            return False
        if self._size < MAX_WAITING_BYTES + more and self._waiting + self.running < 2 * MAX_WAITING:
            return True
        self._connection.fail_calls(TOO_MUCH_WAITS)
        return False

    def answer_awaited(self) -> None:
        """Read the device although the lane is full, as a call waits for its answer. From any thread, in any lock."""
        if self.is_full and not self._reads_on:
            self._host.call_later(self._read_on)

    def _read_on(self) -> None:
        if self.is_full and not self._reads_on and self._may_read_on():
            self._reads_on = True
            self._reading.resume_reading()

    def run(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function of ours now if nothing is before it, else in its turn."""
        if self.is_idle:
            function(*arguments)
        else:
            self.push(Step.of(Kind.INTERNAL, "", function, *arguments))

    def push_first(self, steps: list[Step]) -> None:
        """Run steps that are no events, in their order, before all that waits."""
        if self._steps is None and not self._held:
            for step in steps:
                self.push(step)
            return
        if self._steps is None:
            self._steps = deque()
        self._steps.extendleft(reversed(steps))
        self.is_idle = False
        self._pump()

    def wait_for(self, event: str, kind: Kind, task: asyncio.Task[Any]) -> None:
        """Let the lane wait for an `async def` handler that waits itself."""
        self.running += 1
        self._current_event = event
        self._current_since = self._host.clock()
        self._begun_at = time.monotonic()
        self.is_idle = False
        self._host.tasks.add(task)
        task.add_done_callback(partial(self._waited, event, kind, self._generation))

    def call(self, function: Callable[[], None]) -> None:
        """Call a function of ours: now, or when the lane is held no longer. From any thread: then soon."""
        if not self._host.is_current:
            self._host.call_later(partial(self.call, function))
        elif self._held:
            self._append(Step.of(Kind.INTERNAL, "", function))
        else:
            function()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Like `call`, but not within the step that may run now. From any thread."""
        self._host.call_later(partial(self.call, function))

    @property
    def is_reading(self) -> bool:
        """Whether the device is being read: while the lane is full only for calls that wait for their answers."""
        return not self.is_full or self._reads_on

    def expect(self, events: Sequence[Any]) -> None:
        """Do nothing: what waits is counted as it is pushed."""

    @property
    def on_loop(self) -> bool:
        """Whether an `async def` step that does not wait runs at once, and a `def` one in another thread."""
        return True

    @property
    def is_busy(self) -> bool:
        """Whether a call has begun and not ended."""
        return self.running > 0

    def hold(self, until: Signal, patience: float, lost: Callable[[], None]) -> None:
        """Begin no step before a signal is set, or after two times `patience`.

        Args:
            until: the signal.
            patience: seconds to wait before `lost` is called, and then once more.
            lost: does what it can to have the signal set.
        """
        self._held = True
        self.is_idle = False
        self._timer = self._host.loop.call_later(patience, self._lose_patience, patience, lost)
        until.add_callback(lambda: self._host.call_later(self._release))

    def limit(self, patience: float, lost: Callable[[str], None]) -> None:
        """From now on, until the lane is idle, call a function when one handler has run for too long.

        Args:
            patience: seconds that a handler may run.
            lost: gets the event; it does what it can to have the lane go on.
        """
        if self._limiter is None and not self.is_idle:
            self._limiter = self._host.loop.call_later(patience, self._look, patience, lost)

    def _look(self, patience: float, lost: Callable[[str], None]) -> None:
        self._limiter = None
        if self.running and self._host.clock() - self._current_since >= patience:
            lost(self._current_event)
        self.limit(patience, lost)

    def drop_events(self) -> None:
        """Run no event that has not begun. From any thread."""
        self._drops_events = True
        if self._waiting:
            self._host.call_later(self._pump)  # the device is read again

    def abandon(self, older_than: float = 0.0) -> None:
        """Wait no longer for what runs; what is behind it goes on in another context. From any thread.

        Args:
            older_than: seconds; a step that has begun since is not abandoned: it is not the one that was waited for.
        """
        if not self._host.is_current:
            self._host.call_later(partial(self.abandon, older_than))
            return
        if self.running and time.monotonic() - self._begun_at < older_than:
            return
        self._generation += 1  # the end of what runs now will be none of ours
        if self.running:
            with self._connection._lock:
                self._connection.abandon_calls(self.running)
        self.running = self._on_worker = 0
        self._size = sum(step.size for step in self._steps or ())
        for job in self._host.workers.forget(self._owner):  # or they would be kept for as long as it is stuck
            job.run()  # it calls nothing any more, but reports its end
        self._owner = object()  # or what follows could stand behind the stuck job, on the worker of its owner
        self._pump()

    # -- inside ----------------------------------------------------------------------------------------

    def _append(self, step: Step) -> None:
        if step.kind is Kind.EVENT:
            if self._drops_events:
                return
            self._waiting += len(step.calls)
            self._size += step.size
        if self._steps is None:
            self._steps = deque()
        self._steps.append(step)
        self.is_idle = False

    def _may_begin(self, step: Step) -> bool:
        if not self.running:
            return True
        # Several may queue up on a worker, but only such that can be dropped when the first is abandoned.
        return self.running == self._on_worker and not step.is_async and step.kind is Kind.EVENT

    def _begin(self, step: Step) -> None:
        if step.kind is Kind.INTERNAL:
            _, function, arguments, _ = step.calls[0]
            function(*arguments)
            return
        context = self._handler_context
        if context is None:
            context = self._handler_context = self._connection.begin_user_code()
        if step.is_async:
            self._begin_async(step, context)
            return
        if not self.running:
            step.size = 0  # what runs does not wait
        count = len(step.calls)
        self.running += count
        self._current_event = step.calls[0][0]
        self._current_since = self._host.clock()
        self._begun_at = time.monotonic()
        self._on_worker += count
        self._size += step.size
        self.is_idle = False
        work = partial(self._work, step, self._generation, context.context)
        self._host.workers.submit(Job(self._owner, work, self._label, self._since))

    def _work(self, step: Step, generation: int, context: Context) -> None:
        """Run the calls of a step, on a worker.

        Args:
            step: the step.
            generation: when the step began.
            context: to run in; another one than the present one if the step was abandoned since.
        """
        handler_context = self._handler_context
        assert handler_context is not None
        is_event = step.kind is Kind.EVENT
        for event, function, arguments, reply_head in step.calls:
            if generation != self._generation or (is_event and self._drops_events):
                break
            self._current_event = event
            self._current_since = self._host.clock()
            result = handler_context.run_handler(event, function, arguments, context)
            if result is not None and is_event:
                self._connection.answer(event, reply_head, result)
        self._host.call_later(partial(self._worked, generation, len(step.calls), step.size))

    def _worked(self, generation: int, count: int, size: int) -> None:
        if generation != self._generation:
            self._abandoned_ended(count)
            return
        self.running -= count
        self._on_worker -= count
        self._size -= size
        self._host.workers.done(self._owner)
        self._pump()

    def _begin_async(self, step: Step, context: HandlerContext) -> None:
        event, function, arguments, _ = step.calls[0]
        try:
            work = function(*arguments)
            if self._host.makes_tasks:
                self.wait_for(event, step.kind, create_task(self._host.loop, work, context.context))
                return
            result = run(work, context.context, self._host)
        except asyncio.CancelledError:
            return
        except BaseException as error:
            context.log_failure(event, error)
            return
        if type(result) is Waiting:
            self._host.look_for_factory()
            self.wait_for(event, step.kind, result.task)
        elif result is not None and step.kind is Kind.EVENT:
            self._connection.answer(event, None, result)

    def _waited(self, event: str, kind: Kind, generation: int, task: asyncio.Task[Any]) -> None:
        assert self._handler_context is not None
        self._host.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._handler_context.log_failure(event, error)
        elif not task.cancelled() and kind is Kind.EVENT:
            result = task.result()
            if result is not None:
                self._connection.answer(event, None, result)
        if generation != self._generation:
            self._abandoned_ended(1)
            return
        self.running -= 1
        self._pump()

    def _abandoned_ended(self, count: int) -> None:
        assert self._handler_context is not None
        self._handler_context.abandoned_ended(count)

    def _lose_patience(self, patience: float, lost: Callable[[], None]) -> None:
        self._timer = self._host.loop.call_later(patience, self._release)
        lost()

    def _release(self) -> None:
        if self._held:
            self._held = False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._pump()

    def _pump(self) -> None:
        """Begin what may begin."""
        while self._steps is not None and not self._held:
            if not self._steps:
                self._steps = None
                break
            step = self._steps[0]
            is_event = step.kind is Kind.EVENT
            drops = is_event and self._drops_events
            if not drops and not self._may_begin(step):
                break
            self._steps.popleft()
            if is_event:
                self._waiting -= len(step.calls)
                self._size -= step.size
            if not drops:
                self._begin(step)
        self.is_idle = not self.running and self._steps is None and not self._held
        if self.is_idle and self._limiter is not None:
            self._limiter.cancel()  # it would keep the connection in memory for its time
            self._limiter = None
        if self.is_full and self._waiting + self.running < _LOW and self._size < _LOW_BYTES:
            self.is_full = False
            reads, self._reads_on = self._reads_on, False
            if not reads:
                self._reading.resume_reading()

    def _label(self) -> str:
        assert self._handler_context is not None
        return f"handler on_{self._current_event} of {self._handler_context.label}"

    def _since(self) -> float:
        return self._current_since
