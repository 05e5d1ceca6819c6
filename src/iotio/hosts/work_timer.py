"""Call a manager's background work in its moment, on a loop that sweeps a few times a second only."""

from __future__ import annotations

import asyncio

from iotio.core.manager import Manager

from .timing import SWEEP_INTERVAL

__all__ = ["WorkTimer"]


class WorkTimer:
    """The timer of one loop, for what is due before its next sweep. All methods are for the loop's thread.

    Args:
        loop: the loop.
        manager: whose work it is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, manager: Manager) -> None:
        self._loop = loop
        self._manager = manager
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Wake in time, if work is due before the next look; called with each sweep."""
        if self._timer is None:
            ahead = self._manager.background.next_due - self._manager.clock()
            if ahead < SWEEP_INTERVAL:
                self._timer = self._loop.call_later(max(ahead, 0), self._wake)

    def close(self) -> None:
        """Stop waking."""
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        self._timer = None
        self._manager.background.sweep(self._manager.clock())
        self.look()
