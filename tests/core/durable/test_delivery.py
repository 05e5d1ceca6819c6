"""The handle of a durable message: to ask, and to wait on, in threads and on loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from iotio import DeviceType
from iotio.core.durable.delivery import Delivery, DeliveryState
from iotio.core.manager import Manager
from iotio.core.storage.contract import StoreError, StoreUnavailable
from tests.support.memory import V2Device, make_manager, v2_device
from tests.support.stores import TroubledStore

QUEUED, SENT = DeliveryState.QUEUED, DeliveryState.SENT
DONE, DROPPED = DeliveryState.DONE, DeliveryState.DROPPED
LONG = 5.0  # seconds; nothing here takes that long


@pytest.fixture
def store() -> TroubledStore:
    return TroubledStore()


@pytest.fixture
def manager(store: TroubledStore) -> Iterator[Manager]:
    """With a store, and a device "d" that is away."""
    manager = make_manager(DeviceType("lamp"), store=store, patience=0.2)
    connect(manager).drop()
    yield manager
    store.answers.set()
    manager.close(0)


@pytest.fixture
def bare() -> Manager:
    """Without a store, with a device "d" that is away."""
    manager = make_manager(DeviceType("lamp"))
    connect(manager).drop()
    return manager


def connect(manager: Manager, **fields: Any) -> V2Device:
    return v2_device(manager, "d", "lamp", **fields)


def emit(manager: Manager, value: Any = 1, **how: Any) -> Delivery:
    delivery = manager.emit("set", value, client_id="d", durable=True, **how).delivery
    assert delivery is not None
    return delivery


def in_thread(function: Callable[[], Any]) -> Callable[[], Any]:
    """Run it in a thread; what is returned waits for its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(LONG)
        return results[0]

    return result


def test_waiting_in_a_thread(bare: Manager) -> None:
    delivery = emit(bare)
    assert delivery.wait(0.01) is QUEUED
    device = connect(bare)
    assert delivery.wait(0.01) is SENT
    waiting = in_thread(lambda: delivery.wait(LONG))
    device.ack(1)
    assert waiting() is DONE
    assert delivery.wait() is DONE
    assert delivery.is_over
    assert repr(delivery) == f"<Delivery {delivery.id} of 'set' to 'd': done>"


async def test_waiting_on_a_loop(bare: Manager) -> None:
    delivery = emit(bare)
    assert await delivery.finished(0.01) is QUEUED
    waiting = asyncio.create_task(delivery.finished())
    await asyncio.sleep(0)
    in_thread(lambda: connect(bare).ack(1))
    assert await asyncio.wait_for(waiting, LONG) is DONE
    with pytest.raises(RuntimeError, match=r"await delivery\.finished\(\)"):
        delivery.wait()


def test_without_a_store_nothing_is_written(bare: Manager) -> None:
    result = bare.emit("set", 1, client_id="d", durable=True)
    assert result.delivery is not None
    assert asyncio.run(result.written()) is False
    assert result.delivery.state is QUEUED


def test_a_thread_returns_when_it_is_written(manager: Manager, store: TroubledStore) -> None:
    delivery = emit(manager)
    (record,) = store.load().messages
    assert (record.id, record.device_id, record.number) == (delivery.id, "d", 1)
    assert asyncio.run(delivery.written()) is True


async def test_a_coroutine_does_not_wait(manager: Manager, store: TroubledStore) -> None:
    store.answers.clear()
    device = connect(manager)
    result = manager.emit("set", 1, client_id="d", durable=True)
    assert result.delivery is not None
    assert result.delivery.state is QUEUED
    assert (result.sent, result.offline) == (0, ())
    assert device.messages() == []  # what the store could forget is not sent
    store.answers.set()
    assert await asyncio.wait_for(result.written(), LONG) is True
    assert result.delivery.state is SENT
    assert device.messages() == [(0, 1, "set", 1)]


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "fails"])
def test_what_cannot_be_written_is_refused(manager: Manager, store: TroubledStore, hangs: bool) -> None:
    manager.store_writer.flush(LONG)  # type: ignore[union-attr]
    if hangs:
        store.answers.clear()
    else:
        store.problem = StoreError("the disk is full")
    device = connect(manager)
    with pytest.raises(StoreUnavailable, match=r"not stored within 0\.2 s"):
        emit(manager, "lost")
    assert manager.durable_messages.waiting == 0
    assert device.messages() == []
    store.problem = None
    store.answers.set()
    delivery = emit(manager, "kept")
    assert delivery.wait(0.01) is SENT
    assert [one[2:] for one in device.messages()] == [("set", "kept")]
    device.ack(delivery.number)
    assert manager.store_writer.flush(LONG)  # type: ignore[union-attr]
    assert store.load().messages == ()


async def test_what_cannot_be_written_in_a_coroutine(manager: Manager, store: TroubledStore) -> None:
    store.answers.clear()
    result = manager.emit("set", 1, client_id="d", durable=True)
    assert await result.written() is False
    assert result.delivery is not None
    assert result.delivery.state is DROPPED
    assert "it could not be written: not stored within" in result.delivery.reason


def test_one_that_is_replaced_stays_until_its_successor_is_written(manager: Manager, store: TroubledStore) -> None:
    first = emit(manager, 1, coalesce="t")
    store.answers.clear()
    with pytest.raises(StoreUnavailable):
        emit(manager, 2, coalesce="t")
    assert first.state is QUEUED
    store.answers.set()
    second = emit(manager, 3, coalesce="t")
    assert first.state is DROPPED
    assert manager.store_writer is not None
    assert manager.store_writer.flush(LONG)
    assert [record.id for record in store.load().messages] == [second.id]
    assert [value for *_, value in connect(manager).messages()] == [3]


def test_after_the_end(manager: Manager, store: TroubledStore) -> None:
    kept = emit(manager, 1)
    manager.close(0)
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        emit(manager, 2)
    assert kept.state is QUEUED
    assert [record.id for record in store.load().messages] == [kept.id]


def test_found_by_its_id_after_a_restart(manager: Manager, store: TroubledStore) -> None:
    kept = emit(manager, 1, ttl=3600, coalesce="t")
    manager.close(0)
    again = make_manager(DeviceType("lamp"), store=store)
    found = again.delivery(kept.id)
    assert found is not None
    assert (found.event, found.number, found.created, found.expires) == ("set", 1, kept.created, kept.expires)
    assert asyncio.run(found.written()) is True
    device = connect(again)
    assert device.messages() == [(0, 1, "set", 1)]
    device.ack(1)
    assert found.wait(LONG) is DONE
    assert again.delivery(kept.id) is None
    again.close(0)


async def test_no_wait_is_longer_than_can_pass(bare: Manager) -> None:
    delivery = emit(bare)
    with pytest.raises(ValueError, match="timeout must be at most 1000000000 seconds"):
        await delivery.finished(1e308)
    with pytest.raises(ValueError, match="timeout must be at most 1000000000 seconds"):
        await asyncio.to_thread(delivery.wait, 1e308)
