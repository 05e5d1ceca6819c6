"""What became of an emit: who was sent it, who is offline, for whom it was dropped and why, and the deliveries."""

from __future__ import annotations

from dataclasses import dataclass, field

from .durable.delivery import Delivery

__all__ = ["EmitResult"]


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
