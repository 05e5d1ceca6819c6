"""Locks are taken in the order that the core's first page says."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

from iotio import DeviceType
from iotio.core.durable.delivery import DeliveryState
from iotio.core.durable.messages import DurableMessages
from iotio.core.manager import Manager
from iotio.core.registry import Registry
from iotio.core.storage.contract import StoreError, StoreUnavailable
from iotio_protocol import v2
from tests.support.lock_order import LockOrder, allowed, recorded
from tests.support.memory import Clock, make_manager, v0_device, v1_device, v2_device
from tests.support.stores import TroubledStore

pytestmark = pytest.mark.skipif(
    not isinstance(Registry.swap, FunctionType),
    reason="compiled code has no frames, which tell who makes a lock; the plain sources are looked at elsewhere",
)

LONG = 5.0  # seconds; nothing here takes that long


class Lamp(DeviceType):
    """Does something with locks in each of its handlers."""

    def on_connect(self, client: Any) -> None:
        """Enter a room, and be sent something."""
        client.join("all")
        client.emit("hello", 1)

    def on_write(self, message: Any, client: Any) -> None:
        """Write together with that it was handled."""
        client.message.transaction(lambda connection: None)

    def on_disconnect(self, client: Any) -> None:
        """Leave a message for later."""
        client.emit("bye", 1, durable=True)

    def on_presence(self, client: Any, old: Any, new: Any, reason: Any) -> None:
        """Use the manager."""
        client.manager.emit("presence", str(new), room="all")


@pytest.fixture
def order() -> Iterator[LockOrder]:
    with recorded() as order:
        yield order


@pytest.fixture
def store(order: LockOrder) -> TroubledStore:
    return TroubledStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(order: LockOrder, store: TroubledStore, clock: Clock) -> Iterator[Manager]:
    limits = {"max_devices": 9, "max_outbox": 2000, "max_connections_per_address": 100}
    manager = make_manager(Lamp("lamp"), DeviceType("stranger"), clock=clock, store=store, patience=0.2, **limits)
    yield manager
    store.problem = None
    store.answers.set()
    manager.close(0)


def come_and_go(manager: Manager, clock: Clock) -> None:
    """Connections of each version, takeovers, ends of each kind, presence."""
    v0_device(manager, "d0", "lamp").close()
    v1_device(manager, "d1", "lamp")
    v1_device(manager, "d1", "lamp").drop()
    v1_device(manager, "x", "nosuch")
    device = v2_device(manager, "d2", "lamp")
    device.packet(v2.encode_sleep(10))
    for _ in range(8):  # more than an id may be taken over
        device = v2_device(manager, "d2", "lamp")
    device.drop()
    for name in "abcdefghij":  # more than are remembered
        v1_device(manager, name, "stranger").drop()
    assert manager.devices.forgotten
    for _ in range(4):
        clock.now += 20.0
        manager.sweep(clock.now)


def send(manager: Manager) -> None:
    """Emits to rooms, to a slow reader, to devices that are away; calls; what cannot be sent."""
    slow = v1_device(manager, "slow", "lamp", room=0)
    for _ in range(20):
        manager.emit("x", "y" * 200, room="all", durable=False)
    slow.frames()
    client = manager.client("slow")
    assert client is None or not client.connected
    for _ in range(2):
        v1_device(manager, "p", "lamp")
        manager.emit("x", 1, client_id="p")
        manager.emit("x", 1, client_type="lamp", skip="p")
    manager.leave("p", "all")
    manager.close_room("all")
    manager.remove("p")


def keep(manager: Manager, store: TroubledStore) -> None:
    """Durable messages both ways, acknowledged, replaced, too late, and with a store in trouble."""
    away = v2_device(manager, "k", "lamp", sends="s")
    manager.emit("set", 1, client_id="k", durable=True)
    away.ack(1)
    away.durable(1, "write", 1)
    away.durable(1, "write", 1)
    away.drop()
    for number in range(3):
        manager.emit("set", number, client_id="k", durable=True, coalesce="set", ttl=0.001 if number == 2 else None)
    store.problem = StoreError("it is full")
    with pytest.raises(StoreUnavailable):
        manager.emit("set", 1, client_id="k", durable=True)
    back = v2_device(manager, "k", "lamp", sends="s")
    back.durable(2, "write", 1)
    assert store.asked.acquire(timeout=LONG)
    store.problem = None
    manager.sweep(0.0)
    assert manager.store_writer is not None
    assert manager.store_writer.flush(LONG)
    back.durable(9, "write", 1, previous=8)  # a gap
    v1_device(manager, "probed", "lamp")
    delivery = manager.emit("set", 1, client_id="probed", durable=True).delivery
    assert delivery is not None
    assert delivery.state in DeliveryState
    manager.forget("probed")
    manager.forget("k")


def test_the_order_of_locks(manager: Manager, store: TroubledStore, clock: Clock, order: LockOrder) -> None:
    come_and_go(manager, clock)
    send(manager)
    keep(manager, store)
    v1_device(manager, "left", "lamp")
    manager.close(0)
    assert order.forbidden() == []
    assert set(order.seen) >= {
        ("OutgoingQueue", "DurableMessages"),
        ("Registry", "DurableMessages"),
        ("Registry", "PresenceNotifier"),
        ("Registry", "StoreWriter"),
        ("DurableMessages", "StoreWriter"),
    }


def test_the_table_has_no_circle() -> None:
    table = allowed()
    assert [name for name, after in table.items() if name in after] == []
    assert table["DurableQueue"] >= {"Connection", "Registry", "DurableMessages", "StoreWriter", "Signal"}


def test_a_wrong_order_is_found() -> None:
    with recorded() as order:
        registry = Registry()
        server: Any = None
        messages = DurableMessages(server, registry)
        with registry.lock, messages._lock:
            pass
        assert order.forbidden() == []
        with messages._lock, registry.lock:
            pass
        (wrong,) = order.forbidden()
        assert wrong.startswith("DurableMessages -> Registry: ")
