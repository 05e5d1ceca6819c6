"""What becomes of one durable message: a handle to ask, or to wait on."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from enum import StrEnum

from ..primitives import Signal, allocate_lock
from ..waiting import check_no_loop, wait_on_loop

__all__ = ["Delivery", "DeliveryState"]


class DeliveryState(StrEnum):
    """Where a durable message stands.

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
        id: names the message; `manager.delivery(id)` finds it until it is over.
        device_id: to whom.
        event: the event's name.
        number: in the stream to the device.
        created: when it was emitted, in seconds since 1970.
        expires: when it is of no use any more, or None.
        coalesce: a later message with the same word takes its place, or None.
        kind: type of the value on the wire.
        body: the value on the wire.
        reason: why it was dropped, or "".
        not_written: whether the store is that reason.
    """

    __slots__ = (
        "_lock",
        "_over",
        "_state",
        "_wait",
        "_written",
        "body",
        "coalesce",
        "created",
        "device_id",
        "event",
        "expires",
        "id",
        "kind",
        "not_written",
        "number",
        "reason",
    )

    def __init__(
        self,
        wait: Callable[[Signal, float | None], bool],
        device_id: str,
        event: str,
        kind: int,
        body: bytes,
        created: float,
        expires: float | None,
        coalesce: str | None,
        delivery_id: str = "",
    ) -> None:
        self.id = delivery_id or secrets.token_hex(8)
        self._wait = wait
        self.device_id = device_id
        self.event = event
        self.kind = kind
        self.body = body
        self.created = created
        self.expires = expires
        self.coalesce = coalesce
        self.number = 0
        self.reason = ""
        self.not_written = False
        self._lock = allocate_lock()
        self._state = DeliveryState.QUEUED
        self._over: Signal | None = None
        self._written: Signal | None = None  # None: there is nothing to wait for

    def __repr__(self) -> str:
        return f"<Delivery {self.id} of {self.event!r} to {self.device_id!r}: {self._state}>"

    @property
    def state(self) -> DeliveryState:
        """Where it stands now."""
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
        """
        check_no_loop("wait()", "await delivery.finished()")
        self._wait(self._signal(), timeout)
        return self._state

    async def finished(self, timeout: float | None = None) -> DeliveryState:
        """`wait` for coroutines."""
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
            if self._over is None:
                self._over = Signal()
            if self.is_over:
                self._over.set()
            return self._over

    # -- for the queue -------------------------------------------------------------------------------

    def become(self, state: DeliveryState, reason: str = "") -> bool:
        """Its state changes. False: it was over already."""
        with self._lock:
            if self.is_over:
                return False
            self._state = state
            self.reason = reason
            signal = self._over
        if signal is not None and state not in _OPEN:
            signal.set()
        return True

    @property
    def may_go(self) -> bool:
        """Whether it may be sent: what the store could forget must not have reached the device.

        Its number would be given again, to a message that the device then took for a repetition.
        """
        return self._written is None or self._written.is_set

    def await_store(self) -> None:
        """It is about to be written."""
        self._written = Signal()

    def store_decided(self) -> None:
        """It is written, or dropped because it could not be."""
        if self._written is not None:
            self._written.set()

    def is_stored(self) -> None:
        """It comes from the store."""
        self.await_store()
        self.store_decided()
