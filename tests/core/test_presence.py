"""What lasts of devices: rooms, presence, and the bound."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from iotio import DeviceHandle, DeviceType, DisconnectReason, Presence
from iotio.core.manager import Manager
from iotio.core.storage.records import DeviceState, read_json, write_json
from tests.support.memory import Clock, Device, make_manager, v1_device
from tests.support.presence import GRACE, Telling, here, known, later


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telling() -> Telling:
    return Telling()


@pytest.fixture
def manager(clock: Clock, telling: Telling) -> Manager:
    return here(make_manager(telling, clock=clock, ping_interval=0))


# A device.


def test_it_lasts(manager: Manager) -> None:
    assert manager.device("d1") is None
    first = v1_device(manager, data={"a": 1})
    device = known(manager)
    assert (device.id, device.type, device.data, device.connected) == ("d1", "echo", {"a": 1}, True)
    assert device.client is first.connection.client is manager.client("d1")
    assert device.client is not None
    assert device.client.device is device
    first.drop()
    assert (device.connected, known(manager).client, manager.clients) == (False, None, [])
    assert device.emit("x", 1).offline == ("d1",)
    second = v1_device(manager, data={"a": 2})
    assert known(manager) is device
    assert device.data == {"a": 2}
    assert device.emit("x", 1).sent == 1
    assert second.packets() == [("x", 1)]
    assert repr(device) == "<DeviceHandle 'd1' type='echo' online>"


def test_dates(manager: Manager, clock: Clock) -> None:
    before = datetime.now(UTC)
    device = v1_device(manager)
    assert before <= known(manager).since <= datetime.now(UTC)
    clock.now += 100.0
    assert (datetime.now(UTC) - known(manager).last_seen).total_seconds() == pytest.approx(100.0, abs=5.0)
    device.send("x", 1)
    clock.now += 10.0
    device.drop()
    clock.now += 1000.0
    assert (datetime.now(UTC) - known(manager).last_seen).total_seconds() == pytest.approx(10.0, abs=5.0)


def test_a_device_that_is_refused_is_none(manager: Manager) -> None:
    v1_device(manager, client_type="nosuch")
    assert len(manager.devices) == 0


def test_another_type(manager: Manager) -> None:
    manager.add_type(Telling("other"))
    v1_device(manager).drop()
    known(manager).join("r")
    v1_device(manager, client_type="other")
    assert known(manager).type == "other"
    assert manager.emit("x", 1, client_type="echo", room="r").sent == 0
    assert manager.emit("x", 1, client_type="other", room="r").sent == 1


# Rooms.


def test_rooms_survive(manager: Manager) -> None:
    first = v1_device(manager)
    manager.join("d1", "r")
    first.drop()
    assert manager.rooms == {"r": ["d1"]}
    assert known(manager).join("away")
    assert known(manager).rooms == ["away", "r"]
    second = v1_device(manager)
    assert manager.emit("x", 1, room="r").sent == manager.emit("y", 1, room="away").sent == 1
    assert second.packets() == [("x", 1), ("y", 1)]
    assert second.connection.client is not None
    assert second.connection.client.rooms == ["away", "r"]
    third = v1_device(manager)
    assert manager.emit("z", 1, room="r").sent == 1
    assert third.packets() == [("z", 1)]
    assert known(manager).leave("r")
    assert manager.rooms == {"away": ["d1"]}


def test_an_emit_names_the_members_that_are_away(manager: Manager) -> None:
    manager.add_type(Telling("other"))
    for name, kind in (("a", "echo"), ("b", "echo"), ("c", "other"), ("d", "echo")):
        device = v1_device(manager, name, kind)
        manager.join(name, "r")
        if name != "d":
            device.drop()
    result = manager.emit("x", 1, room="r")
    assert (result.sent, result.offline) == (1, ("a", "b", "c"))
    assert manager.emit("x", 1, client_type="echo", room="r").offline == ("a", "b")
    assert manager.emit("x", 1, room="r", skip=["a", known(manager, "c")]).offline == ("b",)
    assert manager.emit("x", 1, room="r", skip=known(manager, "d")).sent == 0
    assert manager.close_room("r") == 4
    assert manager.rooms == {}


# Presence.


def test_never_a_flap_within_the_grace_time(manager: Manager, telling: Telling) -> None:
    device = v1_device(manager)
    assert telling.take() == ["offline online connected"]
    for seconds in (0.0, 1.0, 14.9):
        device.drop()
        later(manager, seconds)
        assert known(manager).presence is Presence.ONLINE
        device = v1_device(manager)
    later(manager, 1000.0)
    assert telling.take() == []


def test_gone_for_longer(manager: Manager, telling: Telling) -> None:
    v1_device(manager).drop()
    later(manager, 15.0)
    assert telling.take() == ["offline online connected", "online offline transport_closed"]
    assert known(manager).presence is Presence.OFFLINE
    v1_device(manager).close()
    later(manager, 15.0)
    later(manager, 15.0)
    assert telling.take() == ["offline online connected", "online offline client_close"]


def test_the_type_has_its_own_grace_time(clock: Clock) -> None:
    quick, slow = Telling("quick", grace=0), Telling("slow", grace=100)
    manager = here(make_manager(quick, slow, clock=clock))
    v1_device(manager, "a", "quick").drop()
    assert quick.take() == ["offline online connected", "online offline transport_closed"]
    v1_device(manager, "b", "slow").drop()
    later(manager, 99.0)
    assert slow.take() == ["offline online connected"]
    later(manager, 1.0)
    assert slow.take() == ["online offline transport_closed"]
    with pytest.raises(ValueError, match=r"Options\.grace must not be negative"):
        manager.add_type(Telling("wrong", grace=-1))


def test_removed_is_offline_at_once(manager: Manager, telling: Telling) -> None:
    v1_device(manager)
    manager.remove("d1")
    assert telling.take() == ["offline online connected", "online offline removed"]
    assert known(manager).presence is Presence.OFFLINE
    v1_device(manager)
    assert telling.take() == ["offline online connected"]


def test_forget(manager: Manager, telling: Telling) -> None:
    first = v1_device(manager)
    device = known(manager)
    device.join("r")
    assert device.forget() is True
    assert telling.take() == ["offline online connected", "online offline forgotten"]
    assert first.close_code() == 1000
    assert (manager.device("d1"), manager.clients, manager.rooms, device.rooms) == (None, [], {}, [])
    assert device.forget() is manager.forget("d1") is manager.forget(device) is device.join("r") is False
    v1_device(manager).drop()
    assert known(manager) is not device
    assert telling.take() == ["offline online connected"]
    assert manager.forget("d1")
    assert telling.take() == ["online offline forgotten"]
    later(manager, 100.0)
    assert telling.take() == []
    with pytest.raises(TypeError, match="an IoTClient, a DeviceHandle, or several"):
        manager.forget(5)  # type: ignore[arg-type]  # that is the point


def test_sleep(manager: Manager, telling: Telling) -> None:
    device = v1_device(manager)
    known(manager).sleeps(60)
    assert known(manager).presence is Presence.ONLINE
    later(manager, 1.0)
    device.drop()
    assert telling.take() == ["offline online connected", "online sleeping sleep"]
    later(manager, 73.9)
    assert telling.take() == []
    later(manager, 0.1)
    assert telling.take() == ["sleeping late late"]
    later(manager, 15.0)
    assert telling.take() == ["late offline late"]


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
def test_impossible_sleep(manager: Manager, seconds: float) -> None:
    v1_device(manager)
    with pytest.raises(ValueError, match="cannot sleep for"):
        known(manager).sleeps(seconds)


def test_goodbye(manager: Manager, telling: Telling) -> None:
    device = v1_device(manager)
    known(manager).sleeps(60)
    known(manager).says_goodbye()
    device.close()
    assert telling.take() == ["offline online connected", "online offline goodbye"]


def test_a_takeover_is_no_change(manager: Manager, telling: Telling) -> None:
    v1_device(manager)
    known(manager).sleeps(1)
    second = v1_device(manager)
    later(manager, 1000.0)
    assert telling.take() == ["offline online connected"]
    second.drop()
    assert known(manager).presence is Presence.ONLINE


def test_a_shutdown_tells_nothing(manager: Manager, telling: Telling) -> None:
    v1_device(manager, "a")
    v1_device(manager, "b").drop()
    telling.take()
    manager.connections.begin_shutdown()
    for connection in manager.connections.all():
        connection.close(DisconnectReason.SERVER_SHUTDOWN)
    later(manager, 1000.0)
    assert telling.take() == []
    manager.connections.end_shutdown()  # the server starts again
    later(manager, 1000.0)
    assert telling.take() == []
    v1_device(manager, "a")
    later(manager, 15.0)
    assert telling.told == [("b", "online", "offline", "transport_closed")]


def test_restored(manager: Manager, telling: Telling) -> None:
    def stored(name: str, presence: Presence, rooms: tuple[str, ...] = ()) -> DeviceState:
        return DeviceState(name, "echo", write_json({"n": name}), rooms, presence, 1000.0, 2000.0)

    manager.presence.restore([stored("a", Presence.ONLINE, ("r",)), stored("b", Presence.OFFLINE)])
    device = known(manager, "a")
    assert device.snapshot() == stored("a", Presence.ONLINE, ("r",))
    assert device.last_seen.timestamp() == 2000.0
    assert device.since.timestamp() == 1000.0
    assert manager.emit("x", 1, room="r").offline == ("a",)
    later(manager, 14.0)
    v1_device(manager, "a")
    assert telling.take() == []
    assert manager.emit("x", 1, room="r").sent == 1
    manager.presence.restore([stored("c", Presence.ONLINE)])
    later(manager, 15.0)
    assert telling.told == [("c", "online", "offline", "transport_closed")]


@pytest.mark.parametrize(
    ("since", "wakes", "expected"),
    [
        (-40.0, 60.0, 60.0),  # it has slept for 40 seconds
        (-90.0, -30.0, 0.0),  # it should have been back before the server was
        (1e9, 1e9 + 60.0, 60.0),  # the machine's clock has lost the date
    ],
)
def test_a_restored_device_sleeps_on(
    manager: Manager, telling: Telling, since: float, wakes: float, expected: float
) -> None:
    now = time.time()
    stored = DeviceState("a", "echo", b"null", (), Presence.SLEEPING, now + since, now + since, now + wakes)
    manager.presence.restore([stored])
    assert known(manager, "a").snapshot() == stored
    later(manager, expected + GRACE - 2.0)
    assert telling.take() == []
    later(manager, 4.0)
    assert telling.take() == ["sleeping late late"]
    assert known(manager, "a").snapshot().wakes is None


# The recorder's hook.


class Recorder:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def changed(self, device: DeviceHandle) -> None:
        found = device.snapshot()
        self.heard.append((found.id, found.type, read_json(found.data), found.rooms, found.presence))

    def dropped(self, device: DeviceHandle) -> None:
        self.heard.append(device.id)

    def dropped_later(self) -> None:
        """Nothing is left to do."""

    def take(self) -> list[Any]:
        heard, self.heard = self.heard, []
        return heard


def test_the_recorder_hears_of_each_change(manager: Manager) -> None:
    manager.presence.recorder = recorder = Recorder()
    device = v1_device(manager, data=1)
    assert recorder.take() == [("d1", "echo", 1, (), Presence.ONLINE)]
    manager.join("d1", "r")
    manager.join("d1", "r")
    assert recorder.take() == [("d1", "echo", 1, ("r",), Presence.ONLINE)]
    device.drop()
    assert recorder.take() == [("d1", "echo", 1, ("r",), Presence.ONLINE)], "when it was seen last"
    v1_device(manager, data=1)
    assert recorder.take() == [("d1", "echo", 1, ("r",), Presence.ONLINE)], "it has come again"
    v1_device(manager, data=1)
    assert recorder.take() == []
    v1_device(manager, data=2).drop()
    assert recorder.take() == [("d1", "echo", 2, ("r",), Presence.ONLINE)] * 2
    later(manager, 15.0)
    assert recorder.take() == [("d1", "echo", 2, ("r",), Presence.OFFLINE)]
    manager.close_room("r")
    assert recorder.take() == [("d1", "echo", 2, (), Presence.OFFLINE)]
    manager.forget("d1")
    assert recorder.take() == ["d1"]


# The bound.


def test_who_is_forgotten_is_offline_and_in_no_room(
    clock: Clock, telling: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    manager = here(make_manager(telling, clock=clock, max_devices=3))
    for name in "abcabc":
        v1_device(manager, name).drop()
    v1_device(manager, "a").drop()
    manager.join("b", "r")
    telling.take()
    v1_device(manager, "d")
    assert sorted(device.id for device in manager.devices()) == ["a", "c", "d"]
    assert manager.rooms == {}
    assert manager.devices.forgotten == 1
    later(manager, 0.0)
    assert ("b", "online", "offline", "forgotten") in telling.told
    assert "1 devices that were away are forgotten: more than 3 devices have come (max_devices)" in caplog.text
    connected = [v1_device(manager, name) for name in "efgh"]
    assert sorted(device.id for device in manager.devices()) == list("def"), "who is connected is never forgotten"
    assert manager.refusals == {"server_busy": 2}
    connected[0].drop()
    v1_device(manager, "g")
    assert manager.device("e") is None
    with pytest.raises(ValueError, match=r"Options\.max_devices must be at least 1"):
        make_manager(max_devices=0)


def test_a_sweep_does_not_take_long(manager: Manager, telling: Telling) -> None:
    stored = [DeviceState(f"d{number}", "echo", b"null", (), Presence.ONLINE, 0.0, 0.0) for number in range(1500)]
    manager.presence.restore(stored)
    later(manager, 15.0)
    assert len(telling.told) == 1024
    later(manager, 0.2)
    assert len(telling.told) == 1500


def test_deadlines_do_not_pile_up(manager: Manager) -> None:
    for _ in range(1000):
        device = v1_device(manager)
        known(manager).sleeps(1e6)
        device.drop()
    assert len(manager.presence._deadlines) < 100


# Everything at once.

NAMES = ("a", "b", "c")


class World:
    """What a device should be like."""

    def __init__(self) -> None:
        self.connected = False
        self.presence = "offline"
        self.rooms: set[str] = set()
        self.gone_at = 0.0
        self.wakes: float | None = None
        self.farewell = False
        self.expected: list[tuple[str, str]] = []

    def become(self, presence: str) -> None:
        if presence != self.presence:
            self.expected.append((self.presence, presence))
            self.presence = presence


class Model(RuleBasedStateMachine):
    """Devices come, go, sleep, come back, are taken over and forgotten; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.telling = Telling(grace=GRACE)
        self.manager = here(make_manager(self.telling, clock=self.clock, ping_interval=0))
        self.worlds = {name: World() for name in NAMES}
        self.peers: dict[str, Device] = {}

    names = st.sampled_from(NAMES)

    @rule(name=names)
    def come(self, name: str) -> None:
        world = self.worlds[name]
        self.peers[name] = v1_device(self.manager, name)
        world.connected, world.wakes, world.farewell = True, None, False
        world.become("online")

    @rule(name=names, end=st.sampled_from([Device.drop, Device.close]))
    def go(self, name: str, end: Callable[[Device], None]) -> None:
        world = self.worlds[name]
        if world.connected:
            end(self.peers[name])
            world.connected, world.gone_at = False, self.clock.now
            if world.farewell:
                world.become("offline")
            elif world.wakes is not None:
                world.become("sleeping")

    @rule(name=names)
    def remove(self, name: str) -> None:
        world = self.worlds[name]
        assert self.manager.remove(name) is world.connected
        if world.connected:
            world.connected = False
            world.become("offline")

    @rule(name=names)
    def forget(self, name: str) -> None:
        world = self.worlds[name]
        self.manager.forget(name)
        world.connected = False
        world.rooms.clear()
        world.become("offline")

    @rule(name=names, seconds=st.integers(1, 60))
    def announce_sleep(self, name: str, seconds: int) -> None:
        world, device = self.worlds[name], self.manager.device(name)
        if device is not None:
            device.sleeps(seconds)
        if world.connected:
            world.wakes, world.farewell = self.clock.now + seconds, False

    @rule(name=names)
    def announce_farewell(self, name: str) -> None:
        world, device = self.worlds[name], self.manager.device(name)
        if device is not None:
            device.says_goodbye()
        world.farewell = world.connected

    @rule(name=names, room=st.sampled_from(["r", "q"]), enter=st.booleans())
    def room(self, name: str, room: str, enter: bool) -> None:
        rooms, there = self.worlds[name].rooms, self.manager.device(name) is not None
        if enter:
            assert self.manager.join(name, room) is there
            rooms |= {room} if there else set()
        else:
            assert self.manager.leave(name, room) is (room in rooms)
            rooms.discard(room)

    @rule(seconds=st.integers(0, 40))
    def time_passes(self, seconds: int) -> None:
        later(self.manager, seconds)
        now = self.clock.now
        for world in self.worlds.values():
            if world.connected:
                continue
            if world.presence == "online" and now >= world.gone_at + GRACE:
                world.become("offline")
            if world.presence == "sleeping" and world.wakes is not None and now >= world.wakes + GRACE:
                world.become("late")
            if world.presence == "late" and world.wakes is not None and now >= world.wakes + 2 * GRACE:
                world.become("offline")

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        manager = self.manager
        for name, world in self.worlds.items():
            told = [(old, new) for one, old, new, _ in self.telling.told if one == name]
            assert told == world.expected, "each real change once, in order"
            device = manager.device(name)
            if device is None:
                assert (world.presence, world.rooms) == ("offline", set())
                continue
            assert str(device.presence) == world.presence
            assert device.connected is world.connected is (name in manager.clients)
            assert device.rooms == sorted(world.rooms)
        for room in ("r", "q"):
            members = {name for name in NAMES if room in self.worlds[name].rooms}
            there = {name for name in members if self.worlds[name].connected}
            result = manager.emit("x", 1, room=room)
            assert (result.sent, set(result.offline)) == (len(there), members - there)
            assert set(manager.rooms.get(room, ())) == members
        assert set(manager.presence._absent) == {device.id for device in manager.devices() if not device.connected}
        assert manager.notifier._queues == {}


