"""Keep what the connections of one loop share: hand-over from other threads, the sweep, the workers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from math import inf
from typing import Any, Protocol, TypeVar

from iotio_protocol.logs import get_logger

from ...core.manager import Manager
from ...core.primitives import wait
from ...core.waiting import loop_runs_here
from ..awaitables import Outcome, as_coroutine, create_task
from ..timing import GO_ON, HELD_UP, PIECE, SWEEP_INTERVAL, TURN
from ..work_timer import WorkTimer
from .options import THREADS
from .stand_in import FirstStep
from .workers import Job, Workers

__all__ = ["NativeHost"]

T = TypeVar("T")

logger = get_logger("iotio.hosts")

_HOLD = 0.001  # seconds that threads which emit may hold up the loop
_WAY = 0.0002  # seconds between their looks at it then: quicker, and 16 of them take a core
_BLOCKED = 0.02  # seconds after which somebody else holds it up, and nobody waits for it
_CATCH_UP = 0.05  # seconds for a loop that was blocked to read what devices have sent meanwhile


class Flushable(Protocol):
    """What the host needs of a connection that has output."""

    def flush(self) -> None:
        """Write the output."""


def _flush(connection: Flushable) -> None:
    connection.flush()


class NativeHost:
    """Serve all native connections of one loop. Lives on the loop's thread.

    Args:
        manager: the manager whose devices are served.
        threads: threads for `def` handlers, at most.
        slow_handler: seconds after which a handler that still runs is named in the log; 0 for never.
    """

    def __init__(self, manager: Manager, *, threads: int = THREADS, slow_handler: float = 1.0) -> None:
        self.manager = manager
        self.loop = asyncio.get_running_loop()
        self.clock = manager.clock
        self.first_step = FirstStep(self.loop)  # used again, as long as nobody looks at its task
        self.makes_tasks = False  # a task factory is set: it makes a task for each async def handler
        self.look_for_factory()
        self.max_outbox = manager.options.max_outbox
        self.thread = threading.get_ident()
        self.tasks: set[asyncio.Task[Any]] = set()  # of handlers: a loop does not hold what waits
        self.workers = Workers(self.loop, most=threads, slow=slow_handler, clock=manager.clock)
        self._dirty: deque[Flushable] = deque()
        self._ended: deque[Callable[[], None]] = deque()
        self._awake = False  # a flush is on its way
        self._woken_at = 0.0  # when another thread has asked for it; `inf`: nobody waits for it any more
        self._sweeper = self.loop.call_later(SWEEP_INTERVAL, self._sweep)
        self._sweep_due = self.loop.time() + SWEEP_INTERVAL
        self._work_timer = WorkTimer(self.loop, manager)
        self._submitted: set[Outcome] = set()
        manager.loops.append(self)

    def close(self) -> None:
        """Stop sweeping and end the workers."""
        self._sweeper.cancel()
        self._work_timer.close()
        for outcome in list(self._submitted):
            outcome.fail(RuntimeError("the loop ends"))
        self.manager.log_throttle.sweep(self.clock(), ends=True)
        self.manager.loops.remove(self)
        self.workers.close()

    def look_for_factory(self) -> None:
        """Note whether a task factory is set. Called now and then: a loop tells nobody."""
        self.makes_tasks = self.loop.get_task_factory() is not None

    def flush_later(self, connection: Flushable) -> None:
        """Flush a connection that has output, on the loop soon; from any thread."""
        self._dirty.append(connection)
        self._wake()

    def call_later(self, function: Callable[[], None]) -> None:
        """Call a function on the loop soon; from any thread. Does nothing once the loop is closed."""
        self._ended.append(function)
        self._wake()

    def run_awaitable(self, awaitable: Awaitable[Any], context: Context) -> Any:
        """Run an awaitable on the loop, in a copy of a context, and wait for its result; from another thread only."""
        coroutine = as_coroutine(awaitable)
        try:
            outcome = context.run(asyncio.run_coroutine_threadsafe, coroutine, self.loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            if isinstance(awaitable, Coroutine):
                awaitable.close()
            raise
        return outcome.result()

    def run_def(self, function: Callable[[], None], label: str) -> None:
        """Run a function on a worker soon; from any thread. See `WorkPlace.run_def`."""
        owner = object()

        def work() -> None:
            function()
            self.call_later(lambda: self.workers.done(owner))

        self.call_later(lambda: self.workers.submit(Job(owner, work, lambda: label)))

    def submit(self, awaitable: Awaitable[Any], context: Context) -> Outcome:
        """Run an awaitable on the loop, in a context; from any thread. See `WorkPlace.submit`."""
        outcome = Outcome()
        self._submitted.add(outcome)
        outcome.done.add_callback(lambda: self._submitted.discard(outcome))

        def start() -> None:
            task = create_task(self.loop, awaitable, context)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            outcome.follow(task)

        self.call_later(start)
        return outcome

    async def end_work(self, timeout: float) -> None:
        """End the manager's background work, in a thread that may wait."""
        await self.loop.run_in_executor(None, self.manager.background.end, timeout, wait)

    @property
    def is_current(self) -> bool:
        """Return whether the calling thread is the loop's."""
        return threading.get_ident() == self.thread

    def give_way(self) -> None:
        """Have a thread that emits wait until the loop has taken what it was given, if that has waited for long.

        Else Python lets the thread go on for 5 ms before the loop has its turn, which asks for one several times until
        it has answered a device; and many such threads would give it more than it can take. A thread that runs a loop
        does not wait: that one may serve devices, too.
        """
        if self._awake and not loop_runs_here():
            self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        since = self._woken_at
        late = self.clock() - since
        while _HOLD < late < _BLOCKED and self._awake and self._woken_at == since:
            time.sleep(_WAY)
            late = self.clock() - since
        if late >= _BLOCKED:
            self._woken_at = inf  # until it has come to its turn: it is blocked, or has ended

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            try:
                if self.is_current:
                    self.loop.call_soon(self._flush)
                else:
                    self._woken_at = self.clock()
                    self.loop.call_soon_threadsafe(self._flush)
            except RuntimeError:  # the loop is closed: there is no device either
                self._awake = False

    def _flush(self) -> None:
        self._awake = False  # first: what comes from now on wakes us again
        deadline = self.clock() + TURN  # threads may add more than the loop can take
        self._take_turn(self._ended, self._do_safely, deadline)
        self._take_turn(self._dirty, _flush, deadline)
        if self._ended or self._dirty:
            self._woken_at = self.clock()  # else threads would count from the turn before, and soon wait no longer
            self._wake()

    def _take_turn(self, waiting: deque[T], do: Callable[[T], None], deadline: float) -> None:
        """Do what waits, until a moment."""
        count = 0
        while waiting:
            do(waiting.popleft())
            count += 1
            if not count % PIECE and self.clock() >= deadline:
                return

    @staticmethod
    def _do_safely(function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:  # what goes wrong for one device must not stop the others
            logger.exception("a device's turn could not be taken")

    def _sweep(self) -> None:
        late = self.loop.time() - self._sweep_due
        if late > HELD_UP:
            logger.warning("an async def handler has blocked the loop for %.1f s: await what waits", late)
        self.look_for_factory()
        pause = SWEEP_INTERVAL
        if late > SWEEP_INTERVAL:  # nobody has read since; a loop may run timers before it reads
            pause = _CATCH_UP
        elif self.manager.sweep(self.manager.clock()):
            pause = GO_ON
        self._sweep_due = self.loop.time() + pause
        self._sweeper = self.loop.call_later(pause, self._sweep)
        self._work_timer.look()
