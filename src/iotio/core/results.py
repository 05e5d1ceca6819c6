"""What became of an emit."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["EmitResult"]


@dataclass(frozen=True, slots=True)
class EmitResult:
    """What became of one `emit`. True in a condition if at least one device was sent the event.

    Attributes:
        sent: number of devices whose connection took it.
        offline: ids that were addressed and have no connection.
        dropped: id to the reason, for devices that are connected and were not sent it: "backpressure" (the
            device reads too slowly), or why its protocol cannot carry the value.
    """

    sent: int = 0
    offline: tuple[str, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.sent > 0
