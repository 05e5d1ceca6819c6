"""The interface of a store, and the changes that it is asked to write.

The manager's memory is the truth. A store is read once, when the server starts, and only written afterwards, in the
background, by the writer. So it may be slow, or away for a while, and no device notices.

All times are wall-clock seconds since 1970: they outlive the process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from iotio_protocol.errors import IoTError

from .records import DeviceRecord, MessageRecord, TwinRecord

__all__ = [
    "Change",
    "DropDevice",
    "DropMessages",
    "DropTwins",
    "Heard",
    "PutDevice",
    "PutMessage",
    "PutTwin",
    "Record",
    "Run",
    "Snapshot",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreLost",
    "StoreOfParent",
    "StoreUnavailable",
]


class StoreError(IoTError):
    """The store cannot be opened, read or written; the text says why and what to do."""


class StoreDamaged(StoreError):
    """What is stored cannot be read, and trying again will not help."""


class StoreLost(StoreError):
    """What was written before is gone (a deleted file): open the store anew and write all of it again."""


class StoreOfParent(StoreError):
    """The process that has started this one uses the store; this one loads the program only to run a part of it."""


class StoreUnavailable(StoreError):
    """The store could not be written in time, or too much waits for it. What was refused is not in the store."""


# What is stored.

Record = DeviceRecord | MessageRecord | TwinRecord


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a store holds; the messages of a device in the order of their numbers."""

    devices: tuple[DeviceRecord, ...] = ()
    messages: tuple[MessageRecord, ...] = ()
    twins: tuple[TwinRecord, ...] = ()


# What changes. Each may be done a second time without harm: after a failure nobody knows whether it was done.


@dataclass(frozen=True, slots=True)
class PutDevice:
    """Store a device, new or known.

    While its streams stay the same, `counter` and `heard` never go down; without a `heard_stream` both of these stay.
    """

    record: DeviceRecord


@dataclass(frozen=True, slots=True)
class DropDevice:
    """Delete a device, its messages and its twins."""

    device_id: str


@dataclass(frozen=True, slots=True)
class PutMessage:
    """Store a message, and raise the `counter` of its device to its number if the device is stored."""

    record: MessageRecord


@dataclass(frozen=True, slots=True)
class DropMessages:
    """Delete messages: they are acknowledged, expired or replaced."""

    device_id: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """Raise `heard` of a device to the number of a handled message; nothing happens if the device is not stored."""

    device_id: str
    stream: str
    number: int


@dataclass(frozen=True, slots=True)
class PutTwin:
    """Store the twin of an endpoint, new or known."""

    record: TwinRecord


@dataclass(frozen=True, slots=True)
class DropTwins:
    """Delete the twins of a device but for those of some endpoints: it has no others any more."""

    device_id: str
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Let the program write in the same transaction.

    The function is called in the writer's thread, again after a failure, with the store's connection: SQLAlchemy's
    `Connection` for a database, None in memory. It must neither commit nor roll back.
    """

    function: Callable[[Any], object]


Change = PutDevice | DropDevice | PutMessage | DropMessages | Heard | PutTwin | DropTwins | Run


class Store(ABC):
    """Keeps devices, messages and twins. Every method may block, and only one thread at a time calls any of them."""

    @abstractmethod
    def open(self) -> None:
        """Make it ready, and bring what an older version wrote to the form of this one. Harmless if it is open.

        Raises:
            StoreError: it cannot be opened; the text says what to do.
        """

    @abstractmethod
    def load(self) -> Snapshot:
        """Read all that is stored. A row that cannot be read is set aside, and named in the log.

        Raises:
            StoreError: it cannot be read.
        """

    def set_aside(  # noqa: B027  # a store that cannot do it need not
        self, records: Sequence[tuple[Record, str]]
    ) -> None:
        """Keep records that cannot be used where people find them and `load` does not. Not every store can.

        Args:
            records: each with what is wrong with it.

        Raises:
            StoreError: it cannot be written.
        """

    def backup(self, path: str, *, force: bool = False, progress: Callable[[int, int], None] | None = None) -> None:
        """Copy all that is stored to a file, while it is used; for any thread.

        Args:
            path: of the copy, which has this name when it is complete.
            force: replace a file of that name.
            progress: is told now and then how much of how much is copied.

        Raises:
            StoreError: this store cannot do that, or the copy cannot be written; nothing is left of it then.
        """
        raise StoreError(f"{type(self).__name__} cannot copy itself: use the tool of its database, such as pg_dump")

    def export(self, path: str, *, force: bool = False, progress: Callable[[int, int], None] | None = None) -> None:
        """Write all that is stored at one moment to a file of lines of JSON, while it is used; for any thread.

        Args: and errors are those of `backup`; `progress` counts records.
        """
        raise StoreError(f"{type(self).__name__} cannot be exported: use a store in SQLite or PostgreSQL")

    def history(self) -> Any:
        """Return what keeps the history in it, an `iotio.history.tables.HistoryStorage`; None if nothing does."""
        return None

    @abstractmethod
    def commit(self, changes: Sequence[Change]) -> None:
        """Make these changes in this order: all of them, on return safe from the end of the process, or none.

        Raises:
            StoreError: it cannot be written now; trying again may help.
            StoreLost: what was written before is gone.
            Exception: one of these changes can never be written, for instance because its `Run` raised this.
        """

    @abstractmethod
    def replace(self, snapshot: Snapshot) -> None:
        """Hold this and nothing else.

        Raises:
            StoreError: it cannot be written now.
        """

    @abstractmethod
    def close(self) -> None:
        """Close files and connections. Harmless if it is closed; it can be opened again."""
