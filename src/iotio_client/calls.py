"""The calls of a device to the server: those under way, and their callers."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from iotio_protocol.calls import Calls, error_of
from iotio_protocol.errors import CallDisconnected, CallError, CallsUnsupported, CallTimeout

from .codec import Codec
from .inbox import MAX_ASIDE, MAX_BYTES, MAX_MORE
from .link import Link, State
from .received import Answer

__all__ = [
    "DEFAULT_CALL_TIMEOUT",
    "DEFAULT_FLUSH_TIMEOUT",
    "DeviceCalls",
    "PendingCall",
    "ThreadCall",
    "Waiter",
    "timed_out",
    "too_many",
]

DEFAULT_CALL_TIMEOUT = 10.0
"""Seconds that a call waits for its answer."""


DEFAULT_FLUSH_TIMEOUT = 10.0
"""Seconds that `flush` waits."""


class PendingCall(Protocol):
    """The caller of a call that has no answer yet."""

    event: str

    def settle(self, value: Any) -> None:
        """Take the result."""

    def fail(self, error: CallError) -> None:
        """Take the reason why there is no result."""


class Waiter(PendingCall, Protocol):
    """The caller of a call or of `flush`, as it waits."""

    @property
    def is_done(self) -> bool:
        """Whether there is a result, or will be none."""

    def result(self) -> Any:
        """Return the result, once `is_done`. Raises CallError if there is none."""


class ThreadCall:
    """Let a thread wait for a call.

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
        """Take the result."""
        if not self.done.is_set():
            self._value = value
            self.done.set()

    def fail(self, error: CallError) -> None:
        """Take the reason why there is no result."""
        if not self.done.is_set():
            self._error = error
            self.done.set()

    @property
    def is_done(self) -> bool:
        """Whether there is an answer, or will be none."""
        return self.done.is_set()

    def result(self) -> Any:
        """Return the value, once `is_done`. Raises CallError if there is none."""
        if self._error is not None:
            raise self._error
        return self._value


def too_many(pending: Waiter) -> CallError:
    """Return the error of a call whose answer is behind too much."""
    most = f"{MAX_ASIDE} messages, or {MAX_BYTES + MAX_MORE} bytes,"
    return CallError(f"{most} came before the answer of the call of {pending.event!r}")


class DeviceCalls:
    """Keep the calls of a device that have no answer yet. Not thread-safe: the owner locks.

    Args:
        link: the connection.
        codec: makes the packets.
    """

    def __init__(self, link: Link, codec: Codec) -> None:
        self._link = link
        self._codec = codec
        self._calls: Calls[PendingCall] = Calls()

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, pending: PendingCall) -> int:
        """Begin a call; `encode` is next.

        Returns:
            The call's number.

        Raises:
            CallsUnsupported: the server speaks v0 or v1, or this device was told to.
            CallDisconnected: there is no connection.
            TooManyCalls: as many as may be are on their way.
        """
        if self._link.wanted in (0, 1):
            raise CallsUnsupported(
                f"this device speaks protocol {self._link.wanted}, which has no calls:"
                " leave out protocol_version and encoder"
            )
        if self._link.state is not State.OPEN:
            raise CallDisconnected(f"the call of {pending.event!r} cannot be sent: the client is not connected")
        if self._link.version != 2:
            raise CallsUnsupported(
                "the server speaks protocol 1, which has no calls: install iotio 0.5 or newer on the server"
            )
        return self._calls.begin(pending)

    def encode(self, number: int, event: str, value: Any) -> bytes:
        """Return the packet of a call.

        Raises:
            EncodeError: the event or the value cannot travel; `end` is next.
        """
        return self._codec.encode_call(number, event, value)

    def end(self, number: int) -> None:
        """Forget a call: it has its answer, or its caller waits no longer."""
        self._calls.end(number)

    def answer(self, answer: Answer) -> bool:
        """Give an answer to its caller. Returns False for a late one, whose caller waits no longer."""
        pending = self._calls.end(answer.call)
        if pending is None:
            return False
        if answer.failed:
            pending.fail(error_of(pending.event, answer.value))
        else:
            pending.settle(answer.value)
        return True

    def end_all(self, why: str) -> None:
        """Fail all calls, as the connection has ended."""
        for pending in self._calls.end_all():
            pending.fail(
                CallDisconnected(
                    f"the connection ended before the server answered the call of {pending.event!r}: {why}"
                )
            )


def timed_out(event: str, seconds: float) -> CallTimeout:
    """Return the error of a call without an answer in time."""
    return CallTimeout(f"the server did not answer the call of {event!r} within {seconds:g} s")
