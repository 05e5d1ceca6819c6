"""The history of a manager: real connections are not needed, a real store writer is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from iotio import IoTManager, StoreError, StoreUnavailable
from iotio.core.storage.contract import PutDevice, Run, Store
from iotio.history.recorder import Recorder
from iotio.history.settings import History
from iotio.store import MemoryStore, open_store
from tests.store.records import device as record

from .rig import DOOR, NUMBER

NOW = datetime.now(UTC).replace(microsecond=0)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'iotio.db'}"


@pytest.fixture
def manager(url: str) -> Iterator[IoTManager]:
    """A manager with a store and a device."""
    made = IoTManager(store=url)
    yield made
    made.close()


def sink(manager: IoTManager) -> Recorder:
    found = manager.history.sink
    assert isinstance(found, Recorder)
    return found


def device(manager: IoTManager, name: str = "kitchen") -> Any:
    """A device that was there."""
    with manager.test_client(name, "lamp"):
        found = manager.device(name)
    assert found is not None
    return found


def lamp(manager: IoTManager) -> IoTManager:
    from iotio import DeviceType

    manager.add_type(DeviceType("lamp"))
    return manager


def test_readings_of_a_device_are_answered_and_outlive_the_program(url: str) -> None:
    with closing(open_store(url)) as store:
        store.commit([PutDevice(record("kitchen", presence="offline"))])
    manager = IoTManager(store=url)
    sink(manager).record("kitchen", NUMBER, [(ms(NOW), 1), (ms(NOW) + 1, 3)])
    sink(manager).record("nobody", NUMBER, [(ms(NOW), 1)])
    found = manager.devices["kitchen"].history("level", end=NOW + timedelta(hours=1))
    assert [one.mean for one in found.buckets] == [2]
    manager.close()
    manager = IoTManager(store=url)
    found = manager.devices["kitchen"].history("level", NOW, NOW + timedelta(hours=1), points=None)
    assert [one.last for one in found.buckets] == [1, 3]
    assert sink(manager).find("nobody", "level") is None, "no such device is known"
    assert manager.forget("kitchen")
    manager.close()
    manager = IoTManager(store=url)
    assert sink(manager).find("kitchen", "level") is None
    manager.close()


async def test_a_coroutine_waits_without_blocking(manager: IoTManager) -> None:
    kitchen = await asyncio.to_thread(device, lamp(manager))
    sink(manager).record("kitchen", DOOR, [(ms(NOW), True)])
    found = await kitchen.ahistory("door", NOW - timedelta(hours=1), NOW + timedelta(hours=1), tz="Asia/Kolkata")
    assert [(one.value, one.start) for one in found.spans] == [(True, NOW)]
    with pytest.raises(RuntimeError, match=r"await device\.ahistory"):
        kitchen.history("door")


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"points": 0}, ValueError, "points is a number from 1 to 50000, or None for each reading, not 0"),
        ({"points": 1.5}, ValueError, "not 1.5"),
        ({"tz": "Mars"}, ValueError, "no time zone 'Mars'"),
        ({"every": "2h"}, ValueError, "every is one of 15m, 1h, 1d, 1mo"),
        ({"start": 5}, TypeError, "start is a datetime, not int"),
        ({"start": NOW, "end": NOW}, ValueError, "start is before end"),
        ({"start": datetime(2000, 1, 1), "every": "15m"}, ValueError, "more than 50000 buckets"),
    ],
)
def test_wrong_questions_are_told(
    manager: IoTManager, values: dict[str, Any], error: type[Exception], words: str
) -> None:
    kitchen = device(lamp(manager))
    with pytest.raises(error, match=words):
        kitchen.history("level", **values)


@pytest.mark.parametrize("arguments", [{}, {"store": MemoryStore(), "history": False}])
def test_without_a_history_the_error_says_what_to_do(arguments: dict[str, Any]) -> None:
    manager = lamp(IoTManager(**arguments))
    kitchen = device(manager)
    with pytest.raises(StoreError, match=r"records no history: give it a store, as in IoTManager\(store="):
        kitchen.history("level")
    manager.close()


@pytest.mark.parametrize("history", [True, History(raw="2d")])
def test_a_history_that_is_asked_for_needs_a_store(history: Any) -> None:
    with pytest.raises(StoreError, match=r"a history needs a store: write IoTManager\(store="):
        IoTManager(history=history)


class PlainStore(MemoryStore):
    """A store of the program's own, which knows of no history."""

    history = Store.history


def test_a_store_that_keeps_no_history() -> None:
    IoTManager(store=PlainStore()).close()
    with pytest.raises(StoreError, match="PlainStore keeps no history: write history=False"):
        IoTManager(store=PlainStore(), history=True)


def test_a_history_can_have_a_store_of_its_own(url: str) -> None:
    for store in (None, MemoryStore()):
        manager = IoTManager(store=store, history=url)
        sink(manager).record("kitchen", NUMBER, [(ms(NOW), 1)])
        manager.close()
        manager = IoTManager(store=store, history=History(url=url))
        assert sink(manager).find("kitchen", "level") is not None
        manager.close()


def test_durable_readings_wait_for_the_store_of_the_history(url: str) -> None:
    manager = IoTManager(store=MemoryStore(), history=url)
    effect = sink(manager).record_durably("kitchen", NUMBER, [(ms(NOW), 1)])
    assert manager.store_writer is not None
    manager.store_writer.submit(Run(effect)).wait(10)
    with sink(manager).storage.reading(5) as tables:
        assert len(tables.tail()) == 1
    manager.close()


def test_durable_readings_of_messages_without_a_store_are_recorded(url: str) -> None:
    manager = IoTManager(history=url)
    sink(manager).record_durably("kitchen", NUMBER, [(ms(NOW), 1)])(None)
    manager.close()
    manager = IoTManager(history=url)
    assert sink(manager).find("kitchen", "level") is not None
    manager.close()


def test_a_durable_message_fails_if_the_history_does_not_answer() -> None:
    recorder = Recorder(MemoryStore().history(), History())  # which nobody writes
    recorder.apart = 0.01
    with pytest.raises(StoreUnavailable, match=r"the store of the history has not answered for 0\.01 s"):
        recorder.record_durably("kitchen", NUMBER, [(ms(NOW), 1)])(None)


def test_durable_readings_are_in_the_transaction_of_their_message(manager: IoTManager) -> None:
    effect = sink(manager).record_durably("kitchen", NUMBER, [(ms(NOW), 1)])
    counts: list[int] = []

    def count(connection: Any) -> None:
        counts.append(connection.execute(text("SELECT count(*) FROM iotio_tail")).scalar())

    assert manager.store_writer is not None
    manager.store_writer.submit(Run(effect), Run(count)).wait(10)
    assert counts == [1]


def test_a_copy_has_the_history(manager: IoTManager, tmp_path: Path) -> None:
    sink(manager).record("kitchen", NUMBER, [(ms(NOW), 1)])
    assert sink(manager).wait_written()
    copy = tmp_path / "copy.db"
    manager.backup(copy)
    other = IoTManager(history=f"sqlite:///{copy}")
    assert sink(other).find("kitchen", "level") is not None
    other.close()
