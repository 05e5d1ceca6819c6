"""Who is connected and who is in which room."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from iotio import IoTClient
from iotio.core.registry import Registry


def client(client_id: str, client_type: str = "echo") -> IoTClient:
    return IoTClient(cast(Any, None), client_id, client_type, {}, cast(Any, None))


def ids(clients: list[IoTClient]) -> list[str]:
    return [one.id for one in clients]


@pytest.fixture
def registry() -> Registry:
    found = Registry()
    for client_id, client_type in (("a", "echo"), ("b", "echo"), ("c", "other")):
        found.swap(client(client_id, client_type))
    return found


def known(registry: Registry, client_id: str) -> IoTClient:
    found = registry.get(client_id)
    assert found is not None
    return found


def test_clients(registry: Registry) -> None:
    assert len(registry.ids()) == 3
    assert registry.ids() == ["a", "b", "c"]
    assert registry.get("x") is None
    copy = registry.ids()
    copy.clear()
    assert registry.ids() == ["a", "b", "c"]


def test_audience(registry: Registry) -> None:
    for client_id in ("b", "c"):
        registry.join(known(registry, client_id), "r")
    assert ids(registry.audience()) == ["a", "b", "c"]
    assert ids(registry.audience("echo")) == ["a", "b"]
    assert ids(registry.audience(room="r")) == ["b", "c"]
    assert ids(registry.audience("other", "r")) == ["c"]
    assert registry.audience("nosuch") == registry.audience(room="nosuch") == registry.audience("echo", "x") == []


def test_swap_and_discard_know_which_connection_they_mean(registry: Registry) -> None:
    old = known(registry, "a")
    registry.join(old, "r")
    new = client("a", "other")
    assert registry.swap(new) is old
    assert registry.rooms_of(old) == registry.rooms_of(new) == ["r"], "they are the device's"
    assert registry.audience(room="r") == [new]
    assert ids(registry.audience("echo")) == ["b"]
    assert registry.discard(old) is False
    assert registry.audience(room="r") == [new]
    assert registry.get("a") is new
    assert registry.discard(new) is True
    assert registry.discard(new) is False
    assert registry.ids() == ["b", "c"]
    assert registry.members("r") == ([], [registry.device("a")])
    assert registry.rooms() == {"r": ["a"]}


def test_rooms_are_sets_and_go_with_the_last(registry: Registry) -> None:
    a, b = known(registry, "a"), known(registry, "b")
    for _ in range(3):
        assert registry.join(a, "r")
    assert registry.join(b, "r")
    assert registry.join(a, "q")
    assert registry.rooms() == {"r": ["a", "b"], "q": ["a"]}
    assert registry.rooms_of(a) == ["q", "r"]
    assert registry.leave(a, "r") is True
    assert registry.leave(a, "r") is False
    assert registry.leave(a, "nosuch") is False
    assert registry.discard(b)
    assert registry.rooms() == {"q": ["a"], "r": ["b"]}
    assert registry.close_room("q") == 1
    assert registry.close_room("q") == 0
    assert registry.close_room("r") == 1
    assert registry.rooms() == {}
    assert registry.rooms_of(a) == registry.rooms_of(b) == []
    assert (registry._rooms, registry._away) == ({}, {})


def test_leaving_costs_the_own_rooms_only(registry: Registry) -> None:
    """A thousand rooms of others are not looked at."""
    others = known(registry, "b")
    for number in range(1000):
        registry.join(others, f"room-{number}")

    class Watched(dict[str, dict[IoTClient, None]]):
        touched = 0

        def get(self, key: str, default: Any = None) -> Any:
            Watched.touched += 1
            return super().get(key, default)

        def __iter__(self) -> Any:
            raise AssertionError("all rooms are walked through")

        keys = values = items = __iter__

    registry._rooms = Watched(registry._rooms)
    registry.join(known(registry, "a"), "mine")
    registry.discard(known(registry, "a"))
    assert Watched.touched == 1


def test_devices_stay_and_can_be_forgotten(registry: Registry) -> None:
    device = registry.device("a")
    assert device is not None
    assert registry.join(device, "r")
    registry.discard(known(registry, "a"))
    assert registry.device("a") is device
    assert len(registry) == 3
    assert registry.join(device, "q")
    assert registry.members("q", "other") == ([], [])
    again = client("a")
    registry.swap(again)
    assert (again.device, registry.members("q")) == (device, ([again], []))
    assert registry.forget(device) is True
    assert registry.forget(device) is registry.join(again, "r") is registry.leave(device, "r") is False
    assert registry.rooms() == {}
    assert [one.id for one in registry.devices()] == ["b", "c"]
    registry.discard(again)
    registry.swap(client("a"))
    assert registry.device("a") is not device
    assert registry.enter(device) is False, "the id is known again"


def test_many_threads() -> None:
    registry = Registry()
    problems: list[BaseException] = []
    stop = threading.Event()

    def work(number: int) -> None:
        try:
            for round_ in range(200):
                one = client(f"d{round_ % 3}", f"t{number % 2}")
                registry.swap(one)
                registry.join(one, f"r{round_ % 5}")
                registry.leave(one, f"r{(round_ + 1) % 5}")
                registry.discard(one)
        except BaseException as error:
            problems.append(error)

    def read() -> None:
        try:
            while not stop.is_set():
                registry.rooms()
                registry.audience("t0", "r1")
                registry.ids()
                registry.close_room("r2")
        except BaseException as error:
            problems.append(error)

    reader = threading.Thread(target=read)
    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    reader.start()
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(20)
    stop.set()
    reader.join(20)
    assert problems == []
    for left in registry.audience():
        registry.discard(left)
    assert (registry.ids(), registry._types, registry._rooms) == ([], {}, {})