TestModel: Any = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_thousand_devices_drop_at_once_and_come_back(manager: Manager, telling: Telling) -> None:
    peers = [v1_device(manager, f"d{number}") for number in range(1000)]
    for number in range(1000):
        manager.join(f"d{number}", f"r{number % 50}")
    assert len(telling.take()) == 1000
    for peer in peers:
        peer.drop()
    assert manager.clients == []
    assert len(manager.emit("x", 1, room="r7").offline) == 20
    assert len(manager.devices(presence="online")) == 1000
    later(manager, 14.9)
    for number in range(1000):
        v1_device(manager, f"d{number}")
    later(manager, 1000.0)
    assert telling.take() == []
    for number in range(1000):
        device = known(manager, f"d{number}")
        assert (device.presence, device.connected, device.rooms) == (Presence.ONLINE, True, [f"r{number % 50}"])
    for number in range(50):
        result = manager.emit("x", 1, room=f"r{number}")
        assert (result.sent, result.offline) == (20, ())


@pytest.mark.parametrize("_", range(5))
def test_threads(_: int) -> None:
    """Devices come, go and are forgotten while others look; nothing is left behind."""
    telling = Telling(grace=0)
    manager = make_manager(telling, clock=Clock())
    problems: list[BaseException] = []

    def run(work: Callable[[int], None]) -> None:
        try:
            for turn in range(60):
                work(turn)
        except BaseException as error:
            problems.append(error)

    def live(turn: int) -> None:
        device = v1_device(manager, f"d{turn % 3}")
        manager.join(f"d{turn % 3}", "r")
        device.drop()

    def look(turn: int) -> None:
        manager.emit("x", turn, room="r")
        manager.devices(room="r", presence="online")
        manager.sweep(manager.clock())
        manager.forget(f"d{turn % 3}")

    threads = [threading.Thread(target=run, args=(work,)) for work in (live, live, look, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert problems == []
    here(manager)
    for device in manager.devices():
        assert not device.connected
        assert device.presence is Presence.OFFLINE
        device.forget()
    assert (manager.rooms, manager.registry._away, manager.registry._rooms) == ({}, {}, {})
    assert manager.presence._absent == {}


def test_when_the_next_is_due() -> None:
    clock = Clock()
    manager = make_manager(DeviceType("echo"), clock=clock)
    assert manager.presence.next_due == float("inf")
    v1_device(manager).drop()
    assert manager.presence.next_due == clock.now + manager.options.grace
    clock.now += manager.options.grace
    manager.sweep(clock.now)
    assert manager.presence.next_due == float("inf")
