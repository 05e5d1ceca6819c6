"""What devices say of their endpoints, and what is recorded of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from iotio import DeviceType, IoTClient, IoTManager
from iotio.endpoints import Endpoint
from iotio.testing import FakeDevice
from iotio.testing.device import Refused
from iotio.testing.wire import client_frame
from iotio_protocol import v2
from iotio_protocol.frames import BINARY
from iotio_protocol.twin import Status
from tests.state.devices import ENDPOINTS, make_manager, the_device


class Sink:
    """Records in memory."""

    def __init__(self) -> None:
        self.readings: list[tuple[str, str, int, Any]] = []
        self.forgotten: list[str] = []

    def record(self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Any]]) -> None:
        self.readings += [(device_id, endpoint.id, time, value) for time, value in readings]

    def record_durably(
        self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Any]]
    ) -> Callable[[Any], object]:
        return lambda connection: self.record(device_id, endpoint, readings)

    def forget(self, device_id: str) -> None:
        self.forgotten.append(device_id)

    @property
    def values(self) -> list[tuple[str, Any]]:
        return [(name, value) for _, name, _, value in self.readings]


class Lamp(DeviceType):
    """Looks at its twin in its handlers."""

    seen: list[Any]

    def on_level(self, message: Any, client: IoTClient) -> None:
        self.seen.append(("level", message, client.state["level"].reported))

    async def on_on(self, message: Any, client: IoTClient) -> None:
        self.seen.append(("on", message, client.state["on"].reported))

    def on_event(self, event: str, data: Any, client: IoTClient) -> None:
        self.seen.append((event, data))


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def kind() -> Lamp:
    kind = Lamp("lamp")
    kind.seen = []
    return kind


@pytest.fixture
def manager(sink: Sink, kind: Lamp) -> IoTManager:
    return make_manager(kind, history=sink)


@pytest.fixture
def lamp(manager: IoTManager) -> Iterator[FakeDevice]:
    with manager.test_client("kitchen", "lamp", endpoints=ENDPOINTS) as lamp:
        yield lamp


def counters(lamp: FakeDevice) -> dict[str, int]:
    client = the_device(lamp).client
    assert client is not None
    return client.counters


def ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def now(lamp: FakeDevice) -> datetime:
    return datetime.fromtimestamp(lamp._manager.wall(), UTC)


@pytest.mark.parametrize("protocol", [2, 1])
def test_the_twin_changes_before_the_handler_runs(manager: IoTManager, kind: Lamp, sink: Sink, protocol: int) -> None:
    with manager.test_client("kitchen", "lamp", endpoints=ENDPOINTS, protocol=protocol) as lamp:
        lamp.send("level", 7)
        lamp.send("on", True)
        lamp.send("heat", "20.5")
        assert kind.seen == [("level", 7, 7), ("on", True, True), ("heat", "20.5")]
        assert sink.values == [("level", 7), ("on", True), ("heat", 20.5)]


def test_reports_do_not_reach_on_event(lamp: FakeDevice, kind: Lamp, sink: Sink) -> None:
    lamp.report({"level": 7})
    lamp.send("$readings", {"v": {"heat": [[-1000, 20], [0, 21]]}})
    lamp.send("$later", 5)
    assert kind.seen == []
    assert sink.values == [("level", 7), ("heat", 20.0), ("heat", 21.0)]
    assert the_device(lamp).state["heat"].reported == 21.0
    assert counters(lamp)["unhandled"] == 1


def test_the_value_that_a_device_has_since_a_set_is_recorded(lamp: FakeDevice, sink: Sink) -> None:
    lamp.on("level", lambda value: 60)
    assert the_device(lamp).set("level", 55).wait(5)
    assert sink.values == [("level", 60)]
    assert not the_device(lamp).set("on", True).wait(5)  # it has no handler
    assert sink.values == [("level", 60)]


def test_what_no_endpoint_takes(lamp: FakeDevice, sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "iotio")
    lamp.send("level", "high")
    lamp.report({"level": None, "nix": 1, "push": True, "on": True})
    lamp.send("$readings", {"v": {"nix": [[0, 1], [0, 2]], "level": [[0, "x"], [0, 5]]}})
    lamp.send("text", "x" * 2000)
    assert counters(lamp)["invalid_report"] == 8
    assert sink.values == [("on", True), ("level", 5)]
    assert [line for line in caplog.messages if "reports" in line] == [
        "device 'kitchen' reports what its endpoint 'level' does not take, or has no such endpoint; it is dropped"
    ]


@pytest.mark.parametrize(
    ("event", "value"),
    [("$report", [1]), ("$report", {str(n): n for n in range(6)}), ("$readings", {"v": 5}), ("$readings", None)],
)
def test_what_has_another_form_is_refused_with_words(lamp: FakeDevice, event: str, value: Any) -> None:
    with pytest.raises(Refused, match=r"report|readings"):
        lamp.send(event, value)
    assert counters(lamp)["invalid_report"] == 1
    assert counters(lamp)["invalid"] == 1
    assert lamp.connected


def test_a_call_of_an_endpoint_is_no_report(lamp: FakeDevice, sink: Sink) -> None:
    lamp.call("level", 5)
    assert the_device(lamp).state["level"].status is Status.UNKNOWN
    assert sink.values == []


def test_a_report_of_another_time(lamp: FakeDevice, sink: Sink) -> None:
    device = the_device(lamp)
    when = now(lamp) - timedelta(hours=1)
    lamp.report({"level": 1}, time=when)
    assert device.state["level"].reported_at is not None
    assert ms(device.state["level"].reported_at) == ms(when)
    lamp.report({"level": 2}, time=when - timedelta(hours=1))  # late: recorded, and nothing else
    assert device.state["level"].reported == 1
    lamp.report({"level": 3})
    assert device.state["level"].reported == 3
    assert [(value, time) for _, _, time, value in sink.readings][:2] == [
        (1, ms(when)),
        (2, ms(when - timedelta(hours=1))),
    ]


def test_a_clock_that_is_ahead(lamp: FakeDevice, sink: Sink) -> None:
    lamp.report({"level": 1}, time=now(lamp) + timedelta(hours=23))
    lamp.report({"level": 2}, time=now(lamp) + timedelta(days=400))
    lamp.send("$readings", {"t": ms(now(lamp) + timedelta(days=400)), "v": {"on": [[0, True]]}})
    assert counters(lamp)["wrong_clock"] == 2
    assert [time <= ms(now(lamp)) for _, _, time, _ in sink.readings] == [False, True, True]


def test_an_echo_is_not_recorded(manager: IoTManager, sink: Sink) -> None:
    with manager.test_client("old", "lamp", endpoints=ENDPOINTS, protocol=1) as lamp:
        the_device(lamp).set("level", 5)
        lamp.send("level", 5)
        assert sink.values == []
        lamp.send("level", 6)
        assert sink.values == [("level", 6)]


def test_what_is_not_recorded(manager: IoTManager, sink: Sink) -> None:
    endpoints = [{"id": "a", "name": "A", "type": "integer", "history": False}]
    with manager.test_client("quiet", "lamp", endpoints=endpoints) as lamp:
        lamp.report({"a": 1})
        assert the_device(lamp).state["a"].reported == 1
    assert sink.values == []
    assert sink.forgotten == ["quiet"]


def test_hello_is_recorded(lamp: FakeDevice, sink: Sink) -> None:
    lamp.connect({"level": 4, "heat": "x"})
    assert sink.values == [("level", 4)]
    assert counters(lamp)["invalid_report"] == 1


def test_a_program_reports(lamp: FakeDevice, sink: Sink) -> None:
    the_device(lamp).report({"level": 4}, datetime(2020, 1, 1, tzinfo=UTC))
    assert sink.readings == [("kitchen", "level", 1577836800000, 4)]


@pytest.mark.parametrize("event", ["$report", "level"])
def test_durable_reports_are_recorded_once(lamp: FakeDevice, sink: Sink, event: str) -> None:
    lamp.send(event, {"level": 5} if event == "$report" else 5, durable=True)
    assert sink.values == [("level", 5)]
    sent = lamp._stream
    assert sent is not None
    packet = v2.encode(event, {"level": 5} if event == "$report" else 5, v2.DURABLE, number=1, previous=0)

    sent.send(client_frame(BINARY, packet))
    assert sink.values == [("level", 5)]
