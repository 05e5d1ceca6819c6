"""What has been received and waits for the handlers before it: one interface, and two ways to wait."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Protocol

from .received import Received

__all__ = ["MAX_QUEUE", "Inbox", "TaskInbox", "ThreadInbox"]

MAX_QUEUE = 256
"""Messages that may wait for a slow handler; beyond, the server feels that this side is slow."""


class _Event(Protocol):
    """What the events of threads and of asyncio have in common."""

    def set(self) -> None: ...

    def clear(self) -> None: ...


class Inbox:
    """Messages in order, and their end after them. One thread or task puts, one gets.

    Attributes:
        closed: nothing is taken any more; whatever is put is of no use.
    """

    def __init__(self, most: int, filled: _Event, room: _Event) -> None:
        self._most = most
        self._waiting: deque[Received] = deque()
        self._end: Exception | None = None
        self._filled = filled
        self._room = room
        self.closed = False

    @property
    def full(self) -> bool:
        """Whether the one that puts has to wait for room first."""
        return len(self._waiting) >= self._most

    @property
    def must_wait(self) -> bool:
        """Whether the one that puts has to wait for room, and will get it."""
        return self.full and not self.closed

    @property
    def ended(self) -> bool:
        """Whether no more messages come."""
        return self._end is not None

    def put(self, received: Received) -> None:
        """Add one message."""
        self._waiting.append(received)
        self._filled.set()

    def end(self, error: Exception) -> None:
        """Let `get` raise this after the last message."""
        self._end = error
        self._filled.set()

    def _is_empty(self) -> bool:
        """Return whether `get` has to wait. Raises what `end` got if no message is left."""
        if not self._waiting and self._end is not None and not self._waiting:
            raise self._end
        return not self._waiting

    def _take(self) -> Received:
        received = self._waiting.popleft()
        if len(self._waiting) <= self._most // 2:
            self._room.set()
        return received


class TaskInbox(Inbox):
    """An inbox on an event loop.

    Args:
        most: messages that may wait.
    """

    _filled: asyncio.Event
    _room: asyncio.Event

    def __init__(self, most: int = MAX_QUEUE) -> None:
        super().__init__(most, asyncio.Event(), asyncio.Event())

    async def get(self) -> Received:
        """Wait for the next message. Raises what `end` got if there is none."""
        while self._is_empty():
            self._filled.clear()
            await self._filled.wait()
        return self._take()

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

    async def _wait_for_room(self) -> None:
        await self._room.wait()


class ThreadInbox(Inbox):
    """An inbox between two threads: the one that reads, and the one in `run` or `handle`.

    Args:
        most: messages that may wait.
    """

    _filled: threading.Event
    _room: threading.Event

    def __init__(self, most: int = MAX_QUEUE) -> None:
        super().__init__(most, threading.Event(), threading.Event())

    def get(self, interval: float | None = None) -> Received | None:
        """Wait for the next message. Raises what `end` got if there is none.

        Args:
            interval: return None after so many seconds without a message.
        """
        while self._is_empty():
            self._filled.clear()
            # Looked at again, for the other thread may have set the event before it was cleared.
            if self._is_empty() and not self._filled.wait(interval):
                return None
        return self._take()

    def wait_for_room(self, is_over: Callable[[], bool], interval: float) -> None:
        """Wait until no more than half are left, more are allowed, `close` is called or `is_over` says so.

        Args:
            is_over: whether the connection is closed, after which little can follow.
            interval: seconds between two looks at that.
        """
        while self.must_wait and not is_over():
            self._room.clear()
            if self.must_wait:  # again, for the other thread may have set the event before it was cleared
                self._room.wait(interval)

    def allow(self, most: int) -> None:
        """Change how many may wait, and wake the thread that waits for room."""
        self._most = most
        self._room.set()

    def close(self) -> None:
        """Let the thread that waits for room go on, as nothing is taken any more."""
        self.closed = True
        self._room.set()
