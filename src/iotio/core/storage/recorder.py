"""Tell the store writer which devices have changed, and make their records when it writes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn, Protocol

from ..durable.messages import DurableMessages
from ..handles import DeviceHandle
from ..ports import ReadingSink
from ..primitives import Signal
from ..readings import HistoryRequest
from ..registry import Registry
from ..waiting import check_no_loop
from .contract import DropDevice, Snapshot, Store, StoreError, StoreUnavailable
from .records import DeviceRecord, TwinRecord
from .writer import StoreWriter

__all__ = ["NoHistory", "StoreBackup", "StoreExport", "StoreRecorder"]

_FLUSH = 10.0  # seconds that a copy waits for what is not written yet


class Twins(Protocol):
    """The twins of all devices."""

    def drop(self, device: DeviceHandle) -> None: ...
    def record(self, device_id: str, endpoint_ids: Iterable[str]) -> list[TwinRecord]: ...
    def records(self) -> list[TwinRecord]: ...


class StoreRecorder:
    """Marks devices whose record differs from before; the writer's thread asks for the record when it writes.

    So a connect, which holds the lock of the registry here, costs a mark, and a device that changes ten times while one
    commit runs has one record made. A forgotten device takes its durable messages with it.

    Attributes:
        writer: the store writer, or None without a store.
        readings: where readings of endpoints are recorded, or None.
        twins: those of the devices, or None if nobody keeps any.

    Args:
        registry: knows the devices.
        messages: knows their streams of durable messages.
    """

    def __init__(self, registry: Registry, messages: DurableMessages) -> None:
        self.writer: StoreWriter | None = None
        self.readings: ReadingSink | None = None
        self.twins: Twins | None = None
        self._registry = registry
        self._messages = messages

    # -- from presence, which holds the registry's lock ------------------------------------------------

    def changed(self, device: DeviceHandle) -> None:
        """Mark a device whose record differs from before."""
        if self.writer is not None:
            self.writer.mark(device.id)

    def dropped(self, device: DeviceHandle) -> None:
        """Have a device deleted from the store with its messages, twins and history, and close its durable queue."""
        self._messages.drop(device.id)
        if self.twins is not None:
            self.twins.drop(device)
        if self.readings is not None:
            self.readings.forget(device.id)
        if self.writer is not None:
            with suppress(StoreUnavailable):  # closed
                self.writer.submit(DropDevice(device.id))

    def dropped_later(self) -> None:
        """Drop the messages of forgotten devices. The registry's lock is free."""
        self._messages.drop_forgotten()

    # -- from the writer's thread ----------------------------------------------------------------------

    def record(self, device_id: str) -> DeviceRecord | None:
        """Make the record of a device as it is now; None if it is not known (any more)."""
        with self._registry.lock:  # a device is forgotten under it, and its durable queue with it
            device = self._registry.find(device_id)
            return None if device is None else self._messages.record(device.snapshot())

    def twin_records(self, device_id: str, endpoint_ids: Iterable[str]) -> list[TwinRecord]:
        """Make the records of some twins of a device as they are now."""
        return [] if self.twins is None else self.twins.record(device_id, endpoint_ids)

    def snapshot(self) -> Snapshot:
        """Make the records of all devices, all messages and all twins."""
        with self._registry.lock:
            devices = tuple(self._messages.record(device.snapshot()) for device in self._registry.all())
        twins = () if self.twins is None else tuple(self.twins.records())
        return Snapshot(devices, tuple(self._messages.records()), twins)


class NoHistory:
    """The history of a manager that records none.

    Attributes:
        sink: None.
    """

    sink = None

    def history(self, request: HistoryRequest) -> NoReturn:
        """Raise a StoreError that says what to do."""
        raise StoreError(
            "this IoTManager records no history: give it a store, as in IoTManager(store='sqlite:///iotio.db'), and"
            " leave history=False out"
        )

    async def ahistory(self, request: HistoryRequest) -> NoReturn:
        """Raise the same."""
        self.history(request)

    def close(self, *, wait: Callable[[Signal, float], bool]) -> None:
        """Do nothing."""


class _StoreCopier:
    """Writes all that a store holds to a file.

    Args:
        recorder: has the store writer.
        wait: how to wait where it is called.
    """

    def __init__(self, recorder: StoreRecorder, wait: Callable[[Signal, float], bool]) -> None:
        self._recorder = recorder
        self._wait = wait

    def __repr__(self) -> str:
        writer = self._recorder.writer
        return f"<{type(self).__name__} of {'no store' if writer is None else repr(writer.store)}>"

    def _written_store(self, what: str) -> Store:
        """Return the store, with all that was sent before in it.

        Args:
            what: the method of the manager.
        """
        check_no_loop(f"{what}()", f"await asyncio.to_thread(manager.{what}, path)")
        writer = self._recorder.writer
        if writer is None:
            raise StoreError("there is nothing to copy: this IoTManager has no store")
        if not writer.flush(_FLUSH, wait=self._wait):
            raise StoreError(f"the store does not take what waits for it: {writer.trouble or 'it is slow'}")
        return writer.store


class StoreBackup(_StoreCopier):
    """A copier of the store; a manager's `backup`."""

    def __call__(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Copy the store to a file, with all that was sent and joined before, while devices are served.

        Args:
            path: of the copy, which has this name when it is complete.
            force: replace a file of that name.

        Raises:
            StoreError: there is no store, it cannot be copied, or the copy cannot be written; nothing is left of it.
            RuntimeError: an event loop runs in this thread; write `await asyncio.to_thread(manager.backup, path)`.
        """
        self._written_store("backup").backup(os.fspath(path), force=force)


class StoreExport(_StoreCopier):
    """An exporter of the store; a manager's `export`."""

    def __call__(
        self,
        path: str | os.PathLike[str],
        progress: Callable[[int, int], None] | None = None,
        *,
        force: bool = False,
    ) -> None:
        """Write all that the store holds to a file that any store can be made of, while devices are served.

        Args:
            path: of the file, which has this name when it is complete: lines of JSON, compressed by gzip.
            progress: is told now and then how many records of how many are written, in this thread.
            force: replace a file of that name.

        Raises:
            StoreError: there is no store, it cannot be read, or the file not be written; nothing is left of it.
            RuntimeError: an event loop runs in this thread; write `await asyncio.to_thread(manager.export, path)`.
        """
        self._written_store("export").export(os.fspath(path), force=force, progress=progress)
