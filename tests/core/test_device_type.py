"""Device types: what a subclass says of its devices, and the types of a server by name."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from iotio import DeviceType, IoTClient, Options
from iotio.core.device_type import DeviceTypes
from iotio.core.handlers import does_nothing
from iotio.endpoints import FloatEndpoint, IntegerEndpoint
from tests.support.memory import make_manager

CLIENT = cast(IoTClient, None)  # the handlers here do not look at it
OPTIONS = Options(ping_interval=20, ping_timeout=7, grace=3)


class Lamp(DeviceType):
    def on_switch(self, message: Any, client: IoTClient) -> Any:
        return "switched", message

    def on_dim(self, message: Any, client: IoTClient) -> Any:
        return message


def test_a_type_of_its_own_has_no_callbacks() -> None:
    plain = DeviceType("lamp")
    assert plain.type == "lamp"
    assert plain.context is None
    assert does_nothing(plain.on_connect)
    assert does_nothing(plain.on_disconnect)
    plain.on_connect(CLIENT)
    plain.on_disconnect(CLIENT)


def test_the_timings_of_the_server_hold() -> None:
    assert DeviceType("lamp").options(OPTIONS) == OPTIONS


@pytest.mark.parametrize("timing", ["ping_interval", "ping_timeout", "grace"])
def test_a_timing_of_the_type_goes_first(timing: str) -> None:
    options = DeviceType("lamp", **cast("Any", {timing: 1.5})).options(OPTIONS)
    for name in ("ping_interval", "ping_timeout", "grace"):
        assert getattr(options, name) == (1.5 if name == timing else getattr(OPTIONS, name))


def test_zero_is_a_timing() -> None:
    assert DeviceType("lamp", ping_interval=0).options(OPTIONS).ping_interval == 0


@pytest.mark.parametrize("timing", ["ping_interval", "grace"])
def test_a_wrong_timing(timing: str) -> None:
    with pytest.raises(ValueError, match=timing):
        DeviceType("lamp", **cast("Any", {timing: -1.0})).options(OPTIONS)


def test_a_handler_can_be_called_by_hand() -> None:
    lamp = Lamp("lamp")
    assert lamp.call_event_handler("switch", True, CLIENT) == ("switched", True)
    assert lamp.call_event_handler("dim", 5, CLIENT) == ("dim", 5)
    assert lamp.call_event_handler("dim", None, CLIENT) == (None, None)
    assert lamp.call_event_handler("nosuch", 5, CLIENT) == (None, None)


def test_the_types_of_a_server() -> None:
    manager = make_manager()
    types = DeviceTypes(OPTIONS)
    assert types.get("lamp") is None
    assert types.names == []
    lamp = Lamp("lamp", grace=9)
    types.add(lamp, manager)
    types.add(DeviceType("door"), manager)
    assert lamp.context is manager
    assert types.names == ["lamp", "door"]
    types.names.clear()
    assert types.names == ["lamp", "door"], "a copy"
    handlers = types.get("lamp")
    assert handlers is not None
    assert sorted(handlers.events) == ["dim", "switch"]
    assert handlers.options.grace == 9
    assert [options.grace for options in types.all_options] == [3, 9, 3]


def test_a_type_of_the_same_name_takes_its_place() -> None:
    types = DeviceTypes(OPTIONS)
    for device in (Lamp("lamp"), DeviceType("lamp")):
        types.add(device, make_manager())
    handlers = types.get("lamp")
    assert handlers is not None
    assert types.names == ["lamp"]
    assert handlers.events == {}


class NoConstructor(DeviceType):
    def __init__(self) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (Lamp, "device is not of type DeviceType, but the class Lamp: add an instance, with the name of the type: "
        "add_type(Lamp('lamp'))"),
        ("lamp", "device is not of type DeviceType, but a str: write add_type(DeviceType('lamp')), or use a class of "
        "your own derived from it"),
        (5, "device is not of type DeviceType, but int: derive a class from DeviceType, and add an instance of it"),
        (int, "device is not of type DeviceType, but type: derive a class from DeviceType, and add an instance of it"),
        (Lamp(cast(Any, 5)), "device.type is not of type str, but 5: write Lamp('lamp')"),
        (NoConstructor(), "NoConstructor has no type name: its __init__ must call super().__init__(type_name)"),
    ],
)  # fmt: skip
def test_what_is_no_type(wrong: Any, text: str) -> None:
    types = DeviceTypes(OPTIONS)
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        types.add(wrong, make_manager())
    assert types.names == []


def test_a_type_has_a_name() -> None:
    text = "type_name must not be empty: it is what devices of this type call themselves, like 'lamp'"
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        Lamp("")


def test_a_type_with_a_name_of_its_own_needs_no_constructor() -> None:
    """As in iot.io 0.4."""

    class Plain(NoConstructor):
        type = "plain"

    types, plain = DeviceTypes(OPTIONS), Plain()
    types.add(plain, make_manager())
    assert types.names == ["plain"]
    assert plain.options(OPTIONS) == OPTIONS
    assert repr(plain) == "<Plain 'plain'>"


def test_what_a_type_says_of_itself() -> None:
    assert repr(Lamp("lamp")) == "<Lamp 'lamp'>"
    assert repr(NoConstructor()) == "<NoConstructor None>"


def test_a_type_that_is_refused_belongs_to_no_manager() -> None:
    class Wrong(DeviceType):
        def on_switch(self) -> None:
            raise AssertionError

    wrong, types = Wrong("lamp"), DeviceTypes(OPTIONS)
    with pytest.raises(TypeError, match=r"Wrong.on_switch must take \(self, message, client\)"):
        types.add(wrong, make_manager())
    assert wrong.context is None
    assert types.names == []


# Endpoints of a type.

KWH = FloatEndpoint("kwh", "Energy", unit="kWh", access="read", total=True)


class Meter(DeviceType):
    endpoints = (KWH, IntegerEndpoint("limit", "Limit", min_v=0))


def test_a_type_lists_endpoints_for_its_devices() -> None:
    types = DeviceTypes(OPTIONS)
    types.add(Meter("meter"), make_manager())
    types.add(Lamp("lamp"), make_manager())
    meter, lamp = types.get("meter"), types.get("lamp")
    assert meter is not None
    assert lamp is not None
    assert list(meter.endpoints) == ["kwh", "limit"]
    assert meter.endpoints["kwh"] is KWH
    assert lamp.endpoints == {}


def test_an_instance_may_list_its_own() -> None:
    types, meter = DeviceTypes(OPTIONS), DeviceType("meter")
    meter.endpoints = [KWH]
    types.add(meter, make_manager())
    found = types.get("meter")
    assert found is not None
    assert list(found.endpoints) == ["kwh"]


def test_a_method_named_endpoints_is_the_programs_own() -> None:
    class Old(DeviceType):
        def endpoints(self) -> list[str]:  # type: ignore[override]  # so a program for iot.io 0.4 may have it
            return ["on"]

    types = DeviceTypes(OPTIONS)
    types.add(Old("lamp"), make_manager())
    found = types.get("lamp")
    assert found is not None
    assert found.endpoints == {}


EXAMPLE = "FloatEndpoint('power', 'Power', unit='W', access='read')"


@pytest.mark.parametrize(
    ("listed", "error", "text"),
    [
        (KWH, TypeError, f"must be a list of endpoints, such as {EXAMPLE}, not FloatEndpoint"),
        ({"kwh": KWH}, TypeError, f"must be a list of endpoints, such as {EXAMPLE}, not dict"),
        (None, TypeError, f"must be a list of endpoints, such as {EXAMPLE}, not NoneType"),
        (
            [KWH, {"id": "on"}],
            TypeError,
            f"holds dict, which is no endpoint: write {EXAMPLE}, or parse_endpoint(...) of a declaration",
        ),
        ([KWH, KWH], ValueError, "has two endpoints with the id 'kwh': give one of them another"),
        (
            [FloatEndpoint(f"e{number}", "E") for number in range(6)],
            ValueError,
            "has 6 endpoints; a device may have 5",
        ),
    ],
)
def test_endpoints_that_are_wrong(listed: Any, error: type[Exception], text: str) -> None:
    types, meter = DeviceTypes(OPTIONS, max_endpoints=5), Meter("meter")
    meter.endpoints = listed
    with pytest.raises(error, match=rf"^{re.escape('Meter.endpoints ' + text)}$"):
        types.add(meter, make_manager())
    assert types.names == []
    assert meter.context is None


def test_names_of_types_that_are_reserved() -> None:
    text = "the type name '$lamp' begins with '$', as only names of iotio's own do: choose another"
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        DeviceTypes(OPTIONS).add(DeviceType("$lamp"), make_manager())
