"""What has been received and waits for the handlers before it: one interface, and two ways to wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from .received import Received

__all__ = ["MAX_ASIDE", "MAX_BYTES", "MAX_MORE", "MAX_QUEUE", "Inbox", "ThreadInbox"]

MAX_QUEUE = 256
"""Messages that may wait for a slow handler; beyond, the server feels that this side is slow."""

MAX_BYTES = 1024 * 1024
"""The same in bytes; one message more may wait, however large it is."""

MAX_ASIDE = 1000
"""Messages that may wait while a call waits for its answer, which comes behind them."""

MAX_MORE = 1024 * 1024
"""Bytes that may wait then, beside `MAX_BYTES`."""


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
        self._most_bytes = MAX_BYTES
        self._waiting: deque[tuple[Received, int]] = deque()
        self._size = 0  # bytes of the messages in it; the one that puts adds, the one that gets takes
        self._lock = threading.Lock()
        self._end: Exception | None = None
        self._filled = filled
        self._room = room
        self.closed = False

    @property
    def full(self) -> bool:
        """Whether the one that puts has to wait for room first."""
        return len(self._waiting) >= self._most or self._size >= self._most_bytes

    @property
    def must_wait(self) -> bool:
        """Whether the one that puts has to wait for room, and will get it."""
        return self.full and not self.closed

    @property
    def ended(self) -> bool:
        """Whether no more messages come."""
        return self._end is not None

    def put(self, received: Received, size: int = 0) -> None:
        """Add one message, which came in so many bytes."""
        with self._lock:
            self._size += size
        self._waiting.append((received, size))
        self._filled.set()

    def allow(self, most: int = MAX_ASIDE, more: int = MAX_MORE) -> None:
        """Change how many may wait, and how many bytes more than usual; and wake the one that waits for room."""
        self._most, self._most_bytes = most, MAX_BYTES + more
        self._room.set()

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
        received, size = self._waiting.popleft()
        with self._lock:
            self._size -= size
        if len(self._waiting) <= self._most // 2 and self._size <= self._most_bytes // 2:
            self._room.set()
        return received


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

    def close(self) -> None:
        """Let the thread that waits for room go on, as nothing is taken any more."""
        self.closed = True
        self._room.set()
