"""Changes waiting for the next commit.

Changes of one device are merged; the result equals applying them in submission order.

A device record, what was heard of a device, its marked twins, and the messages and twins to forget are *kept*: they
are never refused, and merged for each device, so that they are bounded by the devices there are; of the devices that
are forgotten, a batch names a bounded number. The rest is *entries*: each is one whole, and can be given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from ..primitives import Signal, wait
from .contract import (
    Change,
    DropDevice,
    DropMessages,
    DropTwins,
    Heard,
    PutDevice,
    PutMessage,
    PutTwin,
)
from .records import DeviceRecord, TwinRecord

__all__ = [
    "AskRecord",
    "AskTwins",
    "Batch",
    "Entry",
    "KeptDrops",
    "KeptSection",
    "KeptTwins",
    "Section",
    "Slot",
    "Ticket",
    "is_kept",
]

AskRecord = Callable[[str], DeviceRecord | None]
"""Makes the record of the device of an id, as it is now; None if it is not known."""

AskTwins = Callable[[str, Iterable[str]], list[TwinRecord]]
"""Makes the records of some twins of the device of an id, as they are now; of those that are known."""

_KEPT = (PutDevice, DropDevice, Heard, DropMessages, DropTwins)
_MAX_ENDS = 10_000  # devices to delete; beyond, it takes less to write all anew


def is_kept(changes: Iterable[Change]) -> bool:
    """Ask whether changes are kept ones only, which are never given up."""
    return all(isinstance(change, _KEPT) for change in changes)


class Ticket:
    """Tells what became of changes.

    Attributes:
        done: set when it is decided.
        error: None once they are written; a `StoreUnavailable` if they were given up; what was wrong with them if they
            could never be written.
    """

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = Signal()
        self.error: Exception | None = None

    def wait(self, timeout: float) -> None:
        """Block this thread until the changes are written.

        Args:
            timeout: in seconds.

        Raises:
            TimeoutError: it is not decided yet.
            Exception: `error`.
        """
        if not wait(self.done, timeout):
            raise TimeoutError(f"not written after {timeout:g} s")
        if self.error is not None:
            raise self.error


class Slot:
    """A part of a batch.

    Attributes:
        decided: written, or given up; for an entry guarded by the writer's lock.
    """

    __slots__ = ("decided",)

    def __init__(self) -> None:
        self.decided = False

    def changes(self) -> Iterable[Change]:
        """List what to write."""
        raise NotImplementedError


class Entry(Slot):
    """Changes that are made together or not at all.

    Attributes:
        deadline: monotonic seconds; it is given up then.
    """

    __slots__ = ("_changes", "deadline", "ticket")

    def __init__(self, changes: tuple[Change, ...], deadline: float) -> None:
        super().__init__()
        self._changes = changes
        self.deadline = deadline
        self.ticket = Ticket()

    def changes(self) -> Iterable[Change]:
        return self._changes

    def messages(self) -> Iterator[tuple[str, int]]:
        """List device and number of the messages in it."""
        for change in self._changes:
            if isinstance(change, PutMessage):
                yield change.record.device_id, change.record.number

    def twins(self) -> Iterator[tuple[str, str]]:
        """List device and endpoint of the twins in it."""
        for change in self._changes:
            if isinstance(change, PutTwin):
                yield change.record.device_id, change.record.endpoint_id


class KeptDevice(Slot):
    """The record of a device, and how far its stream was heard."""

    __slots__ = ("_ask", "_device_id", "_heard", "_record")

    def __init__(self, device_id: str, ask: AskRecord | None = None) -> None:
        self.decided = False
        self._device_id = device_id
        self._ask = ask  # if the record is made only when it is written
        self._record: DeviceRecord | None = None
        self._heard: Heard | None = None

    def mark(self, ask: AskRecord) -> None:
        """Have the record made when it is written."""
        self._ask = ask

    def merge(self, change: PutDevice | Heard) -> None:
        """Merge a newer change of the same device."""
        if isinstance(change, PutDevice):
            self._ask = None
            self._record = change.record
            if self._heard is not None and change.record.heard_stream not in (None, self._heard.stream):
                self._heard = None  # of a stream that is over
        else:
            self._heard = change

    def changes(self) -> Iterator[Change]:
        record, heard = self._record, self._heard
        if self._ask is not None:
            record = self._ask(self._device_id)
            # Made now, it is newer than all that was heard before.
            if record is not None and heard is not None and record.heard_stream not in (None, heard.stream):
                heard = None
        if record is not None:
            yield PutDevice(record)
        if heard is not None:
            yield heard


class KeptDrops(Slot):
    """The messages of a device to delete."""

    __slots__ = ("_device_id", "_numbers")

    def __init__(self, device_id: str) -> None:
        super().__init__()
        self._device_id = device_id
        self._numbers: set[int] = set()

    def merge(self, change: DropMessages) -> None:
        """Merge a newer change of the same device."""
        self._numbers.update(change.numbers)

    def changes(self) -> Iterator[Change]:
        yield DropMessages(self._device_id, tuple(sorted(self._numbers)))


class KeptTwins(Slot):
    """Twins of a device whose records are made when they are written."""

    __slots__ = ("_ask", "_device_id", "_endpoint_ids")

    def __init__(self, device_id: str, ask: AskTwins) -> None:
        super().__init__()
        self._ask = ask
        self._device_id = device_id
        self._endpoint_ids: set[str] = set()

    def mark(self, endpoint_ids: Iterable[str]) -> None:
        """Have the records of these twins made, too."""
        self._endpoint_ids.update(endpoint_ids)

    def changes(self) -> Iterator[Change]:
        for record in self._ask(self._device_id, sorted(self._endpoint_ids)):
            yield PutTwin(record)


class KeptEnd(Slot):
    """A device to delete, or twins of one."""

    __slots__ = ("_change",)

    def __init__(self, change: DropDevice | DropTwins) -> None:
        super().__init__()
        self._change = change

    def changes(self) -> Iterator[Change]:
        yield self._change


class Section(Protocol):
    """A part above the core that has a share of the store, and keeps in bounds what waits for it.

    Attributes:
        due: monotonic seconds; when it wants to be written. Read with the writer's lock held.
        waits: whether something has to be written before the store is closed.
    """

    @property
    def due(self) -> float: ...
    @property
    def waits(self) -> bool: ...

    def changes(self) -> Sequence[Change]:
        """List what to write now; in the writer's thread, again after a failure, and then the same."""

    def settled(self, error: Exception | None) -> None:
        """Note that what `changes` has listed is written, or can never be."""

    def lost(self) -> None:
        """Note that what was written before is gone."""


