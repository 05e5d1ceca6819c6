"""How tasks wait for what has been received, and for the answer of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from iotio_protocol.errors import CallError

from .inbox import MAX_QUEUE, Inbox
from .received import Received

__all__ = ["TaskCall", "TaskInbox"]


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


class TaskCall:
    """Let a coroutine wait for a call.

    Attributes:
        event: what is called.
        future: the result, or its CallError.
    """

    def __init__(self, event: str) -> None:
        self.event = event
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(self, value: Any) -> None:
        """Take the result."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: CallError) -> None:
        """Take the reason why there is no result."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # has seen it: asyncio need not complain where nobody waits any more

    @property
    def is_done(self) -> bool:
        """Whether there is an answer, or will be none."""
        return self.future.done()

    def result(self) -> Any:
        """Return the value, once `is_done`. Raises CallError if there is none."""
        return self.future.result()
