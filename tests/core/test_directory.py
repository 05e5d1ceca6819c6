"""`manager.devices`: a mapping of the known devices, and a search."""

from __future__ import annotations

from typing import Any

import pytest

from iotio import DeviceType, Presence
from iotio.core.manager import Manager
from tests.support.memory import Clock, make_manager, v1_device


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(clock: Clock) -> Manager:
    return make_manager(DeviceType("echo"), clock=clock, ping_interval=0)


def test_queries(manager: Manager, clock: Clock) -> None:
    manager.add_type(DeviceType("lamp"))
    v1_device(manager, "kitchen-1", "lamp", {"floor": "Ground"})
    v1_device(manager, "kitchen-2", "echo").drop()
    v1_device(manager, "hall", "lamp").drop()
    manager.join("hall", "r")
    manager.join("kitchen-1", "r")
    clock.now += 15.0
    manager.sweep(clock.now)

    def found(**query: Any) -> list[str]:
        return [device.id for device in manager.devices(**query)]

    assert found() == ["kitchen-1", "kitchen-2", "hall"]
    assert len(manager.devices) == 3
    assert found(type="lamp") == ["kitchen-1", "hall"]
    assert found(room="r") == ["kitchen-1", "hall"]
    assert found(presence="online") == found(presence=Presence.ONLINE) == ["kitchen-1"]
    assert found(text="KITCHEN") == ["kitchen-1", "kitchen-2"]
    assert found(text="ground") == ["kitchen-1"]
    assert found(text="lamp", room="r", presence="offline", type="lamp") == ["hall"]
    assert found(room="nosuch") == found(type="nosuch") == found(text="nosuch") == []
    with pytest.raises(ValueError, match="nosuch"):
        manager.devices(presence="nosuch")


def test_a_mapping(manager: Manager) -> None:
    devices = manager.devices
    assert (list(devices), len(devices), bool(devices), "a" in devices) == ([], 0, False, False)
    v1_device(manager, "b")
    v1_device(manager, "a").drop()
    assert list(devices) == ["b", "a"], "in the order in which they came first"
    assert devices["a"] is manager.device("a")
    assert devices.get("a") is devices["a"]
    assert devices.get("c") is None
    assert ("a" in devices, "c" in devices) == (True, False)
    assert list(devices.values()) == [devices["b"], devices["a"]]
    assert list(devices.items()) == [("b", devices["b"]), ("a", devices["a"])]
    assert dict(devices) == {"b": devices["b"], "a": devices["a"]}
    assert repr(devices) == "<Directory of 2 devices>"
    with pytest.raises(KeyError, match="c"):
        devices["c"]


def test_a_device_that_is_forgotten_ends_no_iteration(manager: Manager) -> None:
    for name in "abc":
        v1_device(manager, name)
    for walk in (iter(manager.devices), iter(manager.devices.items()), iter(manager.devices.values())):
        next(walk)
        manager.forget("b")
        assert len(list(walk)) == 2
        v1_device(manager, "b")


def test_nothing_else_is_public(manager: Manager) -> None:
    named = {name for name in dir(manager.devices) if not name.startswith("_")}
    assert named == {"get", "items", "keys", "values", "forgotten"}
