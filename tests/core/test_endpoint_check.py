"""Values and the endpoints that devices declare: on every way to a device, once for each distinct declaration."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest

from iotio import DeviceType, EmitResult, EncodeError, InvalidData
from iotio.core.endpoint_check import Checks, share
from iotio.core.manager import Manager
from iotio_protocol import v0, v1, v2
from iotio_protocol.endpoints import Endpoint, FloatEndpoint, IntegerEndpoint, parse_endpoints
from tests.support.memory import Device, make_manager, v0_device, v1_device, v2_device
from tests.support.wire import Opcode

LEVEL = {"id": "level", "name": "Level", "type": "integer", "constraints": {"min": 0, "max": 10}}
WIDE = {**LEVEL, "constraints": {"min": 0, "max": 1000}}
TEXT = {"id": "level", "name": "Level", "type": "string"}
REFUSED = "endpoint 'level' does not take this value: higher_than_max"
OF_A = "endpoint 'level' of device 'a' does not take this value: higher_than_max"

Emit = Callable[[Manager, Any], EmitResult]


class Lamp(DeviceType):
    """Answers with what it is told to."""

    def on_level(self, message: Any, client: Any) -> Any:
        """Return the message."""
        return message

    def on_other(self, message: Any, client: Any) -> Any:
        """Answer under another name."""
        return "level", message


@pytest.fixture
def manager() -> Manager:
    return make_manager(Lamp("lamp"), DeviceType("echo"))


def lamp(manager: Manager, client_id: str = "a", declaration: Any = LEVEL) -> Device:
    device = v1_device(manager, client_id, "lamp", endpoints=None if declaration is None else [declaration])
    manager.join(client_id, "room")
    return device


def events(device: Device) -> list[tuple[str, Any]]:
    """What the server has sent since the last time, less the PING behind a durable message."""
    return [v1.decode(payload) for opcode, payload in device.frames() if opcode == Opcode.BINARY]


TO_ONE: list[Emit] = [
    lambda manager, value: manager.emit("level", value, "a"),
    lambda manager, value: manager.emit("level", value, "a", durable=True),
    lambda manager, value: manager.client("a").emit("level", value),  # type: ignore[union-attr]  # it is there
    lambda manager, value: manager.client("a").emit("level", value, durable=True),  # type: ignore[union-attr]
    lambda manager, value: manager.device("a").emit("level", value),  # type: ignore[union-attr]
]
TO_SEVERAL: list[Emit] = [
    lambda manager, value: manager.emit("level", value, client_type="lamp"),
    lambda manager, value: manager.emit("level", value, room="room"),
    lambda manager, value: manager.emit("level", value, room="room", client_type="lamp"),
    lambda manager, value: manager.emit("level", value, client_type="lamp", durable=True),
]


@pytest.mark.parametrize("emit", TO_ONE)
def test_to_one_device(manager: Manager, emit: Emit) -> None:
    device = lamp(manager)
    assert emit(manager, "7")
    assert events(device) == [("level", 7)], "converted, as REST does"
    with pytest.raises(InvalidData) as raised:
        emit(manager, 11)
    assert str(raised.value) == OF_A
    assert events(device) == []


@pytest.mark.parametrize("emit", TO_SEVERAL)
def test_to_several_devices(manager: Manager, emit: Emit) -> None:
    devices = [lamp(manager, *one) for one in (("a", LEVEL), ("b", WIDE), ("c", TEXT), ("d", None), ("e", LEVEL))]
    result = emit(manager, "70")
    assert result.dropped == {"a": REFUSED, "e": REFUSED}
    assert result.sent == 3
    assert [events(device) for device in devices] == [[], [("level", 70)], [("level", "70")], [("level", "70")], []]


def test_when_all_of_several_refuse_nothing_is_raised(manager: Manager) -> None:
    devices = [lamp(manager, "a"), lamp(manager, "b")]
    for durable in (False, True):
        result = manager.emit("level", 11, client_type="lamp", durable=durable)
        assert (result.sent, result.dropped) == (0, {"a": REFUSED, "b": REFUSED})
    assert [events(device) for device in devices] == [[], []]


def test_on_update_is_told_what_was_sent(manager: Manager) -> None:
    told: list[Any] = []
    manager.event(_on_update(told))
    lamp(manager, "a")
    lamp(manager, "b", TEXT)
    lamp(manager, "c", None)
    manager.emit("level", "7", client_type="lamp")
    manager.emit("level", "8", client_type="lamp", durable=True)
    assert told == [("a", 7), ("b", "7"), ("c", "7"), ("a", 8), ("b", "8"), ("c", "8")]


def _on_update(told: list[Any]) -> Callable[..., None]:
    def on_update(client_id: str, event: str, data: Any) -> None:
        told.append((client_id, data))

    return on_update


def test_a_durable_message_is_checked_by_what_the_device_declared_last_and_not_again(manager: Manager) -> None:
    fields: dict[str, Any] = {"client_type": "lamp", "endpoints": [LEVEL]}
    v2_device(manager, "a", **fields).drop()
    with pytest.raises(InvalidData):
        manager.emit("level", 11, "a", durable=True)
    assert manager.emit("level", "9", "a", durable=True)
    fields["endpoints"] = [{**LEVEL, "constraints": {"max": 5}}]
    assert [message[2:] for message in v2_device(manager, "a", **fields).messages()] == [("level", 9)]
    with pytest.raises(InvalidData):
        manager.emit("level", 9, "a", durable=True)


def test_what_a_value_becomes_need_not_travel_before(manager: Manager) -> None:
    device = lamp(manager, "a", TEXT)
    number = 10**30
    assert manager.emit("level", number, "a", durable=True)
    assert manager.emit("level", number, "a")
    assert events(device) == [("level", str(number))] * 2


@pytest.mark.parametrize("event", ["level", "other"])
def test_what_a_handler_returns(manager: Manager, event: str, caplog: pytest.LogCaptureFixture) -> None:
    device = lamp(manager)
    device.send(event, "7")
    assert events(device) == [("level", 7)]
    with caplog.at_level(logging.ERROR, "iotio.connection"):
        device.send(event, "70")
    assert events(device) == []
    assert f"the answer of handler on_{event}, type 'lamp', device 'a', cannot be sent" in caplog.text
    assert OF_A in caplog.text
    device.send(event, "8")
    assert events(device) == [("level", 8)], "the connection lives on"


def test_equal_declarations_are_one_object(manager: Manager) -> None:
    lamp(manager, "a")
    lamp(manager, "b", dict(LEVEL))
    lamp(manager, "c", WIDE)
    a, b, c = (manager.client(one).get_validator("level") for one in "abc")  # type: ignore[union-attr]
    assert a is b
    assert a is not c


def test_true_is_not_equal_to_1() -> None:
    first, second = (
        share(parse_endpoints([{"id": "x", "name": "X", "type": "enum", "constraints": {"values": {"on": value}}}]))
        for value in (1, True)
    )
    assert first["x"] is not second["x"]
    assert [one["x"].describe()["constraints"]["values"]["on"] for one in (first, second)] == [1, True]


def test_a_declaration_is_kept_as_long_as_a_device_has_it() -> None:
    from iotio.core import endpoint_check

    kept = share({"x": IntegerEndpoint("x", "kept only here")})
    key = repr(kept["x"].describe())
    assert endpoint_check._shared[key] is kept["x"]
    del kept
    gc.collect()
    assert key not in endpoint_check._shared


def test_an_integer_that_python_does_not_write_is_not_shared() -> None:
    endpoints: dict[str, Endpoint] = {"x": IntegerEndpoint("x", "X", max_v=10**5000)}
    assert share(endpoints) == endpoints


def test_one_check_for_each_distinct_declaration(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Any] = []

    def validate(self: IntegerEndpoint, data: object) -> Any:
        checked.append(self.max)
        return self.check(data)

    monkeypatch.setattr(IntegerEndpoint, "validate", validate)
    for number in range(10):
        lamp(manager, f"a{number}")
        lamp(manager, f"b{number}", WIDE)
    for durable in (False, True):
        result = manager.emit("level", 70, client_type="lamp", durable=durable)
        assert (result.sent, len(result.dropped)) == (10, 10)
        assert sorted(checked) == [10, 1000]
        checked.clear()


def test_checks_names_the_device_when_there_is_one() -> None:
    endpoint = IntegerEndpoint("level", "Level", max_v=10)
    checks = Checks(11)
    for device_id, text in (("a", OF_A), (None, REFUSED)):
        with pytest.raises(InvalidData) as raised:
            checks.of(endpoint, device_id)
        assert str(raised.value) == text


# Endpoints of a type.


class Heater(Lamp):
    """Devices that declare nothing have an endpoint all the same."""

    endpoints = (IntegerEndpoint("level", "Level", min_v=0, max_v=10),)


@pytest.mark.parametrize("emit", TO_ONE)
def test_values_for_the_endpoints_of_a_type_are_checked_and_converted(emit: Emit) -> None:
    manager = make_manager(Heater("lamp"))
    device = lamp(manager, declaration=None)
    assert emit(manager, "7")
    assert events(device) == [("level", 7)]
    with pytest.raises(InvalidData, match=OF_A):
        emit(manager, 11)
    assert events(device) == []


def test_answers_under_the_endpoints_of_a_type_are_checked(caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager(Heater("lamp"))
    device = v0_device(manager, "a", "lamp")
    device.frames()
    device.send_v0("level", "7")
    device.send_v0("level", "no number")
    ((_, answer),) = device.frames()
    assert v0.decode(answer.decode()) == ("level", 7)
    assert (
        REFUSED.replace("higher_than_max", "invalid_data_type").replace("'level' ", "'level' of device 'a' ")
        in caplog.text
    )


# Floats, which v1 does not have.

TARGET = {"id": "level", "name": "Level", "type": "float", "constraints": {"min": 0, "max": 50}}


@pytest.mark.parametrize("emit", [*TO_ONE, *TO_SEVERAL])
def test_a_v1_device_is_sent_a_float_as_text(manager: Manager, emit: Emit) -> None:
    device = lamp(manager, declaration=TARGET)
    updates: list[Any] = []

    @manager.event
    def on_update(client_id: str, event: str, data: Any) -> None:
        updates.append(data)

    assert emit(manager, 21.5)
    assert events(device) == [("level", "21.5")]
    assert updates == [21.5], "the program sees the number"
    assert emit(manager, "7")
    assert events(device) == [("level", "7.0")]


def test_a_durable_float_reaches_a_v1_device_that_comes_later(manager: Manager) -> None:
    lamp(manager, declaration=TARGET).drop()
    assert manager.emit("level", 21.5, "a", durable=True)
    assert events(lamp(manager, declaration=TARGET)) == [("level", "21.5")]


def test_devices_of_other_protocols_are_sent_the_number() -> None:
    class Heating(DeviceType):
        endpoints = (FloatEndpoint("level", "Level"),)

    manager = make_manager(Heating("lamp"))
    old, new = v0_device(manager, "a", "lamp"), v2_device(manager, "b", "lamp")
    old.frames()
    assert manager.emit("level", "21.5", client_type="lamp").sent == 2
    ((_, packet),) = old.frames()
    assert v0.decode(packet.decode()) == ("level", 21.5)
    (found,) = new.decoded()
    assert isinstance(found, v2.Packet)
    assert found.value == 21.5


def test_a_v1_device_is_answered_with_text(manager: Manager) -> None:
    device = lamp(manager, declaration=TARGET)
    device.send("level", "21.50")
    assert events(device) == [("level", "21.5")]


def test_a_float_for_no_endpoint_is_an_error_still(manager: Manager) -> None:
    lamp(manager, declaration=TARGET)
    with pytest.raises(EncodeError, match="a value of type float cannot be sent with protocol v1"):
        manager.emit("other", 21.5, "a")
