"""Every public name of iot.io 0.4.10 with its parameters and defaults, and the spellings of 0.3 that do not clash.

The tables are facts about the original; where ours differs on purpose the reason stands beside it.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from typing import Any

import flask
import pytest

import iotio
from iotio import DeviceType, EmitResult, IoTClient, IoTManager
from iotio.core.manager import Manager
from tests.support.memory import make_manager, v1_device

REQUIRED = inspect.Parameter.empty
ENCODER = importlib.import_module("iotio.PacketEncoder").DefaultPacketEncoder

# Module by module: the public classes and functions, as `from iotio.<module> import <name>` finds them.
MODULES: dict[str, list[str]] = {
    "iotio": ["IoTManager", "IoTClient", "DeviceType", "emit", "join", "leave", "close_room"],
    "iotio.Manager": ["IoTManager", "IoTManagerMiddleware", "emit", "join", "leave", "close_room"],
    "iotio.Client": ["IoTClient"],
    "iotio.Device": ["DeviceType"],
    "iotio.Endpoint": [
        "ValidationResponse",
        "EndpointParseResponse",
        "EndpointType",
        "AbstractEndpointValidator",
        "BooleanEndpointValidator",
        "IntegerEndpointValidator",
        "StringEndpointValidator",
        "EnumEndpointValidator",
        "EndpointManager",
    ],
    "iotio.EndpointResource": ["EndpointResource"],
    "iotio.Errors": ["Errors"],
    "iotio.PacketEncoder": ["PacketDataType", "AbstractPacketEncoder", "DefaultPacketEncoder"],
    "iotio.exceptions": [
        "IoTError",
        "ConnectionEnded",
        "ConnectionFailed",
        "ClientNoId",
        "ClientNoType",
        "ClientInvalidType",
        "ClientInvalidData",
        "ClientInvalidEndpoints",
        "ClientNoProtocolVersion",
        "ClientIncompatibleProtocolVersion",
    ],
    "iotio.types": ["sendable", "event_pair"],
    "iotio.error": ["IoTError", "ConnectionEnded"],  # 0.3, and left behind in every 0.4 wheel
}
# iotio.DeviceType, iotio.IoTClient and iotio.IoTManager were stale modules of 0.3.1 in the wheels of 0.4, whose
# import replaced the classes of these names.

TARGETS = [("client_id", None), ("client_type", None), ("room", None), ("trigger_update", True)]

# Qualified name: parameters with their defaults, self left out.
SIGNATURES: dict[str, list[tuple[str, Any]]] = {
    "iotio.IoTManager": [
        ("app", REQUIRED),
        ("logging_level", logging.ERROR),
        ("client_logging_level", logging.ERROR),
        ("encoder", ENCODER),
        ("endpoint_api", None),
        ("endpoint_auth_decorator", None),
    ],
    "iotio.IoTManager.init_app": [("app", REQUIRED)],
    "iotio.IoTManager.socket": [("ws", REQUIRED)],
    "iotio.IoTManager.add": [("client", REQUIRED)],
    "iotio.IoTManager.remove": [("client", REQUIRED)],
    "iotio.IoTManager.get_validator": [("client_id", REQUIRED), ("endpoint_id", REQUIRED)],
    "iotio.IoTManager.log_update": [("client_id", REQUIRED), ("event", REQUIRED), ("data", REQUIRED)],
    "iotio.IoTManager.add_type": [("device", REQUIRED)],
    "iotio.IoTManager.emit": [("event", REQUIRED), ("data", REQUIRED), *TARGETS],
    "iotio.IoTManager.join": [("client", REQUIRED), ("room", REQUIRED)],
    "iotio.IoTManager.leave": [("client", REQUIRED), ("room", REQUIRED)],
    "iotio.IoTManager.close_room": [("room", REQUIRED)],
    "iotio.IoTManager.event": [("coroutine", REQUIRED)],
    "iotio.IoTManager.on_connect": [("client", REQUIRED)],
    "iotio.IoTManager.on_disconnect": [("client", REQUIRED)],
    "iotio.IoTManager.on_update": [("client_id", REQUIRED), ("event", REQUIRED), ("data", REQUIRED)],
    "iotio.IoTManager.on_get_offline_validator": [("client_id", REQUIRED), ("endpoint_id", REQUIRED)],
    "iotio.Manager.IoTManagerMiddleware": [("app", REQUIRED), ("wsgi_app", REQUIRED), ("manager", REQUIRED)],
    "iotio.IoTClient": [
        ("ws", REQUIRED),
        ("client_id", REQUIRED),
        ("client_type", REQUIRED),
        ("client_data", REQUIRED),
        ("manager", REQUIRED),
        ("logging_level", logging.ERROR),
        ("encoder", ENCODER),
    ],
    "iotio.IoTClient.emit": [("event", REQUIRED), ("data", REQUIRED), ("trigger_update", True)],
    "iotio.IoTClient.join": [("room", REQUIRED)],
    "iotio.IoTClient.leave": [("room", REQUIRED)],
    "iotio.IoTClient.get_validator": [("endpoint_id", REQUIRED)],
    "iotio.IoTClient.parse_endpoints": [("endpoints", REQUIRED)],
    "iotio.DeviceType": [("type_name", REQUIRED)],
    "iotio.DeviceType.set_context": [("context", REQUIRED)],
    "iotio.DeviceType.call_event_handler": [("event", REQUIRED), ("message", REQUIRED), ("client", REQUIRED)],
    "iotio.DeviceType.on_connect": [("client", REQUIRED)],
    "iotio.DeviceType.on_disconnect": [("client", REQUIRED)],
    "iotio.emit": [("event", REQUIRED), ("data", REQUIRED), *TARGETS],
    "iotio.join": [("room", REQUIRED), ("client", None)],
    "iotio.leave": [("room", REQUIRED), ("client", None)],
    "iotio.close_room": [("room", REQUIRED)],
}

# Parameter: (its name or default here, why).
DIFFERENT: dict[tuple[str, str], tuple[tuple[str, Any], str]] = {
    ("iotio.IoTManager", "app"): (("app", "any"), "optional, for init_app; None is refused as it was"),
    ("iotio.IoTManager.emit", "data"): (("data", None), "an event may say no more than its name"),
    ("iotio.IoTClient.emit", "data"): (("data", None), "the same"),
    ("iotio.emit", "data"): (("data", None), "the same"),
}

# Attributes and properties of instances.
ATTRIBUTES = {
    "IoTManager": ["logger", "client_logging_level", "app", "api", "auth_decorator", "encoder", "clients"],
    "IoTManagerMiddleware": ["app", "wsgi_app", "manager", "ws"],
    "IoTClient": ["logger", "socket", "manager", "encoder", "id", "type", "data", "rooms", "endpoints", "info"],
    "DeviceType": ["type", "context"],
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in MODULES.items() for name in names])
def test_names(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


def test_one_thing_has_one_class() -> None:
    manager, client, device = (importlib.import_module(f"iotio.{name}") for name in ("Manager", "Client", "Device"))
    assert manager.IoTManager is IoTManager
    assert client.IoTClient is IoTClient
    assert device.DeviceType is DeviceType
    for name in ("emit", "join", "leave", "close_room"):
        assert getattr(manager, name) is getattr(iotio, name)


def found(path: str) -> Any:
    module, _, rest = path.partition(".Manager.") if ".Manager." in path else path.partition(".")
    thing: Any = importlib.import_module("iotio.Manager" if ".Manager." in path else module)
    for part in rest.split("."):
        thing = getattr(thing, part)
    return thing


@pytest.mark.parametrize("path", SIGNATURES)
def test_parameters_and_defaults(path: str) -> None:
    """The same names in the same places; what is new has a default, and comes by keyword only or at the end."""
    parameters = list(inspect.signature(found(path)).parameters.values())
    if parameters and parameters[0].name == "self":
        del parameters[0]
    expected = [DIFFERENT.get((path, name), ((name, default), ""))[0] for name, default in SIGNATURES[path]]
    for parameter, (name, default) in zip(parameters, expected, strict=False):
        assert parameter.name == name
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert default == "any" or parameter.default == default
    assert len(parameters) >= len(expected)
    assert [one.name for one in parameters[len(expected) :] if one.default is REQUIRED] == []


def test_every_difference_is_used() -> None:
    assert {key for key in DIFFERENT if key[1] not in dict(SIGNATURES[key[0]])} == set()


def test_attributes() -> None:
    app = flask.Flask("api")
    manager = IoTManager(app)
    device_type = DeviceType("echo")
    manager.add_type(device_type)
    client = v1_device(manager).connection.client
    for one in (manager, app.wsgi_app, client, device_type):
        missing = [name for name in ATTRIBUTES[type(one).__name__] if not hasattr(one, name)]
        assert missing == []
    assert manager.app is app
    assert app.extensions["iot.io"] is manager
    assert type(app.wsgi_app).__name__ == "IoTManagerMiddleware"


def test_the_last_manager_of_an_app_is_its_extension() -> None:
    app = flask.Flask("api")
    first = IoTManager(app)
    with pytest.warns(RuntimeWarning, match="make one only"):
        second = IoTManager(app)
    assert first is not second
    assert app.extensions["iot.io"] is second


@pytest.mark.parametrize("app", [None, False, 0, "app", object()])
def test_an_app_is_an_app(app: Any) -> None:
    with pytest.raises(ValueError, match="app must be an instance of a flask application"):
        IoTManager(app)
    with pytest.raises(ValueError, match="app must be an instance of a flask application"):
        IoTManager().init_app(app)


def test_unknown_keyword_arguments_raise() -> None:
    with pytest.raises(TypeError):
        IoTManager(flask.Flask("api"), colour="red")  # type: ignore[call-arg]  # that is the point


def test_what_returned_nothing_may_say_what_it_did() -> None:
    """None became a value where there is something to say; remove had its bool already."""
    manager = make_manager(DeviceType("echo"))
    v1_device(manager)
    assert isinstance(manager.emit("x", 1, "d1"), EmitResult)
    assert manager.join("d1", "r") is True
    assert manager.leave("d1", "r") is True
    assert manager.close_room("r") == 0
    assert manager.remove("nosuch") is False
    assert manager.remove(None) is False


def test_event_is_true_for_the_four_callbacks() -> None:
    """0.4.10 returned a bool, which a decorator bound to the name; ours returns the function, which is true too."""
    manager = Manager()
    for name in ("on_connect", "on_disconnect", "on_update", "on_get_offline_validator"):
        function = eval(f"lambda *args: {name!r}")
        function.__name__ = name
        assert manager.event(function)
        assert getattr(manager, name)() == name


def test_names_of_iotio_03() -> None:
    """The spellings of 0.3 that do not clash with those of 0.4."""
    assert issubclass(importlib.import_module("iotio.error").ConnectionEnded, iotio.IoTError)
    for name in ("init_app", "socket", "remove_client", "remove_client_by_id", "connected_clients", "add_type"):
        assert hasattr(IoTManager, name)
    parameters = list(inspect.signature(IoTClient.send).parameters)
    assert parameters == ["self", "event", "message", "encoding", "error_handling"]
    kind = DeviceType("echo")
    manager = make_manager(kind)
    assert kind.context is manager
    assert manager.connected_clients == []


def test_the_protocol_version_is_where_the_original_has_it() -> None:
    from iotio import __main__ as main_module

    assert main_module.__protocol_version__ == "1"
    assert not hasattr(iotio, "__protocol_version__")
