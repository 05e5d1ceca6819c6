"""Run one asyncio loop in a thread of its own, for hosts that have no loop.

The loop runs `async def` handlers, the sweep over all deadlines, and the writing that a slow network left over.
The thread is a real one, in a monkey-patched program too.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from iotio.core.primitives import Signal, allocate_lock, get_ident, start_thread, wait
from iotio_protocol.logs import get_logger

from ..awaitables import Outcome, create_task
from ..timing import GO_ON, HELD_UP, SWEEP_INTERVAL
from ..work_timer import WorkTimer

if TYPE_CHECKING:
    from iotio.core.manager import Manager

__all__ = ["LoopThread", "new_loop"]

logger = get_logger("iotio.hosts")

_START_TIMEOUT = 10.0  # seconds; a thread that has not started by then never will


class LoopThread:
    """Run the loop of one manager. The thread starts with the first connection.

    Args:
        manager: the manager whose deadlines are swept.

    Attributes:
        sweep_interval: seconds between two sweeps.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self.sweep_interval = SWEEP_INTERVAL
        self._lock = allocate_lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = Signal()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ident: int | None = None
        self._sweep_due = 0.0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, which is started if it does not run."""
        with self._lock:
            if self._loop is None:
                started: list[asyncio.AbstractEventLoop] = []
                ready = Signal()
                self._ended = ended = Signal()
                start_thread(lambda: self._run(started, ready, ended))
                if not wait(ready, _START_TIMEOUT):
                    raise RuntimeError("the manager's loop thread does not start")
                self._loop = started[0]
            return self._loop

    @property
    def is_current(self) -> bool:
        """Return whether the calling thread is the loop's own, which must never wait for what runs on the loop."""
        return self._ident == get_ident()

    def call(self, function: Callable[..., object], *args: Any) -> bool:
        """Run a function on the loop soon; from any thread. Returns False if the loop was stopped in between."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return False
        return True

    def submit(self, awaitable: Awaitable[Any], context: Context) -> Outcome:
        """Run an awaitable in a context, from any thread."""
        outcome = Outcome()

        def start() -> None:
            task = create_task(asyncio.get_running_loop(), awaitable, context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            outcome.follow(task)

        if not self.call(start):
            outcome.fail(RuntimeError("the manager's loop thread has been stopped"))
            if isinstance(awaitable, Coroutine):
                awaitable.close()
        return outcome

    def stop(self) -> None:
        """End the thread, and cancel handlers that still run on the loop. `loop` starts it again."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
            if not self.is_current:
                wait(self._ended, 5.0)

    def _run(self, started: list[asyncio.AbstractEventLoop], ready: Signal, ended: Signal) -> None:
        loop = new_loop()  # here, because what gevent puts into it belongs to the thread that makes it
        started.append(loop)
        self._ident = get_ident()
        self._sweep_due = self._manager.clock()
        asyncio.set_event_loop(loop)
        ready.set()
        timer = WorkTimer(loop, self._manager)
        try:
            loop.call_soon(self._sweep, loop, timer)
            loop.run_forever()
            for task in self._tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
            ended.set()

    def _sweep(self, loop: asyncio.AbstractEventLoop, timer: WorkTimer) -> None:
        now = self._manager.clock()
        late = now - self._sweep_due
        if late > HELD_UP:
            logger.warning("an async def handler has blocked the loop thread for %.1f s: await what waits", late)
        pause = GO_ON if self._manager.sweep(now) else self.sweep_interval
        self._sweep_due = self._manager.clock() + pause
        loop.call_later(pause, self._sweep, loop, timer)
        timer.look()


def new_loop() -> asyncio.AbstractEventLoop:
    """Make a loop on the interpreter's own selector; a monkey-patched one would run a hub in this thread."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("selectors"):
        return asyncio.SelectorEventLoop()
    return asyncio.SelectorEventLoop(monkey.get_original("selectors", "DefaultSelector")())
