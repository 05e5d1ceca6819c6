"""Calls to a device that wait for their answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from iotio.protocol.errors import CallDisconnected, CallError, CallTimeout
from iotio.protocol.values import Value

from .native import Signal

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["DEFAULT_TIMEOUT", "PendingCall", "check_no_loop", "check_timeout"]

DEFAULT_TIMEOUT = 10.0
"""Seconds that a call waits for its answer."""


class PendingCall:
    """One call that is on its way.

    Args:
        connection: over which.
        event: what is called.

    Attributes:
        done: there is an answer, or there will be none.
        number: on the wire.
    """

    __slots__ = ("_connection", "_error", "_value", "done", "event", "number")

    def __init__(self, connection: Connection, event: str) -> None:
        self._connection = connection
        self.event = event
        self.number = 0
        self.done = Signal()
        self._value: Value = None
        self._error: CallError | None = None

    def settle(self, value: Value) -> None:
        """The answer came."""
        self._value = value
        self.done.set()

    def fail(self, error: CallError) -> None:
        """There is no result."""
        self._error = error
        self.done.set()

    def disconnected(self, why: str) -> None:
        """The connection is over."""
        name = self._connection.name
        self.fail(CallDisconnected(f"device {name!r} has gone before it answered the call of {self.event!r}: {why}"))

    def wait(self, timeout: float) -> Value:
        """Wait in this thread, and return the result.

        Raises:
            CallError: there is none.
        """
        try:
            if not self._connection.wait_for_answer(self.done, timeout):
                self._give_up(timeout)
        except BaseException:  # among them what gevent raises in a greenlet that waits
            self._connection.forget_call(self.number)
            raise
        return self._result()

    async def wait_async(self, timeout: float) -> Value:
        """The same for a coroutine."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        def answered() -> None:
            if asyncio._get_running_loop() is loop:
                wake()
                return
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(wake)

        self.done.add_callback(answered)
        timer = loop.call_later(timeout, wake)
        try:
            await future
        except asyncio.CancelledError:
            self._connection.forget_call(self.number)
            raise
        finally:
            timer.cancel()
        if not self.done.is_set:
            self._give_up(timeout)
        return self._result()

    def _give_up(self, timeout: float) -> None:
        self._connection.forget_call(self.number)
        if not self.done.is_set:  # it may have come in between
            name = self._connection.name
            raise CallTimeout(f"device {name!r} did not answer the call of {self.event!r} within {timeout:g} s")

    def _result(self) -> Value:
        if self._error is not None:
            raise self._error
        return self._value


def check_no_loop(instead: str) -> None:
    """Refuse to wait in a thread whose event loop would stand still meanwhile.

    Args:
        instead: what to write.

    Raises:
        RuntimeError: an event loop is running here.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(f"call() would block the event loop that runs in this thread: write {instead}")


def check_timeout(timeout: float) -> float:
    """The seconds of a call. Raises ValueError unless it is a positive number."""
    if not 0 < timeout < float("inf"):
        raise ValueError(f"timeout must be seconds above 0, not {timeout!r}")
    return timeout
