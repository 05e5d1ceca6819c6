"""What is known of a message beside its event and its value, while its handler runs; and times as users write them."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from iotio_protocol import v2

__all__ = ["Effect", "Kept", "Message", "current_message", "milliseconds"]

Effect = Callable[[Any], object]
"""What a handler wants done in the transaction that notes its message as handled; see `Message.transaction`."""

_END = 253_402_300_800  # seconds: the year 10000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Kept(NamedTuple):
    """A message that waits for the server.

    Attributes:
        event: its event.
        kind: the type of its value on the wire.
        body: the value on the wire.
        time: when it was, in milliseconds since 1970 by the device's own clock.
    """

    event: str
    kind: int
    body: bytes
    time: int


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A durable message, or one of another time.

    Attributes:
        owner: the client whose handler runs.
        id: "stream/number", the same if the message should come again; "" for one that is not durable.
        time_ms: when it was, in milliseconds since 1970, or None: now.
        effects: see `transaction`.
    """

    owner: object = field(repr=False)
    id: str
    time_ms: int | None
    effects: list[Effect] = field(default_factory=list, repr=False)

    @property
    def time(self) -> datetime | None:
        """When it was, by the server's clock; in UTC. None: now."""
        return None if self.time_ms is None else v2.date_of(self.time_ms)

    def transaction(self, function: Effect) -> None:
        """Write something together with the note that this durable message has been handled: both happen, or neither.

        Without it a handler runs once more if the device is switched off between its end and that note.

        Args:
            function: called when the handler has ended, with the `sqlite3.Connection` of the buffer's file (None if
                the buffer has no file); with AsyncIoTClient and a file, in another thread. It must neither commit nor
                roll back, nor use the client.

        Raises:
            RuntimeError: the message is not durable.
        """
        if not self.id:
            raise RuntimeError("only a durable message has a transaction: the server sends it with durable=True")
        self.effects.append(function)


current_message: ContextVar[Message | None] = ContextVar("iotio_client_current_message", default=None)
"""What the running handler is about, where more is known of it than event and value."""


def milliseconds(time: datetime | float) -> int:
    """Convert a time to the milliseconds since 1970 that travel.

    Args:
        time: with a time zone, or seconds since 1970.

    Raises:
        ValueError: a datetime without a time zone, or not within the years 1970 to 9999.
        TypeError: neither of them.
    """
    if isinstance(time, datetime):
        if time.utcoffset() is None:
            raise ValueError("time must have a time zone: datetime.now(UTC), or .astimezone() for local time")
        if time < _EPOCH:
            raise ValueError(f"time must be within the years 1970 to 9999, not {time!r}")
        # Not by `timestamp()`: in the year 9999 a float of seconds is no more exact.
        return min(round((time - _EPOCH) / timedelta(milliseconds=1)), v2.MAX_TIME)
    if isinstance(time, bool) or not isinstance(time, (int, float)):
        raise TypeError(f"time must be a datetime or seconds since 1970, not {type(time).__name__}")
    if not 0 <= time < _END:
        raise ValueError(f"time must be within the years 1970 to 9999, not {time!r}")
    return min(round(time * 1000), v2.MAX_TIME)
