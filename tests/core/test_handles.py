"""A connected device as handlers see it."""

from __future__ import annotations

from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio.core.handles import skipped_ids
from iotio_protocol.endpoints import Endpoint, EndpointParseResponse, ValidationResponse
from iotio_protocol.errors import ConnectionEnded, EncodeError
from tests.support.memory import Device, make_manager, v0_device, v1_device

SWITCH = {"id": "s", "name": "Switch", "type": "boolean", "specialId": None, "constraints": None}


def connected(endpoints: Any = None, data: Any = None, client_id: str = "d1") -> tuple[Device, IoTClient]:
    device = v1_device(make_manager(DeviceType("echo")), client_id, data=data, endpoints=endpoints)
    client = device.connection.client
    assert client is not None
    return device, client


def test_who_it_is() -> None:
    device, client = connected([SWITCH], {"a": [1]})
    assert (client.id, client.type, client.data) == ("d1", "echo", {"a": [1]})
    assert client.info == {"id": "d1", "type": "echo", "data": {"a": [1]}, "endpoints": [SWITCH]}
    assert client.manager is device.connection.manager
    assert client.socket is device.connection
    assert client.connected
    assert repr(client) == "<IoTClient 'd1' type='echo'>"
    for name in ("id", "type", "data", "rooms", "endpoints", "info"):
        with pytest.raises(AttributeError):
            setattr(client, name, "x")


def test_data_of_a_v0_device_stays_text() -> None:
    device = v0_device(make_manager(DeviceType("echo")))
    assert device.connection.client is not None
    assert device.connection.client.data == "{}"
    assert device.connection.client.endpoints == []


def test_snapshots() -> None:
    _, client = connected([SWITCH])
    client.join("b")
    client.join("a")
    assert client.rooms == ["a", "b"]
    for copy in (client.rooms, client.endpoints, client.info):
        copy.clear()
    assert client.rooms == ["a", "b"]
    assert client.endpoints == [SWITCH]
    assert client.info["id"] == "d1"


def test_info_shares_nothing_with_the_client() -> None:
    _, client = connected(data={"a": [1]})
    client.info["data"]["a"].append(2)
    assert client.data == {"a": [1]}
    assert client.info["data"] == {"a": [1]}


def test_emit() -> None:
    device, client = connected()
    result = client.emit("x", 1)
    assert (result.sent, result.offline, result.dropped) == (1, (), {})
    assert device.packets() == [("x", 1)]
    with pytest.raises(TypeError, match="'event' must be of type str"):
        client.emit(5, 1)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(EncodeError):
        client.emit("x", None)
    assert issubclass(EncodeError, ValueError)
    device.drop()
    result = client.emit("x", 1)
    assert (result.sent, result.offline) == (0, ("d1",))
    assert not client.connected


def test_send_is_the_emit_of_iotio_03() -> None:
    device, client = connected()
    client.send("x", "é", "ascii", "ignore")
    assert device.packets() == [("x", "é")]
    device.drop()
    with pytest.raises(ConnectionEnded):
        client.send("x", 1)


def test_trigger_update() -> None:
    device, client = connected()
    seen: list[Any] = []

    def on_update(client_id: str, event: str, data: Any) -> None:
        seen.append((client_id, event, data))

    device.connection.manager.event(on_update)
    client.emit("x", 1)
    client.emit("y", 2, trigger_update=False)
    client.emit("z", 3, False)
    client.emit("kept", 4, durable=True)
    client.emit("kept", 5, trigger_update=False, durable=True)
    device.drop()
    client.emit("gone", 6)
    assert seen == [("d1", "x", 1), ("d1", "kept", 4)]


def test_rooms() -> None:
    device, client = connected()
    assert client.join("r") is True
    assert client.join("r") is True
    assert client.rooms == ["r"]
    assert client.leave("r") is True
    assert client.leave("r") is False
    assert client.rooms == []
    with pytest.raises(TypeError, match="'room' must be an instance of str"):
        client.join(5)  # type: ignore[arg-type]  # that is the point
    device.drop()
    assert client.join("r") is True, "rooms belong to the device, which will come back"
    assert device.connection.manager.rooms == {"r": ["d1"]}
    assert device.connection.manager.forget("d1")
    assert client.join("r") is client.leave("r") is False
    assert device.connection.manager.rooms == {}


def test_close() -> None:
    device, client = connected()
    client.close()
    assert device.close_code() == 1000
    assert not client.connected
    client.close()
    assert device.frames() == []


def test_endpoints() -> None:
    _, client = connected([SWITCH])
    found = client.get_validator("s")
    assert isinstance(found, Endpoint)
    assert found.id == "s"
    assert client.get_validator("nosuch") is ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT


def test_endpoints_by_hand() -> None:
    manager = make_manager()
    client = IoTClient(None, "x", "echo", {}, manager)  # type: ignore[arg-type]  # never connected
    assert client.get_validator("s") is ValidationResponse.CLIENT_ENDPOINTS_NOT_INITIALIZED
    assert client.endpoints == []
    assert client.parse_endpoints([{"id": "s"}]) == ("s", EndpointParseResponse.NO_TYPE_SPECIFIED)
    assert client.get_validator("s") is ValidationResponse.CLIENT_ENDPOINTS_NOT_INITIALIZED
    assert client.parse_endpoints([SWITCH]) == ("", EndpointParseResponse.VALID)
    assert client.endpoints == [SWITCH]


def test_an_old_client_object_does_not_reach_the_new_connection() -> None:
    manager = make_manager(DeviceType("echo"))
    old = v1_device(manager)
    before = old.connection.client
    assert before is not None
    new = v1_device(manager)
    assert before.emit("x", 1).offline == ("d1",)
    assert before.device is manager.device("d1")
    assert before.join("r") is True, "rooms belong to the device"
    assert manager.leave(before, "r") is True
    assert manager.remove(before) is False
    assert new.packets() == []
    assert new.connection.is_open


# skip=.


def test_skipped_ids() -> None:
    a, b, c = (connected(client_id=one)[1] for one in "abc")

    def left(skip: Any) -> list[str]:
        skipped = skipped_ids(skip)
        return [one.id for one in (a, b, c) if one.id not in skipped]

    assert left(None) == left([]) == left("") == ["a", "b", "c"]
    assert left("a") == left(a) == left(["a"]) == left({a}) == ["b", "c"]
    assert left(("a", c, "nosuch")) == ["b"]
    assert left(one for one in "ab") == ["c"]


@pytest.mark.parametrize("skip", [5, [5], b"ab", [None], object()])
def test_skipped_ids_refuses_what_is_no_device(skip: object) -> None:
    with pytest.raises(TypeError, match="skip"):
        skipped_ids(skip)
