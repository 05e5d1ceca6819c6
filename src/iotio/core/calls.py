"""Calls to a device that wait for their answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from iotio_protocol import v2
from iotio_protocol.calls import Calls, error_of
from iotio_protocol.errors import CallDisconnected, CallError, CallsUnsupported, CallTimeout
from iotio_protocol.frames import BINARY, encode_frame
from iotio_protocol.logs import get_logger
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Session
from iotio_protocol.values import Value

from .primitives import Signal
from .waiting import wait_on_loop

__all__ = ["DEFAULT_TIMEOUT", "OutgoingCalls", "PendingCall"]

logger = get_logger("iotio.connection")

DEFAULT_TIMEOUT = 10.0
"""Seconds that a call waits for its answer."""


class PendingCall:
    """One call that is on its way to a device.

    Args:
        calls: those of its connection.
        event: the event whose handler is called.

    Attributes:
        done: set when there is a result or an error.
        number: the number of the call on the wire.
    """

    __slots__ = ("_calls", "_error", "_value", "done", "event", "number")

    def __init__(self, calls: OutgoingCalls, event: str) -> None:
        self._calls = calls
        self.event = event
        self.number = 0
        self.done = Signal()
        self._value: Value = None
        self._error: CallError | None = None

    def settle(self, value: Value) -> None:
        """Give the call its result."""
        self._value = value
        self.done.set()

    def fail(self, error: CallError) -> None:
        """Give the call an error in the place of a result."""
        self._error = error
        self.done.set()

    def disconnected(self, why: str) -> None:
        """Fail the call, as its connection has ended for this reason."""
        name = self._calls.link.name
        self.fail(CallDisconnected(f"device {name!r} has gone before it answered the call of {self.event!r}: {why}"))

    def wait(self, timeout: float) -> Value:
        """Wait in this thread for the result, and return it.

        Raises:
            CallError: there is none.
        """
        try:
            if not self._calls.wait(self.done, timeout):
                self._give_up(timeout)
        except BaseException:  # among them what gevent raises in a greenlet that waits
            self._calls.forget(self.number)
            raise
        return self.result()

    async def wait_async(self, timeout: float) -> Value:
        """Wait in a coroutine for the result, and return it. Errors are those of `wait`."""
        try:
            if not await wait_on_loop(self.done, timeout):
                self._give_up(timeout)
        except BaseException:  # among them that of a task that is cancelled
            self._calls.forget(self.number)
            raise
        return self.result()

    def _give_up(self, timeout: float) -> None:
        self._calls.forget(self.number)
        if not self.done.is_set:  # the answer may have come in between
            name = self._calls.link.name
            raise CallTimeout(f"device {name!r} did not answer the call of {self.event!r} within {timeout:g} s")

    def result(self) -> Value:
        """Return the result, once `done` is set. Raises CallError if there is none."""
        if self._error is not None:
            raise self._error
        return self._value


class CallLink(Protocol):
    """The connection that carries the calls to a device."""

    session: Session

    @property
    def name(self) -> str: ...
    @property
    def is_open(self) -> bool: ...
    def send(self, frame: bytes) -> str: ...
    def answer_awaited(self) -> None: ...


class OutgoingCalls:
    """The calls to one device over one connection. Every method but `end` and `fail` may be called from any thread.

    Args:
        link: the connection.
        lock: its lock, which is never held while something waits.
        wait: waits in the calling thread for a signal, at most so many seconds; returns whether it was set.
    """

    __slots__ = ("_calls", "_ended", "_lock", "link", "wait")

    def __init__(
        self,
        link: CallLink,
        lock: AbstractContextManager[object],
        wait: Callable[[Signal, float], bool],
    ) -> None:
        self.link = link
        self.wait = wait
        self._lock = lock
        self._calls: Calls[PendingCall] = Calls()
        self._ended = False  # the device can answer no more

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, event: str, value: Value) -> PendingCall:
        """Call a handler of the device.

        Args:
            event: the event whose handler is called.
            value: what the handler gets.

        Returns:
            The call, to wait for.

        Raises:
            CallDisconnected: the device is not connected.
            CallsUnsupported: the device speaks v0 or v1.
            TooManyCalls: as many calls as may be are on their way to the device.
            EncodeError: the event or the value cannot travel, or is larger than the device takes (`TooLarge`).
        """
        link = self.link
        if link.session.version != 2:
            raise CallsUnsupported(
                f"device {link.name!r} speaks protocol v{link.session.version}, which has no calls;"
                " calls need protocol v2 (iotio_client 0.5 or newer on the device)"
            )
        pending = PendingCall(self, event)
        with self._lock:
            if self._ended or not link.is_open:
                raise CallDisconnected(f"device {link.name!r} is not connected")
            pending.number = self._calls.begin(pending)
            link.answer_awaited()
        try:
            packet = v2.encode(event, value, v2.CALL, call=pending.number, most=link.session.max_payload)
            problem = link.send(encode_frame(BINARY, packet))
        except BaseException:  # EncodeError, or what a value of the user's own class raises while it is written
            self.forget(pending.number)
            raise
        if problem:
            self.forget(pending.number)
            why = "is not connected" if problem == "offline" else "reads too slowly"
            raise CallDisconnected(f"device {link.name!r} {why}")
        return pending

    def forget(self, number: int) -> None:
        """Wait no longer for the answer to a call."""
        with self._lock:
            self._calls.end(number)

    def take_answer(self, packet: v2.Packet) -> None:
        """Settle the call that a packet of the device answers."""
        with self._lock:
            pending = self._calls.end(packet.call)
        if pending is None:
            logger.debug("device %r answered a call that is not waited for any longer", self.link.name)
        elif packet.flags & v2.RESULT:
            pending.settle(packet.value)
        else:
            pending.fail(error_of(pending.event, packet.value))

    def fail(self, why: str) -> None:
        """Fail the calls that wait for their answers, as these will not be read. The lock is held."""
        for pending in self._calls.end_all():
            pending.fail(CallError(f"device {self.link.name!r}, call of {pending.event!r}: {why}"))

    def end(self, reason: DisconnectReason) -> None:
        """Fail all calls, and those that come later: the device can answer no more. The lock is held."""
        self._ended = True
        for pending in self._calls.end_all():
            pending.disconnected(reason.value)
