"""One durable message to one device: a handle that tells its state, and can be waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

from iotio_protocol.options import check_wait

from ..primitives import Signal, allocate_lock
from ..storage.records import MessageRecord
from ..waiting import check_no_loop, wait_on_loop

__all__ = ["Delivery", "DeliveryState"]


class DeliveryState(StrEnum):
    """The state of a durable message.

    ::

        QUEUED <──> SENT ──> DONE            v2: the device's handler has ended
          │          ├────> ACKNOWLEDGED    v0, v1: the device's library has read it; no more is known
          ├──────────┴────> DROPPED         see `Delivery.reason`
          └───────────────> EXPIRED         its time was over, and it is not known to have arrived
    """

    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    DONE = "done"
    EXPIRED = "expired"
    DROPPED = "dropped"


_OPEN = frozenset({DeliveryState.QUEUED, DeliveryState.SENT})


_STORE_TIME = 60.0  # seconds; a writer decides long before


class Delivery:
    """One durable message to one device. Every method may be called from any thread.

    Attributes:
        record: the message as a store keeps it; replaced once, when it gets its number.
        reason: why it was dropped, or "".
        not_written: whether the store is that reason.
        deadline: when it expires, on the manager's clock; None if it never does. The date may be set meanwhile.
        may_go: whether the message may be sent. What the store could forget must not have reached the device: its
            number would be given again, to a message that the device then took for a repetition.

    Args:
        wait: waits in the calling thread for a signal, at most so many seconds; returns whether it is set.
        record: as above.
        deadline: as above.
    """

    __slots__ = (
        "_ended",
        "_lock",
        "_state",
        "_wait",
        "_written",
        "deadline",
        "may_go",
        "not_written",
        "reason",
        "record",
    )

    def __init__(
        self, wait: Callable[[Signal, float | None], bool], record: MessageRecord, deadline: float | None = None
    ) -> None:
        self._wait = wait
        self.record = record
        self.deadline = deadline
        self.reason = ""
        self.not_written = False
        self.may_go = True
        self._lock = allocate_lock()
        self._state = DeliveryState.QUEUED
        self._ended: Signal | None = None  # made when it is waited for
        self._written: Signal | None = None  # None without a store

    def __repr__(self) -> str:
        return f"<Delivery {self.id} of {self.event!r} to {self.device_id!r}: {self._state}>"

    @property
    def id(self) -> str:
        """Names the message; `manager.delivery(id)` finds it while its state can change."""
        return self.record.id

    @property
    def device_id(self) -> str:
        """The id of the device that it is sent to."""
        return self.record.device_id

    @property
    def event(self) -> str:
        """The event's name."""
        return self.record.event

    @property
    def number(self) -> int:
        """Its place in the stream to the device."""
        return self.record.number

    @property
    def created(self) -> float:
        """When the message was emitted, in seconds since 1970."""
        return self.record.created

    @property
    def expires(self) -> float | None:
        """When the message expires, in seconds since 1970, by the date when it was sent; None if it never does."""
        return self.record.expires

    @property
    def coalesce(self) -> str | None:
        """The word whose next message takes its place, or None."""
        return self.record.coalesce

    @property
    def state(self) -> DeliveryState:
        """Its state now."""
        return self._state

    @property
    def is_over(self) -> bool:
        """Whether its state can change no more."""
        return self._state not in _OPEN

    def wait(self, timeout: float | None = None) -> DeliveryState:
        """Wait in this thread until its state can change no more.

        Args:
            timeout: seconds; None for as long as it takes.

        Returns:
            The state then: `queued` or `sent` if the time was over first.

        Raises:
            RuntimeError: an event loop runs in this thread; write `await delivery.finished()` there.
            ValueError: so many seconds cannot be waited.
        """
        check_no_loop("wait()", "await delivery.finished()")
        check_wait(timeout)
        self._wait(self._signal(), timeout)
        return self._state

    async def finished(self, timeout: float | None = None) -> DeliveryState:
        """`wait` for coroutines."""
        check_wait(timeout)
        await wait_on_loop(self._signal(), timeout)
        return self._state

    def wait_written(self) -> bool:
        """`written` for threads; the caller sees to it that no event loop runs in this one."""
        if self._written is None:
            return False
        self._wait(self._written, _STORE_TIME)
        return self._written.is_set and self._state is not DeliveryState.DROPPED

    async def written(self) -> bool:
        """Wait until the message is in the store, and survives the end of the server.

        Returns:
            Whether it is; without a store it never is. False with the state `dropped`: it could not be written.
        """
        if self._written is None:
            return False
        await wait_on_loop(self._written, None)
        return self._state is not DeliveryState.DROPPED

    def _signal(self) -> Signal:
        with self._lock:
            if self._ended is None:
                self._ended = Signal()
            if self.is_over:
                self._ended.set()
            return self._ended

    # -- for the queue -------------------------------------------------------------------------------

    def assign(self, number: int) -> None:
        """Give it its place in the stream to the device; once."""
        self.record = replace(self.record, number=number)

    def become(self, state: DeliveryState, reason: str = "") -> bool:
        """Change the state. Returns False if it can change no more."""
        with self._lock:
            if self.is_over:
                return False
            self._state = state
            self.reason = reason
            signal = self._ended
        if signal is not None and state not in _OPEN:
            signal.set()
        return True

    def await_store(self) -> None:
        """Expect `store_decided` and then `tell_written`; until then the message may not be sent."""
        self._written = Signal()
        self.may_go = False

    def store_decided(self) -> None:
        """Note that the message is written, or dropped because it could not be. It may be sent from now on."""
        self.may_go = True

    def tell_written(self) -> None:
        """Wake those that wait for the store; behind the first attempt to send, so that they see its state."""
        if self._written is not None:
            self._written.set()

    def is_stored(self) -> None:
        """Note that the message comes from the store."""
        self.await_store()
        self.store_decided()
        self.tell_written()
