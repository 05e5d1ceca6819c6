"""`on_state`: once for each change, in order, bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from iotio import DeviceType, IoTClient, IoTManager
from iotio.core.handles import DeviceHandle
from iotio.state import notifier
from iotio.state.notifier import MAX_UNTOLD, Change, StateNotifier
from iotio_protocol.twin import State, Status
from tests.state.devices import ENDPOINTS, make_manager, the_device

Told = list[tuple[str, Any, Any]]


class Lamp(DeviceType):
    """Notes what it is told."""

    told: list[Any]

    def on_level(self, message: Any, client: IoTClient) -> None:
        self.told.append("handler")

    def on_state(self, device: DeviceHandle, endpoint_id: str, old: State, new: State) -> None:
        self.told.append((device.id, endpoint_id, old.reported, new.reported, new.status))


def test_each_change_is_told_once_behind_the_handler() -> None:
    kind = Lamp("lamp")
    kind.told = []
    with make_manager(kind).test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.send("level", 5)
        lamp.send("level", 5)
        lamp.report({"level": 6, "on": True})
        assert kind.told == [
            "handler",
            ("k", "level", None, 5, Status.CONFIRMED),
            "handler",
            ("k", "level", 5, 6, Status.CONFIRMED),
            ("k", "on", None, True, Status.CONFIRMED),
        ]


def test_sets_are_told_while_it_is_away_too() -> None:
    kind = Lamp("lamp")
    kind.told = []
    with make_manager(kind).test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.disconnect()
        the_device(lamp).set("level", 5, ttl=10)
        lamp.clock.advance(11)
        assert [status for *_, status in kind.told] == [Status.PENDING, Status.REJECTED]


def test_the_manager_is_told_behind_the_type() -> None:
    kind = Lamp("lamp")
    kind.told = []
    manager = make_manager(kind)

    @manager.event
    async def on_state(device: DeviceHandle, endpoint_id: str, old: State, new: State) -> None:
        kind.told.append("manager")

    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.report({"level": 5})
        assert kind.told == [("k", "level", None, 5, Status.CONFIRMED), "manager"]


def test_with_three_parameters_it_is_the_handler_of_an_event() -> None:
    class Old(DeviceType):
        """As programs for iot.io 0.4 have it."""

        seen: list[Any]

        def on_state(self, message: Any, client: IoTClient) -> str:
            return f"got {message}"

    with make_manager(Old("lamp")).test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.send("state", "x")
        assert lamp.expect("state") == "got x"
        lamp.report({"level": 5})


def test_what_it_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(DeviceType):
        """Fails."""

        def on_state(self, device: Any, endpoint_id: str, old: State, new: State) -> None:
            raise KeyError("mine")

    with make_manager(Broken("lamp")).test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        with pytest.raises(KeyError, match="mine"):
            lamp.report({"level": 5})
        assert "handler on_state of type 'lamp' failed for device 'k'" in caplog.text


class _Device:
    """A device, as the notifier sees it."""

    def __init__(self, name: str) -> None:
        self.id, self.type = name, "lamp"


def quiet() -> tuple[StateNotifier, list[Callable[[], None]]]:
    """A notifier whose threads do not run."""
    made = StateNotifier(IoTManager())
    waiting: list[Callable[[], None]] = []
    made.threads.spawn = waiting.append
    return made, waiting


def change(endpoint_id: str, old: int, new: int) -> Change:
    return Change(endpoint_id, State(endpoint_id, old), State(endpoint_id, new))


def test_a_slow_observer_hears_of_less() -> None:
    told: Told = []

    def observe(device: Any, endpoint_id: str, old: State, new: State) -> None:
        told.append((endpoint_id, old.reported, new.reported))

    made, waiting = quiet()
    cast("Any", made._manager).on_state = observe
    device = cast("DeviceHandle", _Device("k"))
    for number in range(1000):
        made.put(device, [change("a" if number % 2 else "b", number, number + 1)])
    assert made.merged == 1000 - MAX_UNTOLD
    for work in waiting:
        work()
    assert len(told) == MAX_UNTOLD
    assert told[-2:] == [("b", 62, 999), ("a", 63, 1000)]


def test_too_many_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "MAX_DEVICES", 10)
    made, _ = quiet()
    for number in range(20):
        made.put(cast("DeviceHandle", _Device(str(number))), [change("a", 0, 1)])
    assert (len(made._queues), made.merged) == (10, 10)
