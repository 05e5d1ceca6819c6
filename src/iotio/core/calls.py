"""Calls to a device that wait for their answer."""

from __future__ import annotations

from iotio_protocol.errors import CallDisconnected, CallError, CallTimeout
from iotio_protocol.values import Value

from .ports import CallLink
from .primitives import Signal
from .waiting import wait_on_loop

__all__ = ["DEFAULT_TIMEOUT", "PendingCall"]

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

    def __init__(self, connection: CallLink, event: str) -> None:
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
        try:
            if not await wait_on_loop(self.done, timeout):
                self._give_up(timeout)
        except BaseException:  # among them that of a task that is cancelled
            self._connection.forget_call(self.number)
            raise
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
