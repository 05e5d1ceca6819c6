"""Reports of devices: what is checked, what travels, and what the server knows after a connection was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from iotio import DeviceType, IoTManager
from iotio_client import AsyncIoTClient, Buffer, EndpointConstraint, EndpointInfo, EndpointType, IoTClient
from iotio_client.errors import InvalidEndpoint, NotConnected
from iotio_client.identity import Identity
from iotio_client.reports import MAX_STATE, Reports
from tests.support.hosts import eventually

TEMPERATURE = EndpointInfo("Temperature", EndpointType.FLOAT, unit="°C", class_="temperature")
LEVEL = EndpointInfo("Level", EndpointType.INTEGER, constraints=EndpointConstraint(min_v=0, max_v=100))
PUSH = EndpointInfo("Push", EndpointType.BOOLEAN, access="write")


def declared(client: Any) -> Any:
    """The client, with a sensor and a level that takes at most 50."""
    client.sensor("temperature", TEMPERATURE)
    if isinstance(client, AsyncIoTClient):

        @client.on("level", LEVEL)
        async def set_level_later(message: int) -> int:
            return min(message, 50)

    else:
        client.on("level", LEVEL)(lambda message: min(message, 50))

    return client


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[IoTManager]:
    with closing(IoTManager(store=f"sqlite:///{tmp_path}/iotio.db")) as manager:
        manager.add_type(DeviceType("sensor"))
        yield manager


@pytest.fixture
def port(manager: IoTManager) -> Iterator[int]:
    yield manager.start()
    manager.stop()


def reported(manager: IoTManager) -> dict[str, Any]:
    device = manager.device("a")
    return {} if device is None else {name: one.reported for name, one in device.state.items()}


def readings(manager: IoTManager) -> list[tuple[datetime, float]]:
    device = manager.device("a")
    assert device is not None
    return [(one.start, one.last) for one in device.history("temperature", points=None).buckets]


def test_the_declaration_of_a_sensor() -> None:
    client = declared(IoTClient("a", "sensor"))
    assert client._session.identity.endpoints["temperature"] == {
        "id": "temperature",
        "name": "Temperature",
        "type": "float",
        "specialId": None,
        "constraints": None,
        "unit": "°C",
        "class": "temperature",
        "access": "read",
    }


def test_a_declaration_without_new_fields_is_as_before() -> None:
    assert EndpointInfo("On", EndpointType.BOOLEAN).get_info("on") == {
        "id": "on",
        "name": "On",
        "type": "boolean",
        "specialId": None,
        "constraints": None,
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"unit": "x" * 17}, "unit_too_long"),
        ({"access": "none"}, "invalid_access"),
        ({"class_": 1}, "class_must_be_string"),
        ({"total": 1}, "total_must_be_boolean"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidEndpoint, match=words):
        EndpointInfo("A", EndpointType.FLOAT, **fields).get_info("a")


@pytest.mark.parametrize(
    ("endpoint_id", "info", "error", "words"),
    [
        ("", TEMPERATURE, ValueError, "must not be empty"),
        (1, TEMPERATURE, TypeError, "the id of an endpoint is a str, not 1"),
        ("a", "Temperature", TypeError, "takes an EndpointInfo beside the id, not 'Temperature'"),
        ("a", PUSH, InvalidEndpoint, "its access cannot be 'write'"),
    ],
)
def test_a_wrong_sensor(endpoint_id: Any, info: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        IoTClient("a", "sensor").sensor(endpoint_id, info)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temprature": 1}, "'temprature' is no endpoint of this device; did you mean 'temperature'"),
        ({"x": 1}, r"'x' is no endpoint of this device; declare it with client\.sensor\(\) or client\.on\(\)"),
        ({"level": "high"}, "endpoint 'level' is of type integer, so it cannot be 'high'"),
        ({"temperature": 1.0, "level": None}, "endpoint 'level' is of type integer, so it cannot be None"),
        ({"push": True}, "endpoint 'push' is declared with access 'write', so it reports nothing"),
        ({}, r"takes values by endpoint id, as in \{'level': 5\}, not \{\}"),
        ("level", "takes values by endpoint id"),
    ],
)
def test_what_cannot_be_reported(values: Any, words: str) -> None:
    client = declared(IoTClient("a", "sensor"))
    client.on("push", PUSH)(lambda message: None)
    with pytest.raises(InvalidEndpoint, match=words):
        client.report(values)
    assert client._session.reports.for_hello() == {}


@pytest.mark.parametrize("version", [2, 1, 0])
def test_the_server_knows_it_at_once_and_after_a_time_away(manager: IoTManager, port: int, version: int) -> None:
    if version == 0:
        from iotio.endpoints import FloatEndpoint, IntegerEndpoint

        old = DeviceType("sensor")
        old.endpoints = [FloatEndpoint("temperature", "T"), IntegerEndpoint("level", "L")]
        manager.add_type(old)
    client = declared(IoTClient("a", "sensor", protocol_version=version))
    client.report({"temperature": 20, "level": 7})  # before there is a connection
    client.start(f"127.0.0.1:{port}")
    try:
        eventually(lambda: reported(manager) == {"temperature": 20.0, "level": 7})
        client.report({"temperature": 21.5})
        eventually(lambda: reported(manager)["temperature"] == 21.5)
    finally:
        client.stop()
    client.report({"temperature": 22.5})
    client.start(f"127.0.0.1:{port}")
    try:
        eventually(lambda: reported(manager) == {"temperature": 22.5, "level": 7})
    finally:
        client.stop()


def test_the_value_in_force_is_what_the_next_hello_says(manager: IoTManager, port: int) -> None:
    client = declared(IoTClient("a", "sensor"))
    client.start(f"127.0.0.1:{port}")
    try:
        client.wait_connected(5)
        assert manager.set("a", "level", 80).wait(5)
        assert client._session.reports.for_hello() == {"level": 50}
    finally:
        client.stop()


async def test_the_async_client(manager: IoTManager, port: int) -> None:
    client = declared(AsyncIoTClient("a", "sensor"))
    await client.report({"temperature": 20})
    running = asyncio.create_task(client.run_async(f"127.0.0.1:{port}"))
    await client.wait_connected(5)
    await client.report({"level": 7})
    await asyncio.to_thread(eventually, lambda: reported(manager) == {"temperature": 20.0, "level": 7})
    client.stop()
    await running


def test_a_report_of_an_earlier_time(manager: IoTManager, port: int) -> None:
    client = declared(IoTClient("a", "sensor"))
    earlier = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    with pytest.raises(NotConnected):
        client.report({"temperature": 19}, time=earlier)
    sent = []
    for version in (2, 1):
        client = declared(IoTClient("a", "sensor", protocol_version=version))
        client.start(f"127.0.0.1:{port}")
        try:
            client.wait_connected(5)
            client.report({"temperature": 18 + version}, time=earlier + timedelta(minutes=version))
            sent.append((earlier + timedelta(minutes=version), 18.0 + version))
            eventually(lambda: readings(manager) == sorted(sent))
        finally:
            client.stop()


def test_durable_readings_have_their_times(manager: IoTManager, port: int) -> None:
    client = declared(IoTClient("a", "sensor", buffer=Buffer()))
    times = [datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes) for minutes in (30, 20, 10)]
    for number, time in enumerate(times):
        client.report({"temperature": number}, durable=True, time=time)
    assert client.waiting == 3
    client.start(f"127.0.0.1:{port}")
    try:
        client.flush(5)
        assert readings(manager) == list(zip(times, (0.0, 1.0, 2.0), strict=True))
    finally:
        client.stop()


def test_what_is_too_large_for_hello_is_said_behind_it() -> None:
    info = EndpointInfo("Text", EndpointType.STRING)
    identity = Identity("a", "sensor", {}, {f"t{number}": info.get_info(f"t{number}") for number in range(40)})
    reports = Reports(identity)
    values = dict.fromkeys(identity.endpoints, "x" * 1000)
    assert len(values) * 1000 > MAX_STATE
    reports.take(values, is_now=True)
    assert reports.for_hello() == {}
    assert reports.unsaid() == values


def test_what_hello_has_said_is_not_said_again() -> None:
    reports = Reports(declared(IoTClient("a", "sensor"))._session.identity)
    reports.take({"level": 1, "temperature": 2}, is_now=True)
    assert reports.for_hello() == {"level": 1, "temperature": 2.0}
    assert reports.unsaid() == {}
    reports.take({"level": 3}, is_now=True)
    reports.take({"temperature": 9}, is_now=False)  # of an earlier time
    assert reports.unsaid() == {"level": 3}


def test_answers_that_are_no_value() -> None:
    reports = Reports(declared(IoTClient("a", "sensor"))._session.identity)
    reports.note_set("other", 1, 2)
    reports.note_set("level", 7, {"ok": True})
    assert reports.for_hello() == {"level": 7}
    reports.note_set("level", 8, ("else", 9))
    assert reports.for_hello() == {"level": 8}
    reports.note_set("level", 8, ("level", 9))
    assert reports.for_hello() == {"level": 9}
