"""The host of test clients: time, background work, its loop, its beginning and its end."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import flask
import pytest

from iotio import DeviceHandle, DeviceType, DisconnectReason, IoTClient, IoTManager, Options, Presence
from iotio.testing import host
from iotio_client import IoTClient as Device


class Sensor(DeviceType):
    async def on_measure(self, message: Any, client: IoTClient) -> Any:
        return message


@pytest.fixture
def manager() -> IoTManager:
    manager = IoTManager(options=Options(grace=20.0))
    manager.add_type(Sensor("sensor"))
    return manager


# Time.


def test_background_work_runs_as_often_and_in_the_order_in_which_it_would(manager: IoTManager) -> None:
    seen: list[tuple[float, str]] = []

    def note(what: str) -> None:
        seen.append((manager.clock() - begin, what))

    @manager.event
    async def on_start() -> None:
        await asyncio.sleep(0)
        seen.append((0.0, "start"))

    @manager.every(60)
    def minute() -> None:
        note("minute")

    @manager.every(90.5)
    async def later() -> None:
        await asyncio.sleep(0)
        note("later")

    @manager.event
    def on_stop() -> None:
        note("stop")

    with manager.test_client("hall", "sensor") as sensor:
        begin = sensor.clock()
        assert seen == [(0.0, "start")]
        sensor.clock.advance(200)
        assert seen[1:] == [(60, "minute"), (90.5, "later"), (120, "minute"), (180, "minute"), (181, "later")]
        for _ in range(400):
            sensor.clock.advance(1)
        assert [when for when, what in seen if what == "minute"] == [60.0 * number for number in range(1, 11)]
        before = time.monotonic()
        sensor.clock.advance(600)
        assert len([when for when, what in seen if what == "minute"]) == 20
        assert time.monotonic() - before < 60.0, "no real time passes"
    assert seen[-1] == (1200, "stop")


def test_each_thing_has_its_moment(manager: IoTManager) -> None:
    """And a day is quick: time jumps from one thing to the next."""
    seen: list[float] = []

    @manager.event
    def on_presence(device: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
        seen.append(manager.clock())

    with manager.test_client("hall", "sensor") as hall, manager.test_client("attic", "sensor") as attic:
        clock, begin = hall.clock, hall.clock()
        seen.clear()
        clock.advance(0.123)
        hall.sleep(3600)
        result = manager.emit("set", 1, to="hall", durable=True, ttl=7200.077)
        before = time.monotonic()
        clock.advance(24 * 3600)
        assert time.monotonic() - before < 60.0
        assert seen == pytest.approx([begin + 0.123, begin + 3620.123, begin + 3640.123], abs=1e-6)
        assert attic.connected
        assert result.deliveries["hall"].state == "expired"


def test_fractions_of_seconds(manager: IoTManager) -> None:
    turns: list[float] = []
    manager.every(0.1)(lambda: turns.append(manager.clock()))
    with manager.test_client("hall", "sensor") as sensor:
        for _ in range(10):
            sensor.clock.advance(0.1)
        assert len(turns) == 10
        sensor.clock.advance(1)
        assert len(turns) == 20


def test_presence(manager: IoTManager) -> None:
    seen: list[tuple[float, str, str]] = []

    @manager.event
    async def on_presence(device: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
        seen.append((manager.clock() - begin, new, reason))
        assert device.since.timestamp() == pytest.approx(manager.wall(), abs=1e-3)

    begin = manager.clock()
    with manager.test_client("hall", "sensor") as sensor:
        clock, begin = sensor.clock, sensor.clock()
        seen.clear()
        sensor.disconnect(DisconnectReason.TRANSPORT_CLOSED)
        clock.advance(19)
        assert seen == []
        clock.advance(1)
        assert seen == [(20, "offline", "transport_closed")]
        sensor.connect()
        sensor.sleep(600)
        clock.advance(640)
        sensor.connect()
        sensor.stop()
        assert seen[1:] == [
            (20, "online", "connected"),
            (20, "sleeping", "sleep"),
            (640, "late", "late"),
            (660, "offline", "late"),
            (660, "online", "connected"),
            (660, "offline", "goodbye"),
        ]
        handle = manager.device("hall")
        assert handle is not None
        assert handle.last_seen == handle.since


def test_old_protocols_cannot_announce_a_sleep(manager: IoTManager) -> None:
    with manager.test_client("hall", "sensor", protocol=1) as sensor:
        sensor.sleep(600)
        sensor.clock.advance(20)
        handle = manager.device("hall")
        assert handle is not None
        assert handle.presence is Presence.OFFLINE
        with pytest.raises(ValueError, match="seconds must be 0 to 4294967295, not -1"):
            sensor.sleep(-1)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_pings_are_sent_and_answered(manager: IoTManager, protocol: int) -> None:
    with manager.test_client("hall", "sensor", protocol=protocol) as sensor:
        client = manager.client("hall")
        assert client is not None
        sensor.clock.advance(3600)
        assert sensor.connected
        assert client.rtt == 0.0
        assert (manager.wall() - client.last_seen.timestamp()) <= manager.options.ping_interval + 1


def test_what_time_brings_and_raises_is_raised_at_the_end(manager: IoTManager) -> None:
    turns: list[float] = []

    @manager.every(10)
    def fails() -> None:
        turns.append(manager.clock())
        if len(turns) == 2:
            raise ValueError("the second time")

    @manager.event
    def on_presence(device: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
        if new is Presence.OFFLINE:
            raise LookupError("away")

    sensor = manager.test_client("hall", "sensor")
    with pytest.raises(ValueError, match="the second time"):
        sensor.clock.advance(100)
    assert len(turns) == 10
    sensor.disconnect()
    with pytest.raises(LookupError, match="away"):
        sensor.clock.advance(100)
    sensor.close()


async def test_time_in_a_coroutine(manager: IoTManager) -> None:
    turns: list[Any] = []

    @manager.every(10)
    def asks() -> None:
        turns.append(manager.call("hall", "measure"))

    with manager.test_client("hall", "sensor") as sensor:
        sensor.on("measure", lambda data: 21.5)
        sensor.clock.advance(30)
    assert turns == [21.5] * 3


# The beginning and the end.


def test_all_is_as_it_was_behind_the_last_test_client(manager: IoTManager) -> None:
    before = {"wall": manager.wall, "spawn": manager.notifier.threads.spawn, "loops": list(manager.loops)}
    first = manager.test_client("hall", "sensor")
    second = manager.test_client("attic", "sensor")
    assert first.clock is second.clock is manager.clock
    first.clock.advance(1000)
    first.close()
    assert manager.loops != []
    second.close()
    after = {"wall": manager.wall, "spawn": manager.notifier.threads.spawn, "loops": list(manager.loops)}
    assert after == before
    assert manager.log_throttle.on_error is None
    assert list(manager.devices) == []
    now = manager.clock()
    assert now <= manager.clock()


def test_a_manager_is_served_behind_its_tests(manager: IoTManager) -> None:
    with manager.test_client("hall", "sensor") as sensor:
        sensor.send("measure", 1)
        sensor.clock.advance(1000)
    with manager.started() as port:
        device = Device("attic", "sensor")
        with device.start(f"localhost:{port}", use_tls=False):
            device.wait_connected(10)
            assert device.call("measure", 5, timeout=10) == 5
    with manager.test_client("hall", "sensor") as sensor:
        sensor.send("measure", 2)
        assert sensor.expect("measure") == 2


def test_a_manager_that_serves_has_no_test_clients(manager: IoTManager) -> None:
    with manager.started(), pytest.raises(RuntimeError, match="the manager serves already, and a test client needs"):
        manager.test_client("hall", "sensor")


def test_a_manager_with_test_clients_is_not_served(manager: IoTManager) -> None:
    expected = "the manager has test clients, for which time stands still: close them first"
    with manager.test_client("hall", "sensor"):
        with pytest.raises(RuntimeError, match=expected):
            manager.start()
        with pytest.raises(RuntimeError, match=expected):
            manager.run()
    manager.start()
    manager.stop()


def test_a_closed_manager_has_no_test_clients(manager: IoTManager) -> None:
    manager.close()
    with pytest.raises(RuntimeError, match="the manager is closed: make another one for each test"):
        manager.test_client("hall", "sensor")


def test_work_that_a_request_has_begun_goes_on_by_the_clock_of_the_test() -> None:
    app = flask.Flask("home")
    manager = IoTManager(app)
    manager.add_type(Sensor("sensor"))
    turns: list[float] = []
    manager.every(60)(lambda: turns.append(manager.clock()))
    # It begins the work, with a thread that sweeps. In a thread, where no other test has left a hub of gevent.
    thread = threading.Thread(target=lambda: app.test_client().get("/"))
    thread.start()
    thread.join()
    assert manager.background.has_begun
    with manager.test_client("hall", "sensor") as sensor:
        sensor.clock.advance(600)
        assert len(turns) in (10, 11)


# Its loop.


def test_a_handler_that_does_not_end(manager: IoTManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "PATIENCE", 0.1)
    cancelled: list[str] = []

    class Slow(DeviceType):
        async def on_go(self, message: Any, client: IoTClient) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(client.id)
                raise

    manager.add_type(Slow("slow"))
    with manager.test_client("hall", "slow") as device:
        with pytest.raises(TimeoutError, match=r"^an async def still runs after 0.1 s, and the test waits for its end"):
            device.send("go")
        assert cancelled == ["hall"]


def test_tasks_of_handlers_are_cancelled_with_the_last_test_client(manager: IoTManager) -> None:
    ended: list[str] = []
    tasks: set[asyncio.Task[None]] = set()

    class Spawns(DeviceType):
        async def on_go(self, message: Any, client: IoTClient) -> None:
            async def for_ever() -> None:
                try:
                    await asyncio.sleep(60)
                finally:
                    ended.append(client.id)

            tasks.add(asyncio.get_running_loop().create_task(for_ever()))
            await asyncio.sleep(0)

    manager.add_type(Spawns("spawns"))
    with manager.test_client("hall", "spawns") as device:
        device.send("go")
    assert ended == ["hall"]


def test_handlers_share_a_loop(manager: IoTManager) -> None:
    """What one has made for its loop, such as a lock or a session, another may use."""
    loops: set[asyncio.AbstractEventLoop] = set()

    class Looks(DeviceType):
        async def on_connect(self, client: IoTClient) -> None:
            loops.add(asyncio.get_running_loop())

        async def on_look(self, message: Any, client: IoTClient) -> None:
            loops.add(asyncio.get_running_loop())

    manager.add_type(Looks("looks"))
    with manager.test_client("a", "looks") as a, manager.test_client("b", "looks") as b:
        a.send("look")
        b.send("look")
        assert len(loops) == 1


# With a store.


def test_devices_and_messages_over_a_restart(tmp_path: Path) -> None:
    def restart() -> IoTManager:
        manager = IoTManager(store=f"sqlite:///{tmp_path}/iotio.db")
        manager.add_type(Sensor("sensor"))
        return manager

    manager = restart()
    with manager.test_client("hall", "sensor") as sensor:
        for number in range(20):
            manager.emit("set", number, to="hall", durable=True)
            assert sensor.expect("set") == number
        sensor.disconnect()
        manager.emit("set", 20, to="hall", durable=True)
        manager.close()
    manager = restart()
    with manager.test_client("hall", "sensor") as again:
        assert again.expect("set") == 20
    manager.close()
