"""The message that the running handler is about, where more is known of it than event and value."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from iotio_protocol import v2

__all__ = ["Message", "current_message"]


@dataclass(frozen=True, slots=True)
class Message:
    """What is known of a message beside its event and its value: a durable one, or one of another time.

    Attributes:
        id: names a durable message, and is the same if it should come again; "" for one that is not durable.
        time_ms: when it was, in milliseconds since 1970, or None: now.
        effects: see `transaction`.
    """

    id: str
    time_ms: int | None
    effects: list[Callable[[Any], object]] = field(default_factory=list, repr=False)

    @property
    def time(self) -> datetime | None:
        """When it was, by the device's own word; in UTC. None: now."""
        return None if self.time_ms is None else v2.date_of(self.time_ms)

    def transaction(self, function: Callable[[Any], object]) -> None:
        """Write something together with the note that this durable message has been handled: both happen, or neither.

        Without it a handler runs once more if the server is killed between its end and that note.

        Args:
            function: called when the handler has ended, with the store's connection (SQLAlchemy's `Connection`; None
                without a database), in a thread of the store's; it must neither commit nor roll back.

        Raises:
            RuntimeError: the message is not durable.
        """
        if not self.id:
            raise RuntimeError("only a durable message has a transaction: the device sends it with durable=True")
        self.effects.append(function)


current_message: ContextVar[Message | None] = ContextVar("iotio_current_message", default=None)
"""What the running handler is about, where more is known of it than event and value."""
