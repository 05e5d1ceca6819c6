"""Where the program's background work runs on hosts with a thread or greenlet for each connection."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from iotio.core.primitives import get_ident, start_thread

from ..awaitables import Outcome
from .loop_thread import LoopThread

__all__ = ["BlockingPlace"]


class BlockingPlace:
    """A thread for each call of a `def`, or a greenlet where gevent serves; the manager's loop thread for the rest.

    Args:
        loop_thread: the manager's.
    """

    def __init__(self, loop_thread: LoopThread) -> None:
        self._loop_thread = loop_thread
        self._hub: Any = None  # of gevent, if that serves
        self._thread = 0  # the hub's

    def begin(self) -> None:
        """Look whether gevent serves in this thread, and start the loop thread, which sweeps."""
        if "gevent" in sys.modules:
            from .greenlets import hub_here

            self._hub, self._thread = hub_here(), get_ident()
        self._loop_thread.loop  # noqa: B018  # starts it

    def end(self) -> None:
        """Stop the loop thread: another host does the work from now on."""
        self._loop_thread.stop()

    def run_def(self, function: Callable[[], None], label: str) -> None:
        """See `WorkPlace.run_def`. In the hub's own thread the function runs at once, in this greenlet."""
        if self._hub is None:
            try:
                start_thread(function)
            except RuntimeError:  # the interpreter ends, and starts no thread
                function()
        elif self._thread == get_ident():
            function()
        else:
            from .greenlets import spawn

            spawn(self._hub, function)

    def submit(self, awaitable: Awaitable[Any], context: Context) -> Outcome:
        """See `WorkPlace.submit`."""
        return self._loop_thread.submit(awaitable, context)
