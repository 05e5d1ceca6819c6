"""What is written of a device: it is marked when it changes, and its record is made when it is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iotio import DeviceType
from iotio.core.manager import Manager
from iotio.core.storage.contract import DropDevice, PutDevice
from iotio.core.storage.records import DeviceRecord
from tests.support.memory import V2Device, make_manager, v1_device, v2_device
from tests.support.stores import TroubledStore

LONG = 5.0  # seconds; nothing here takes that long


@pytest.fixture
def store() -> TroubledStore:
    return TroubledStore()


@pytest.fixture
def manager(store: TroubledStore) -> Iterator[Manager]:
    manager = make_manager(DeviceType("lamp"), store=store)
    yield manager
    store.answers.set()
    manager.close(0)


def written(manager: Manager) -> None:
    assert manager.store_writer is not None
    assert manager.store_writer.flush(LONG)


def lamp(manager: Manager, name: str = "d") -> V2Device:
    return v2_device(manager, name, "lamp")


def block(manager: Manager, store: TroubledStore) -> None:
    """Have the writer's thread hang in a commit; what changes from now on is in the next one."""
    written(manager)
    store.answers.clear()
    v1_device(manager, "blocker", "lamp")
    while not store.asked.acquire(timeout=0.0):
        pass
    while store.asked.acquire(timeout=0.2):
        pass


def devices(store: TroubledStore) -> list[DeviceRecord]:
    """The records of the last commit."""
    return [change.record for change in store.commits[-1] if isinstance(change, PutDevice)]


def test_ten_changes_are_one_record_as_the_device_is_at_the_end(manager: Manager, store: TroubledStore) -> None:
    block(manager, store)
    lamp(manager)
    for number in range(10):
        manager.join("d", f"r{number}")
    manager.close_room("r3")
    store.answers.set()
    written(manager)
    (record,) = devices(store)
    assert (record.id, len(record.rooms), record.presence) == ("d", 9, "online")
    assert "r3" not in record.rooms
    assert record.stream == lamp(manager).welcome["sends"]


def test_a_device_that_is_forgotten_meanwhile_has_no_record(manager: Manager, store: TroubledStore) -> None:
    lamp(manager)
    block(manager, store)
    manager.join("d", "r")
    manager.forget("d")
    store.answers.set()
    written(manager)
    assert store.commits[-1] == [DropDevice("d")]
    assert [one.id for one in store.load().devices] == ["blocker"]


def test_a_device_that_comes_back_after_it_was_forgotten(manager: Manager, store: TroubledStore) -> None:
    first = lamp(manager).welcome["sends"]
    block(manager, store)
    manager.forget("d")
    second = lamp(manager).welcome["sends"]
    store.answers.set()
    written(manager)
    assert first != second
    assert [one.stream for one in store.load().devices if one.id == "d"] == [second]


def test_the_snapshot_has_all(manager: Manager) -> None:
    lamp(manager).drop()
    assert manager.recorder.snapshot().messages == ()
    delivery = manager.emit("set", 1, client_id="d", durable=True).delivery
    assert delivery is not None
    found = manager.recorder.snapshot()
    assert [one.id for one in found.devices] == ["d"]
    assert [(one.id, one.number) for one in found.messages] == [(delivery.id, 1)]
    assert manager.recorder.record("d") == found.devices[0]
    assert manager.recorder.record("nosuch") is None


def test_nothing_happens_without_a_store_and_after_the_end(manager: Manager, store: TroubledStore) -> None:
    without = make_manager(DeviceType("lamp"))
    v1_device(without, "d", "lamp")
    assert without.forget("d")
    manager.close(0)
    v1_device(manager, "late", "lamp")
    assert not manager.forget("late")
    assert [one.id for one in store.load().devices] == []
