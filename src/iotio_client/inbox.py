"""What has been received and waits for the handlers before it, on an event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine

from .base import MAX_QUEUE
from .received import Received

__all__ = ["Inbox"]


class Inbox:
    """One task puts, one gets.

    Args:
        most: messages that may wait.
    """

    def __init__(self, most: int = MAX_QUEUE) -> None:
        self._most = most
        self._waiting: deque[Received] = deque()
        self._end: Exception | None = None
        self._filled = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether who puts is to wait for room first."""
        return len(self._waiting) >= self._most

    def put(self, received: Received) -> None:
        """Add one message."""
        self._waiting.append(received)
        self._filled.set()

    def end(self, error: Exception) -> None:
        """No more messages come. `get` raises this after the last one."""
        self._end = error
        self._filled.set()

    async def wait_for_room(self, closed: Coroutine[None, None, None]) -> None:
        """Wait until no more than half are left, or until `closed` returns.

        When the connection is closed, little can follow, and calls whose answer is not in it must learn of the end.
        """
        self._room.clear()
        tasks = [asyncio.create_task(closed), asyncio.create_task(self._wait_for_room())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def get(self) -> Received:
        """The next message. Raises what `end` got if there is none."""
        while not self._waiting:
            if self._end is not None:
                raise self._end
            self._filled.clear()
            await self._filled.wait()
        received = self._waiting.popleft()
        if len(self._waiting) <= self._most // 2:
            self._room.set()
        return received

    async def _wait_for_room(self) -> None:
        await self._room.wait()
