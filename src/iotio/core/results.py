"""What became of an emit, and what becomes of a set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from iotio_protocol.options import check_wait
from iotio_protocol.twin import State

from .durable.delivery import Delivery
from .primitives import Signal
from .waiting import check_no_loop, wait_on_loop

__all__ = ["EmitResult", "SetResult"]


@dataclass(frozen=True, slots=True)
class EmitResult:
    """What became of one `emit`. True in a condition if at least one device was sent the event, or will be.

    Attributes:
        sent: number of devices whose connection took it.
        offline: ids that were addressed and have no connection.
        deliveries: with `durable=True`, by id, the handle of the message for each device that it is kept for.
        dropped: id to the reason, for devices that are connected and were not sent it: "backpressure" (the
            device reads too slowly), "too_large" (it has said that it takes less), why its protocol cannot carry the
            value, or why its endpoint does not take it.
    """

    sent: int = 0
    offline: tuple[str, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.sent > 0 or bool(self.deliveries)

    @property
    def delivery(self) -> Delivery | None:
        """The handle of a durable message to one device; None if there is not exactly one."""
        return next(iter(self.deliveries.values())) if len(self.deliveries) == 1 else None

    async def written(self) -> bool:
        """Wait until a durable message is in the store for every device; see `Delivery.written`."""
        return all([await delivery.written() for delivery in self.deliveries.values()])


class Sets(Protocol):
    """The twins of one device, as the result of a set sees them."""

    @property
    def confirm_timeout(self) -> float: ...
    def states_of(self, endpoint_ids: Iterable[str]) -> dict[str, State]: ...
    def are_done(self, versions: Mapping[str, int]) -> bool: ...
    def await_decision(self, versions: Mapping[str, int], signal: Signal) -> None: ...
    def await_no_longer(self, signal: Signal) -> None: ...


class SetResult:
    """What becomes of one `set`. True in a condition once each of its endpoints is confirmed or assumed.

    Every method may be called from any thread.

    Attributes:
        versions: of what is desired, by the ids of the endpoints.

    Args:
        sets: the twins of the device.
        versions: as above.
        wait: waits in the calling thread for a signal, at most so many seconds; returns whether it is set.
        is_stored: whether there is a store.
    """

    __slots__ = ("_error", "_sets", "_stored", "_wait", "_written", "versions")

    def __init__(
        self,
        sets: Sets,
        versions: dict[str, int],
        wait: Callable[[Signal, float | None], bool],
        *,
        is_stored: bool,
    ) -> None:
        self._sets = sets
        self.versions = versions
        self._wait = wait
        self._stored = is_stored
        self._written = Signal()
        self._error: Exception | None = None
        if not is_stored:
            self._written.set()

    def __repr__(self) -> str:
        found = ", ".join(f"{name!r} is {state.status}" for name, state in self.states.items())
        return f"<SetResult: {found}>"

    def __bool__(self) -> bool:
        return self._sets.are_done(self.versions)

    @property
    def states(self) -> dict[str, State]:
        """Its endpoints as they are now, by their ids."""
        return self._sets.states_of(self.versions)

    @property
    def version(self) -> int | None:
        """The version of what is desired of its endpoint; None if it has several."""
        return next(iter(self.versions.values())) if len(self.versions) == 1 else None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait in this thread until each endpoint is confirmed, assumed or rejected, or set anew.

        Args:
            timeout: seconds; None for `confirm_timeout` of the device's type.

        Returns:
            Whether each is confirmed or assumed. One that is not may still become so.

        Raises:
            RuntimeError: an event loop runs in this thread; write `await result.finished()` there.
            ValueError: so many seconds cannot be waited.
        """
        check_no_loop("wait()", "await result.finished()")
        timeout = self._check(timeout)
        signal = Signal()
        self._sets.await_decision(self.versions, signal)
        try:
            self._wait(signal, timeout)
        finally:
            self._sets.await_no_longer(signal)
        return bool(self)

    async def finished(self, timeout: float | None = None) -> bool:
        """`wait` for coroutines. Raises StoreUnavailable, too: see `written`."""
        timeout = self._check(timeout)
        await self.written()
        signal = Signal()
        self._sets.await_decision(self.versions, signal)
        try:
            await wait_on_loop(signal, timeout)
        finally:
            self._sets.await_no_longer(signal)
        return bool(self)

    async def written(self) -> bool:
        """Wait until the set is in the store, and survives the end of the server; it is not sent before.

        Returns:
            Whether it is; without a store it never is.

        Raises:
            StoreUnavailable: it cannot be written; nothing was set, and nothing is sent.
        """
        await wait_on_loop(self._written, None)
        self.check_written()
        return self._stored

    def wait_written(self) -> None:
        """`written` for threads; the caller sees to it that no event loop runs in this one."""
        self._wait(self._written, None)
        self.check_written()

    def check_written(self) -> None:
        """Raise the error of the store, if it has one."""
        if self._error is not None:
            raise self._error

    def tell_written(self, error: Exception | None) -> None:
        """Note what became of it in the store."""
        self._error = error
        self._written.set()

    def _check(self, timeout: float | None) -> float:
        seconds = self._sets.confirm_timeout if timeout is None else timeout
        check_wait(seconds)
        return seconds
