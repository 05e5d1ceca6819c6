"""`on_presence`: where it comes from, what it may do, once for each change and in order."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import pytest

from iotio import DeviceHandle, DeviceType, Presence
from iotio.core.manager import Manager
from tests.support.hosts import eventually
from tests.support.memory import Clock, make_manager, v1_device
from tests.support.presence import Telling, here, later


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telling() -> Telling:
    return Telling()


@pytest.fixture
def manager(clock: Clock, telling: Telling) -> Manager:
    return here(make_manager(telling, clock=clock, ping_interval=0))


def test_the_types_comes_before_the_managers(manager: Manager, telling: Telling) -> None:
    @manager.event
    async def on_presence(client: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
        telling.told.append((f"manager {client.id}", str(old), str(new), str(reason)))

    v1_device(manager).drop()
    later(manager, 15.0)
    assert [one[0] for one in telling.told] == ["d1", "manager d1"] * 2


def test_on_presence_is_checked() -> None:
    class Wrong(DeviceType):
        def on_presence(self, client: Any) -> None:
            """Not enough."""

    manager = make_manager()
    with pytest.raises(TypeError, match=r"Wrong\.on_presence must take \(self, client, old, new, reason\)"):
        manager.add_type(Wrong("wrong"))

    def on_presence(client: Any) -> None:
        """Not enough."""

    with pytest.raises(TypeError, match="manager's on_presence must take"):
        manager.event(on_presence)


def test_a_handler_of_the_event_presence_stays_one() -> None:
    """A program for iot.io 0.4 may have one."""

    class Old(DeviceType):
        def on_presence(self, message: Any, client: Any) -> Any:
            return message

    device = v1_device(make_manager(Old("echo")))
    device.send("presence", 5)
    assert device.packets() == [("presence", 5)]


def test_what_on_presence_raises_is_logged(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    @manager.event
    def on_presence(client: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
        raise RuntimeError("boom")

    device = v1_device(manager)
    device.send("x", 1)
    device.drop()
    later(manager, 15.0)
    assert caplog.text.count("handler on_presence of type 'echo' failed for device 'd1'") == 2


def test_on_presence_may_use_the_manager(manager: Manager) -> None:
    seen: list[str] = []

    @manager.event
    def on_presence(client: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
        seen.append(str(new))
        if new is Presence.ONLINE:
            client.join("r")
            assert client.emit("hello", 1).sent == 1
        elif not client.forget():
            seen.append("unknown")

    device = v1_device(manager)
    assert device.packets() == [("hello", 1)]
    device.drop()
    later(manager, 15.0)
    assert (seen, len(manager.devices)) == (["online", "offline"], 0)


def test_a_slow_on_presence_delays_no_other_device_and_keeps_its_order(clock: Clock) -> None:
    go, slow_is_in = threading.Event(), threading.Event()
    told: list[tuple[str, str, str, str]] = []
    done = {name: threading.Event() for name in ("slow", "quick")}

    class Slow(DeviceType):
        def on_presence(self, client: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
            if client.id == "slow" and not told:
                slow_is_in.set()
                assert go.wait(10)
            told.append((client.id, str(old), str(new), str(reason)))
            if new is Presence.OFFLINE:
                done[client.id].set()

    manager = make_manager(Slow("echo", grace=0), clock=clock)
    first = threading.Thread(target=lambda: v1_device(manager, "slow").drop())
    first.start()
    assert slow_is_in.wait(10)
    second = v1_device(manager, "slow")
    second.drop()
    for _ in range(200):
        v1_device(manager, "slow").drop()
    assert len(manager.notifier._queues["slow"].items) <= 64
    go.set()
    first.join(10)
    quick = v1_device(manager, "quick")
    quick.drop()
    assert done["quick"].wait(10)
    assert done["slow"].wait(10)
    chain = [one for one in told if one[0] == "slow"]
    assert chain[0] == ("slow", "offline", "online", "connected")
    assert all(one[2] == two[1] for one, two in pairwise(chain))
    assert manager.notifier.merged > 0
    assert manager.notifier._queues == {}


def test_newcomers_wait_for_a_slow_on_presence(clock: Clock) -> None:
    """Each pushes out another one, which on_presence is to hear of."""
    go = threading.Event()
    forgotten: list[str] = []
    all_told = threading.Event()

    class Slow(DeviceType):
        def on_presence(self, client: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
            if str(reason) == "forgotten":
                assert go.wait(20)
                forgotten.append(client.id)
                if len(forgotten) == 1000:
                    all_told.set()

    manager = make_manager(Slow("echo"), clock=clock, max_devices=10, ping_interval=0)
    for number in range(1010):
        v1_device(manager, f"d{number}").drop()
        manager.sweep(clock())
    late = v1_device(manager, "late")
    assert late.packets() == [
        ("error", {"error": "server_busy", "info": {"limit": "on_presence", "most": 1000}}),
    ]
    assert v1_device(manager, "d1009").packets() == [], "who is known may come"
    assert len(manager.notifier._queues) <= 1010
    assert manager.notifier.threads._threads == 8
    go.set()
    assert all_told.wait(20)
    assert sorted(forgotten) == sorted(f"d{number}" for number in range(1000))
    eventually(lambda: not manager.notifier.n_forgotten)
    assert v1_device(manager, "late").packets() == []


def test_a_stuck_handler_keeps_no_presence_secret(clock: Clock) -> None:
    """The device is gone; its handler, and so its on_disconnect, will not end for a while."""
    entered, release, told = threading.Event(), threading.Event(), threading.Event()
    reasons: list[str] = []

    class Stuck(DeviceType):
        def on_wait(self, message: Any, client: Any) -> None:
            entered.set()
            assert release.wait(10)

        def on_presence(self, client: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
            reasons.append(str(reason))
            if new is Presence.OFFLINE:
                told.set()

    manager = make_manager(Stuck("echo"), clock=clock)
    device = v1_device(manager)
    thread = threading.Thread(target=device.send, args=("wait", 1))
    thread.start()
    assert entered.wait(10)
    manager.remove("d1")
    later(manager, 3.0)
    try:
        assert told.wait(10)
        assert reasons == ["connected", "removed"]
    finally:
        release.set()
        thread.join(10)