class KeptSection(Slot):
    """What a part above the core has to write."""

    __slots__ = ("section",)

    def __init__(self, section: Section) -> None:
        super().__init__()
        self.section = section

    def changes(self) -> Sequence[Change]:
        return self.section.changes()


class Batch:
    """What is written by one commit.

    Attributes:
        kept: the ticket of all that is kept in it.
        done: set when nothing is left of it to write.
        finished: that it is set, guarded by the writer's lock.
        is_short: some devices to delete are left out; behind it, all that the store should hold is to be written anew.
    """

    __slots__ = (
        "_devices",
        "_drops",
        "_ends",
        "_next",
        "_slots",
        "_twin_drops",
        "_twins",
        "done",
        "finished",
        "is_short",
        "kept",
    )

    def __init__(self) -> None:
        self._slots: dict[int, Slot] = {}  # the changes of the batch, in the order in which they are written
        self._next = 0
        self._devices: dict[str, int] = {}  # where later records of a device are merged
        self._drops: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._twins: dict[str, int] = {}
        self._twin_drops: dict[str, int] = {}
        self.kept = Ticket()
        self.done = Signal()
        self.finished = False
        self.is_short = False

    def __bool__(self) -> bool:
        return bool(self._slots)

    def slots(self) -> list[Slot]:
        """List all slots, in the order to write them."""
        return list(self._slots.values())

    def add_entry(self, entry: Entry) -> None:
        """Add changes that are made together."""
        self._append(entry)
        for change in entry.changes():
            # A later record must not be merged into one that is written before this.
            match change:
                case PutDevice(record):
                    self._devices.pop(record.id, None)
                case DropDevice(device_id):
                    self._devices.pop(device_id, None)
                    self._drops.pop(device_id, None)
                    self._twins.pop(device_id, None)
                case Heard(device_id=device_id):
                    self._devices.pop(device_id, None)

    def add_section(self, section: Section) -> None:
        """Add what a part above the core has to write."""
        self._append(KeptSection(section))

    def mark(self, device_id: str, ask: AskRecord) -> None:
        """Have the record of a device made when it is written, and merged as if it were added now."""
        place = self._devices.get(device_id)
        if place is None:  # in as few steps as can be: the lock of the registry is held where devices connect
            place = self._devices[device_id] = self._next
            self._next += 1
            self._slots[place] = KeptDevice(device_id, ask)
        else:
            self._device(device_id).mark(ask)

    def mark_twins(self, device_id: str, endpoint_ids: Iterable[str], ask: AskTwins) -> None:
        """Have the records of twins made when they are written, and merged as if they were added now."""
        self._twin_marks(device_id, ask).mark(endpoint_ids)

    def add_kept(self, change: Change) -> None:
        """Add a change that is merged."""
        match change:
            case PutDevice(record):
                self._device(record.id).merge(change)
            case Heard(device_id=device_id):
                self._device(device_id).merge(change)
            case DropMessages(device_id=device_id):
                self._drop(device_id).merge(change)
            case DropTwins(device_id=device_id):  # the last one names all that are kept
                before = self._twin_drops.pop(device_id, None)
                if before is not None:
                    del self._slots[before]
                self._twin_drops[device_id] = self._append(KeptEnd(change))
                if device_id in self._twins:
                    self._move(self._twins, device_id)  # what is marked later is not deleted
            case DropDevice(device_id):
                for index in (self._devices, self._drops, self._ends, self._twins, self._twin_drops):
                    place = index.pop(device_id, None)
                    if place is not None:
                        del self._slots[place]
                if len(self._ends) >= _MAX_ENDS:
                    for place in self._ends.values():
                        del self._slots[place]
                    self._ends.clear()
                    self.is_short = True
                self._ends[device_id] = self._append(KeptEnd(change))

    def _append(self, slot: Slot) -> int:
        place = self._next
        self._next += 1
        self._slots[place] = slot
        return place

    def _device(self, device_id: str) -> KeptDevice:
        """Get or create the slot of a device. Its place is that of the first change, before the messages."""
        place = self._devices.get(device_id)
        if place is None:
            place = self._devices[device_id] = self._append(KeptDevice(device_id))
        slot = self._slots[place]
        assert isinstance(slot, KeptDevice)
        return slot

    def _drop(self, device_id: str) -> KeptDrops:
        """Get or create the delete slot of a device and move it to the end, behind the inserts it may delete."""
        place = self._drops.get(device_id)
        slot = KeptDrops(device_id) if place is None else self._slots.pop(place)
        assert isinstance(slot, KeptDrops)
        self._drops[device_id] = self._append(slot)
        return slot

    def _twin_marks(self, device_id: str, ask: AskTwins) -> KeptTwins:
        """Get or create the slot of a device's marked twins, and move it to the end: behind their sets."""
        if device_id not in self._twins:
            slot = KeptTwins(device_id, ask)
            self._twins[device_id] = self._append(slot)
            return slot
        found = self._move(self._twins, device_id)
        assert isinstance(found, KeptTwins)
        return found

    def _move(self, index: dict[str, int], device_id: str) -> Slot:
        """Move a slot to the end."""
        slot = self._slots.pop(index[device_id])
        index[device_id] = self._append(slot)
        return slot
