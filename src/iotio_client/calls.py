"""A call that waits for the server's answer."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Protocol

from iotio_protocol.calls import error_of
from iotio_protocol.errors import CallDisconnected, CallError, CallTimeout

from .received import Answer

__all__ = [
    "DEFAULT_CALL_TIMEOUT",
    "DEFAULT_FLUSH_TIMEOUT",
    "PendingCall",
    "TaskCall",
    "ThreadCall",
    "deliver",
    "disconnect",
    "timed_out",
]

DEFAULT_CALL_TIMEOUT = 10.0
"""Seconds that a call waits for its answer."""


DEFAULT_FLUSH_TIMEOUT = 10.0
"""Seconds that `flush` waits."""


class PendingCall(Protocol):
    """Who waits."""

    event: str

    def settle(self, value: Any) -> None:
        """The result is here."""

    def fail(self, error: CallError) -> None:
        """There is no result."""


class ThreadCall:
    """A call that a thread waits for.

    Attributes:
        event: what is called.
        done: there is an answer, or there will be none.
    """

    def __init__(self, event: str) -> None:
        self.event = event
        self.done = threading.Event()
        self._value: Any = None
        self._error: CallError | None = None

    def settle(self, value: Any) -> None:
        self._value = value
        self.done.set()

    def fail(self, error: CallError) -> None:
        self._error = error
        self.done.set()

    def result(self) -> Any:
        """The value, once `done`. Raises CallError if there is none."""
        if self._error is not None:
            raise self._error
        return self._value


class TaskCall:
    """A call that a coroutine waits for.

    Attributes:
        event: what is called.
        future: the result, or its CallError.
    """

    def __init__(self, event: str) -> None:
        self.event = event
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(self, value: Any) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: CallError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def deliver(answer: Answer, pending: PendingCall) -> None:
    """Give an answer to who waits for it."""
    if answer.failed:
        pending.fail(error_of(pending.event, answer.value))
    else:
        pending.settle(answer.value)


def disconnect(pending: PendingCall, why: str) -> None:
    """Tell who waits that the connection is over."""
    pending.fail(
        CallDisconnected(f"the connection ended before the server answered the call of {pending.event!r}: {why}")
    )


def timed_out(event: str, seconds: float) -> CallTimeout:
    """The error of a call whose time is over."""
    return CallTimeout(f"the server did not answer the call of {event!r} within {seconds:g} s")
