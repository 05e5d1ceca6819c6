"""Durable messages of a whole server: emit, what is forgotten, restarts, and a store that is in trouble."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

import iotio
from iotio import DeviceType, IoTManager, Options
from iotio.core.durable.delivery import DeliveryState
from iotio.core.manager import Manager
from iotio.core.storage.contract import PutMessage, Store, StoreError, StoreUnavailable
from iotio.store import MemoryStore, open_store
from iotio.store.sql import SqlStore
from iotio.store.sqlite import SqliteDatabase
from iotio.store.tables import SCHEMA_TABLE
from iotio_protocol import v2
from tests.store.records import message as message_record
from tests.support.memory import Clock, V2Device, make_manager, v2_device
from tests.support.stores import TroubledStore

LONG = 5.0  # seconds; nothing here takes that long


class Lamp(DeviceType):
    """Notes what its devices say; what is said as `write` goes into a transaction."""

    def __init__(self) -> None:
        super().__init__("lamp")
        self.seen: list[Any] = []
        self.inside: Callable[[Any], object] = lambda connection: None

    def on_read(self, message: Any, client: Any) -> None:
        """Note it."""
        self.seen.append(message)

    def on_write(self, message: Any, client: Any) -> None:
        """Note it, and write it together with that it was handled."""
        self.seen.append(message)
        client.message.transaction(self.inside)


Restart = Callable[..., Manager]


@pytest.fixture
def lamp() -> Lamp:
    return Lamp()


@pytest.fixture(params=["memory", "sqlite"])
def restart(request: pytest.FixtureRequest, lamp: Lamp, tmp_path: Path) -> Iterator[Restart]:
    """Start a manager with what the one before it has stored."""
    memory = MemoryStore()
    started: list[Manager] = []

    def function(**options: Any) -> Manager:
        while started:
            started.pop().close(0)
        store: Store = memory if request.param == "memory" else open_store(f"sqlite:///{tmp_path / 'iotio.db'}")
        started.append(make_manager(lamp, store=store, **options))
        return started[-1]

    yield function
    for manager in started:
        manager.close(0)


@contextmanager
def running(manager: Manager) -> Iterator[Manager]:
    """Close it at the end; its devices do not answer."""
    try:
        yield manager
    finally:
        manager.close(0)


def connect(manager: Manager, client_id: str = "d", **fields: Any) -> V2Device:
    return v2_device(manager, client_id, "lamp", **fields)


def flush(manager: Manager) -> None:
    assert manager.store_writer is not None
    assert manager.store_writer.flush(LONG)


def acknowledged(manager: Manager, device: V2Device, upto: int) -> None:
    """Wait until so much is acknowledged: one turn after the other is written."""
    seen = 0
    for _ in range(20):
        flush(manager)
        seen = max([seen, *(packet.upto for packet in device.decoded() if isinstance(packet, v2.Ack))])
        if seen == upto:
            return
    raise AssertionError(f"{seen} is acknowledged, not {upto}")


# -- emit ------------------------------------------------------------------------------------------------


def test_to_a_room(lamp: Lamp) -> None:
    manager = make_manager(lamp)
    here = connect(manager, "a")
    connect(manager, "b").drop()
    connect(manager, "c")
    for name in "abc":
        manager.join(name, "room")
    told: list[Any] = []
    manager.event(_named("on_update", lambda *what: told.append(what)))
    result = manager.emit("set", 1, room="room", durable=True, skip="c")
    assert (result.sent, result.offline, result.dropped) == (1, ("b",), {})
    assert {name: one.state for name, one in result.deliveries.items()} == {"a": "sent", "b": "queued"}
    assert result
    assert result.delivery is None
    assert told == [("a", "set", 1), ("b", "set", 1)]
    assert here.messages() == [(0, 1, "set", 1)]
    assert connect(manager, "b").messages() == [(0, 1, "set", 1)]
    assert manager.emit("set", 2, client_type="lamp", durable=True, trigger_update=False).sent == 3
    assert len(told) == 2


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = name
    return function


def test_to_nobody(lamp: Lamp) -> None:
    manager = make_manager(lamp)
    result = manager.emit("set", 1, client_id="x", durable=True)
    assert not result
    assert result.dropped == {"x": "no device of this id has ever been connected"}
    assert not manager.emit("set", 1, room="empty", durable=True)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"ttl": 5}, ValueError),
        ({"coalesce": "t"}, ValueError),
        ({"durable": True, "ttl": 0}, ValueError),
        ({"durable": True, "ttl": float("inf")}, ValueError),
        ({"durable": True, "coalesce": 5}, TypeError),
    ],
    ids=str,
)
def test_wrong_arguments(lamp: Lamp, how: dict[str, Any], error: type[Exception]) -> None:
    manager = make_manager(lamp)
    connect(manager)
    with pytest.raises(error):
        manager.emit("set", 1, client_id="d", **how)


def test_what_cannot_travel(lamp: Lamp) -> None:
    manager = make_manager(lamp)
    connect(manager)
    with pytest.raises(iotio.EncodeError):
        manager.emit("set", {1, 2}, client_id="d", durable=True)
    assert manager.durable_messages.waiting == 0


# -- what is over, and what is forgotten -----------------------------------------------------------------


def test_nothing_is_left_of_what_is_over(lamp: Lamp) -> None:
    manager = make_manager(lamp, max_queued=10_000)
    device = connect(manager)
    for number in range(1, 500):
        manager.emit("set", number, client_id="d", durable=True, ttl=3600)
        device.ack(number)
    assert manager.durable_messages.waiting == 0
    assert len(manager.durable_messages._expiries) < 100


def test_a_sweep_is_short(lamp: Lamp) -> None:
    clock = Clock()
    manager = make_manager(lamp, clock=clock, max_queued=10_000)
    connect(manager).drop()
    for number in range(1500):
        manager.emit("set", number, client_id="d", durable=True, ttl=1)
    clock.now += 1
    manager.sweep(0)
    assert manager.durable_messages.waiting == 500
    manager.sweep(0)
    assert manager.durable_messages.waiting == 0


@pytest.mark.parametrize(("before", "left"), [(-60.0, 40.0), (365 * 86400.0, 100.0)], ids=["down", "set back"])
def test_the_time_to_live_over_a_restart(restart: Restart, before: float, left: float) -> None:
    """A minute passes while the program is down; or the date is a year earlier behind it, which gives no more time."""
    manager = restart()
    manager.wall = lambda: time.time() + before
    connect(manager).drop()
    manager.emit("set", 1, client_id="d", durable=True, ttl=100)
    clock = Clock()
    manager = restart(clock=clock)
    clock.now += left - 5
    manager.durable_messages.sweep()
    assert manager.durable_messages.waiting == 1
    clock.now += 5
    manager.durable_messages.sweep()
    assert manager.durable_messages.waiting == 0


def test_a_device_that_is_forgotten(restart: Restart) -> None:
    manager = restart()
    stream = connect(manager, sends="S").welcome["sends"]
    delivery = manager.emit("set", 1, client_id="d", durable=True).delivery
    assert delivery is not None
    assert manager.forget("d")
    assert (delivery.state, delivery.reason) == (DeliveryState.DROPPED, "the device was forgotten")
    assert manager.durable_messages.waiting == 0
    assert manager.durable_messages.known_queue("d") is None
    assert not manager.emit("set", 1, client_id="d", durable=True)
    again = connect(manager, sends="S", heard={"stream": stream, "upto": 1})
    assert again.welcome["heard"] == {"stream": "S", "upto": 0}
    assert again.welcome["sends"] != stream
    manager.emit("set", 2, client_id="d", durable=True)
    assert again.messages() == [(0, 1, "set", 2)]
    manager = restart()
    assert connect(manager).messages() == [(0, 1, "set", 2)]


def test_pushed_out_by_max_devices_and_back_before_anybody_has_looked(restart: Restart) -> None:
    manager = restart(max_devices=1)
    old = connect(manager, "a")
    manager.emit("set", 1, client_id="a", durable=True)
    assert old.messages() == [(0, 1, "set", 1)]
    old.packet(v2.encode_ack(1))
    old.drop()
    connect(manager, "b").drop()  # pushes "a" out
    back = connect(manager, "a")  # pushes "b" out
    assert back.welcome["sends"] != old.welcome["sends"]
    manager.emit("set", 2, client_id="a", durable=True)
    assert back.messages() == [(0, 1, "set", 2)]
    manager.sweep(0)
    manager.emit("set", 3, client_id="a", durable=True)
    assert back.messages() == [(1, 2, "set", 3)]
    flush(manager)
    manager = restart()
    assert connect(manager, "a").messages() == [(0, 1, "set", 2), (1, 2, "set", 3)]
    assert [device.id for device in manager.devices()] == ["a"]


def test_more_are_stored_than_may_be(restart: Restart) -> None:
    manager = restart()
    for name in "abcd":
        connect(manager, name).drop()
    for name in "bd":
        manager.emit("set", name, client_id=name, durable=True)
    manager = restart(max_devices=1)
    assert sorted(manager.devices) == ["b", "d"], "nobody is forgotten for whom messages wait"
    assert manager.durable_messages.waiting == 2
    manager.sweep(0)
    flush(manager)
    manager = restart()
    assert sorted(manager.devices) == ["b", "d"]


def test_messages_of_a_device_that_is_not_known(lamp: Lamp) -> None:
    store = MemoryStore()
    store.commit([PutMessage(message_record(1, "ghost"))])
    with running(make_manager(lamp, store=store)) as manager:
        assert manager.durable_messages.waiting == 0
        flush(manager)
        assert store.load().messages == ()


# -- restarts --------------------------------------------------------------------------------------------


def test_a_restart(restart: Restart, lamp: Lamp) -> None:
    manager = restart()
    device = connect(manager, sends="S")
    manager.join("d", "room")
    for number in range(3):
        manager.emit("set", number, room="room", durable=True)
    assert [value for *_, value in device.messages()] == [0, 1, 2]
    device.ack(1)
    device.durable(1, "read", "a")
    device.durable(2, "read", "b")
    acknowledged(manager, device, 2)
    device.drop()
    stream = device.welcome["sends"]
    manager = restart()
    assert manager.rooms == {"room": ["d"]}
    device = connect(manager, sends="S", heard={"stream": stream, "upto": 2})
    assert device.welcome["heard"] == {"stream": "S", "upto": 2}
    assert device.welcome["sends"] == stream
    assert device.messages() == [(2, 3, "set", 2)]
    device.durable(2, "read", "b")
    device.durable(3, "read", "c")
    assert lamp.seen == ["a", "b", "c"]
    manager.emit("set", 3, client_id="d", durable=True)
    assert (3, 4, "set", 3) in [_line(packet) for packet in device.decoded()]


def test_a_sleeping_device(restart: Restart, lamp: Lamp) -> None:
    """A server that starts again does not wake it up."""
    clock = Clock()
    manager = restart(clock=clock)
    device = connect(manager)
    found = manager.device("d")
    assert found is not None
    found.sleeps(3600.0)
    device.drop()
    flush(manager)
    manager = restart(clock=clock)
    found = manager.device("d")
    assert found is not None
    for seconds, presence in ((3590.0, "sleeping"), (30.0, "late"), (20.0, "offline")):
        clock.now += seconds
        manager.sweep(clock.now)
        assert found.presence == presence


def _line(packet: v2.Decoded) -> tuple[int, int, str, Any] | None:
    return (packet.previous, packet.number, packet.event, packet.value) if isinstance(packet, v2.Packet) else None


def test_a_device_that_had_no_stream(restart: Restart, lamp: Lamp) -> None:
    from tests.support.memory import v1_device

    manager = restart()
    v1_device(manager, "d", "lamp").drop()
    flush(manager)
    manager = restart()
    assert manager.durable_messages.known_queue("d") is None
    manager.emit("set", 1, client_id="d", durable=True)
    manager = restart()
    device = connect(manager)
    assert device.messages() == [(0, 1, "set", 1)]
    stream = device.welcome["sends"]
    manager = restart()
    assert connect(manager).welcome["sends"] == stream


def test_the_number_of_a_message_that_is_over_is_not_given_again(restart: Restart) -> None:
    manager = restart()
    device = connect(manager)
    manager.emit("set", 1, client_id="d", durable=True)
    device.ack(1)
    stream = device.welcome["sends"]
    manager = restart()
    manager.emit("set", 2, client_id="d", durable=True)
    assert connect(manager, heard={"stream": stream, "upto": 1}).messages() == [(1, 2, "set", 2)]


def test_a_transaction(lamp: Lamp, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'iotio.db'}")
    with running(make_manager(lamp, store=store)) as manager:
        lamp.inside = lambda connection: connection.execute(sqlalchemy.text("CREATE TABLE mine (a)"))
        device = connect(manager, sends="S")
        device.durable(1, "write", "a")
        acknowledged(manager, device, 1)
        lamp.inside = lambda connection: connection.execute(sqlalchemy.text("INSERT INTO mine VALUES (1)"))
        device.durable(2, "write", "b")
        acknowledged(manager, device, 2)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'iotio.db'}")
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM mine")).scalar() == 1
    engine.dispose()


def test_one_transaction_that_fails_takes_no_other_with_it(lamp: Lamp) -> None:
    store = TroubledStore()
    with running(make_manager(lamp, store=store)) as manager:
        device = connect(manager, sends="S")
        flush(manager)
        store.answers.clear()
        done: list[int] = []
        for number in (1, 2, 3, 4):
            lamp.inside = _effect(done, number)
            device.durable(number, "write", number)
        device.durable(5, "read", 5)
        store.answers.set()
        acknowledged(manager, device, 5)
        assert [number for number in (1, 2, 4) if number in done] == [1, 2, 4]
        assert 3 not in done
        assert lamp.seen == [1, 2, 3, 4, 5]
        assert connect(manager, sends="S").welcome["heard"] == {"stream": "S", "upto": 5}


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("stored", [True, False])
def test_a_transaction_that_exits_ends_no_thread(lamp: Lamp, kind: type[BaseException], stored: bool) -> None:
    def exits(connection: Any) -> None:
        raise kind

    with running(make_manager(lamp, store=MemoryStore() if stored else None)) as manager:
        device = connect(manager, sends="S")
        lamp.inside = exits
        device.durable(1, "write", 1)
        lamp.inside = lambda connection: None
        device.durable(2, "write", 2)
        if stored:
            acknowledged(manager, device, 2)
        else:
            assert device.decoded()[-1] == v2.Ack(2)


def _effect(done: list[int], number: int) -> Callable[[Any], object]:
    def effect(connection: Any) -> None:
        if number == 3:
            raise ValueError("three")
        done.append(number)

    return effect


# -- a store that does not do what it should -------------------------------------------------------------


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "fails"])
def test_devices_do_not_notice(lamp: Lamp, hangs: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    store = TroubledStore()
    with running(make_manager(lamp, store=store, patience=0.2)) as manager:
        device = connect(manager, sends="S")
        flush(manager)
        if hangs:
            store.answers.clear()
        else:
            store.problem = StoreError("the disk is full")
        for number in range(3):
            with pytest.raises(StoreUnavailable):
                manager.emit("set", number, client_id="d", durable=True)
            assert manager.emit("plain", number, client_id="d")
        device.durable(1, "read", "a")
        device.durable(2, "write", "b")
        device.durable(3, "read", "c")
        assert lamp.seen == ["a", "b", "c"]
        assert [type(packet) for packet in device.decoded()] == [v2.Packet] * 3  # no ACK
        other = connect(manager, "other")
        assert other.connection.is_open
        assert device.connection.is_open
        store.problem = None
        store.answers.set()
        delivery = manager.emit("set", "kept", client_id="d", durable=True).delivery
        assert delivery is not None
        assert delivery.state is DeliveryState.SENT
        while connect(manager, "d", sends="S").welcome["heard"] != {"stream": "S", "upto": 3}:
            manager.sweep(0)
            flush(manager)
        assert lamp.seen == ["a", "b", "c"]
        said = [record.getMessage() for record in caplog.records if record.name == "iotio.store"]
        assert len([line for line in said if "cannot be written" in line]) == 1
        assert len([line for line in said if "can be written again" in line]) == 1


def test_too_many_transactions_wait(lamp: Lamp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iotio.core.durable.incoming.MAX_UNACKNOWLEDGED", 3)
    store = TroubledStore()
    with running(make_manager(lamp, store=store)) as manager:
        device = connect(manager, sends="S")
        flush(manager)
        store.answers.clear()
        for number in range(1, 7):
            device.durable(number, "write", number)
        assert not device.connection.is_open
        store.answers.set()
        flush(manager)
        flush(manager)
        welcome = connect(manager, sends="S").welcome
        heard = welcome["heard"]
        assert isinstance(heard, dict)
        assert heard["upto"] == 4  # one was being written, three waited


def test_a_file_that_is_locked(lamp: Lamp, tmp_path: Path) -> None:
    file = tmp_path / "iotio.db"
    with running(
        make_manager(lamp, store=SqlStore(SqliteDatabase(f"sqlite:///{file}", busy_timeout=0.05)), patience=0.2)
    ) as manager:
        device = connect(manager)
        flush(manager)
        with closing(sqlite3.connect(file)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                manager.emit("set", "lost", client_id="d", durable=True)
            assert manager.emit("plain", 1, client_id="d")
            assert len(device.decoded()) == 1
        manager.emit("set", "kept", client_id="d", durable=True)
        assert device.messages() == [(0, 2, "set", "kept")]
        flush(manager)
    with running(make_manager(lamp, store=open_store(f"sqlite:///{file}"))) as manager:
        assert connect(manager).messages() == [(0, 2, "set", "kept")]


def test_a_logging_handler_that_emits(lamp: Lamp) -> None:
    """What is refused is not logged where locks are held."""
    store = TroubledStore()
    logger = logging.getLogger("iotio.store")
    refused = threading.Event()

    class Forwarding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with suppress(StoreUnavailable):
                manager.emit("log", record.getMessage(), client_id="d", durable=True)
            refused.set()

    handler = Forwarding()
    with running(make_manager(lamp, store=store, patience=0.2)) as manager:
        assert manager.store_writer is not None
        manager.store_writer._max_batch = 0
        connect(manager)
        logger.addHandler(handler)
        try:
            with pytest.raises(StoreUnavailable, match="wait for it already"):
                manager.emit("set", 1, client_id="d", durable=True)
            assert refused.wait(LONG)
        finally:
            logger.removeHandler(handler)


async def test_what_is_replaced_takes_its_room_until_the_store_has_taken_the_next(lamp: Lamp) -> None:
    store = TroubledStore()
    with running(make_manager(lamp, store=store, max_queued_bytes=100)) as manager:
        connect(manager).drop()
        flush(manager)
        store.answers.clear()
        results = [manager.emit("set", "x" * 10, client_id="d", durable=True, coalesce="t") for _ in range(15)]
        assert [len(result.dropped) for result in results] == [0] * 10 + [1] * 5
        assert "max_queued_bytes" in results[-1].dropped["d"]
        store.answers.set()
        flush(manager)
        assert manager.durable_messages.waiting == 1
        assert not manager.emit("set", "x" * 90, client_id="d", durable=True, coalesce="t").dropped


def test_the_end_of_a_handler_of_a_device_that_is_forgotten(lamp: Lamp) -> None:
    manager = make_manager(lamp)
    lamp.inside = lambda connection: manager.forget("d")
    connect(manager, sends="S").durable(1, "write", "a")
    assert manager.device("d") is None
    assert manager.durable_messages.known_queue("d") is None


def test_a_file_that_is_deleted(lamp: Lamp, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    file = folder / "iotio.db"
    with running(make_manager(lamp, store=open_store(f"sqlite:///{file}"))) as manager:
        device = connect(manager, sends="S")
        manager.join("d", "room")
        manager.emit("set", 1, client_id="d", durable=True)
        device.durable(1, "read", "a")
        acknowledged(manager, device, 1)
        for part in folder.iterdir():
            part.unlink()
        manager.emit("set", 2, client_id="d", durable=True)
        stream = device.welcome["sends"]
    with running(make_manager(lamp, store=open_store(f"sqlite:///{file}"))) as manager:
        assert manager.rooms == {"room": ["d"]}
        device = connect(manager, sends="S")
        assert device.welcome["sends"] == stream
        assert device.welcome["heard"] == {"stream": "S", "upto": 1}
        assert device.messages() == [(0, 1, "set", 1), (1, 2, "set", 2)]


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'iotio.db'}"
    open_store(url).close()
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"UPDATE {SCHEMA_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"of a newer iotio.*install the newer iotio"):
        IoTManager(store=url)


@pytest.mark.parametrize("url", ["postgresql://host/name", "sqlite:////no/such/folder/iotio.db"])
def test_no_such_store(url: str) -> None:
    with pytest.raises(StoreError):
        IoTManager(store=url, options=Options())


def test_when_the_next_is_due(manager: Manager, clock: Clock) -> None:
    connect(manager).drop()
    assert manager.durable_messages.next_due == float("inf")
    manager.emit("set", 1, client_id="d", durable=True)
    assert manager.durable_messages.next_due == float("inf")
    manager.emit("set", 1, client_id="d", durable=True, ttl=60)
    manager.emit("set", 1, client_id="d", durable=True, ttl=30)
    assert manager.durable_messages.next_due == clock.now + 30
    clock.now += 60
    manager.sweep(clock.now)
    assert manager.durable_messages.next_due == float("inf")
