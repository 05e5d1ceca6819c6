"""A connected device as handlers see it, a device that is away, and which of them a handler runs for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio.core.handles import addressees, current_client, ids_of
from iotio.core.storage.records import DeviceState
from iotio.store import MemoryStore
from iotio_protocol import v2
from iotio_protocol.endpoints import Endpoint, EndpointParseResponse, ValidationResponse
from iotio_protocol.errors import CallDisconnected, ConnectionEnded, EncodeError, InvalidData
from tests.support.memory import Clock, Device, make_manager, v0_device, v1_device, v2_device

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


# What names a device.


def test_what_names_devices() -> None:
    a, b, c = (connected(client_id=one)[1] for one in "abc")
    assert b.device is not None
    for target, ids in (
        ("a", "a"),
        (a, "a"),
        (b.device, "b"),
        (["a", b.device, c], "abc"),
        ({a: 1}, "a"),
        ((one for one in "cb"), "cb"),
        (["a", a, "a"], "a"),
        ([], ""),
    ):
        assert ids_of(target, "skip") == tuple(ids)
    assert addressees([a, "x"], "skip") == [a, "x"]
    assert ids_of("", "skip") == ("",), "an empty id is an id"


@pytest.mark.parametrize("target", [5, [5], b"ab", b"", ["a", None], [["a"]], None, object(), DeviceType("x")])
def test_what_names_no_device(target: object) -> None:
    for decide in (addressees, ids_of):
        with pytest.raises(
            TypeError, match="'skip' must be an id, an IoTClient, a DeviceHandle, or several of these, not "
        ):
            decide(target, "skip")


# A device, there or away.


def lasting(client: IoTClient) -> Any:
    """What stays of the device when its connection has ended."""
    assert client.device is not None
    return client.device


def test_a_device_outlives_its_connection() -> None:
    wire, client = connected(data={"a": 1})
    device = lasting(client)
    assert repr(device) == "<DeviceHandle 'd1' type='echo' online>"
    assert (device.id, device.type, device.data, device.client, device.connected) == (
        "d1",
        "echo",
        {"a": 1},
        client,
        True,
    )
    assert device.join("r") is True
    wire.drop()
    assert (device.id, device.type, device.data, device.client, device.connected) == (
        "d1",
        "echo",
        {"a": 1},
        None,
        False,
    )
    assert device.rooms == ["r"]
    assert device.leave("r") is True
    assert device.rooms == []


def test_a_device_keeps_its_endpoints() -> None:
    wire, client = connected([SWITCH])
    device = lasting(client)
    assert device.endpoints == client.declared
    device.endpoints.clear()
    wire.drop()
    assert [one.describe() for one in device.endpoints.values()] == [SWITCH]
    assert device.endpoint("s") is device.endpoints["s"]
    device.endpoints.clear()
    assert list(device.endpoints) == ["s"], "a copy"
    v1_device(device.manager, endpoints=[{**SWITCH, "id": "t"}]).drop()
    assert list(device.endpoints) == ["t"], "its last word counts"
    v1_device(device.manager).drop()
    assert device.endpoints == {}


def test_the_endpoints_of_devices_of_one_kind_are_the_same_objects() -> None:
    manager = make_manager(DeviceType("echo"))
    for name in ("a", "b"):
        v1_device(manager, name, endpoints=[SWITCH])
    manager.remove("b")
    there, away = manager.devices["a"], manager.devices["b"]
    assert there.connected
    assert not away.connected
    assert there.endpoints["s"] is away.endpoints["s"]
    assert there.lasting.declaration is away.lasting.declaration
    client = there.client
    assert client is not None
    assert client.declaration is away.lasting.declaration


def test_the_endpoints_of_a_device_outlive_the_server() -> None:
    store = MemoryStore()
    manager = make_manager(DeviceType("echo"), store=store)
    v1_device(manager, "a", endpoints=[SWITCH])
    v1_device(manager, "b")
    manager.close(0.1)
    manager = make_manager(DeviceType("echo"), store=store)
    assert [one.describe() for one in manager.devices["a"].endpoints.values()] == [SWITCH]
    assert manager.devices["b"].endpoints == {}
    v1_device(manager, "a", endpoints=[{**SWITCH, "id": "t"}])
    manager.close(0.1)
    manager = make_manager(DeviceType("echo"), store=store)
    assert list(manager.devices["a"].endpoints) == ["t"]
    manager.close(0.1)


@pytest.mark.parametrize(
    "written", [b"rubbish", b"5", b'[{"id": "s", "name": "S", "type": "of a newer version"}]', b"[" * 100_000]
)
def test_a_stored_declaration_that_cannot_be_read_is_none(written: bytes) -> None:
    manager = make_manager(DeviceType("echo"))
    manager.presence.restore([DeviceState("a", "echo", b"null", declaration=written)])
    assert manager.devices["a"].endpoints == {}
    assert manager.devices["a"].endpoint("s") is None


def test_the_times_of_a_device_are_dates() -> None:
    clock = Clock()
    wire = v1_device(make_manager(DeviceType("echo"), clock=clock))
    client = wire.connection.client
    assert client is not None
    clock.now += 60
    before = datetime.now(UTC)
    assert abs(client.connected_since + timedelta(seconds=60) - before) < timedelta(seconds=5)
    assert abs(client.last_seen + timedelta(seconds=60) - before) < timedelta(seconds=5)
    assert abs(lasting(client).last_seen - client.last_seen) < timedelta(seconds=1)
    wire.send("echo")
    assert abs(client.last_seen - before) < timedelta(seconds=5)
    assert lasting(client).since.tzinfo is client.connected_since.tzinfo is UTC
    assert client.rtt is None
    wire.drop()
    assert abs(lasting(client).last_seen - before) < timedelta(seconds=5), "kept when it is away"


def test_what_is_emitted_to_a_device_that_is_away() -> None:
    wire, client = connected()
    device = lasting(client)
    assert device.emit("x", 1).sent == 1
    assert wire.packets() == [("x", 1)]
    wire.drop()
    assert device.emit("x", 2).offline == ("d1",)
    assert device.emit("x", 3, durable=True)
    with pytest.raises(TypeError, match="'event' must be of type str"):
        device.emit(5, 1)


async def test_calls_to_a_device_that_is_away_fail_at_once() -> None:
    wire = v2_device(make_manager(DeviceType("echo")))
    client = wire.connection.client
    assert client is not None
    wire.drop()
    for call in (client.acall, lasting(client).acall):
        with pytest.raises(CallDisconnected):
            await call("dim", 5, timeout=100)


@pytest.mark.parametrize("timeout", [0, -1, 1e308, float("inf"), float("nan")])
def test_a_call_needs_a_time_limit(timeout: float) -> None:
    _, client = connected()
    with pytest.raises(ValueError, match="timeout must be seconds above 0"):
        client.call("dim", timeout=timeout)


async def test_call_does_not_wait_where_an_event_loop_runs() -> None:
    _, client = connected()
    with pytest.raises(RuntimeError, match=r"write await client\.acall"):
        client.call("dim")


async def test_the_value_of_a_call_is_checked_and_converted_by_the_endpoint() -> None:
    level = {"id": "level", "name": "L", "type": "integer", "specialId": None, "constraints": {"min": 0, "max": 9}}
    wire = v2_device(make_manager(DeviceType("lamp")), "d2", "lamp", endpoints=[level])
    client = wire.connection.client
    assert client is not None
    wire.decoded()
    with pytest.raises(InvalidData, match="endpoint 'level' of device 'd2' does not take this value: higher_than_max"):
        await client.acall("level", 10)
    assert wire.decoded() == [], "nothing was sent"
    asked = asyncio.create_task(client.acall("level", "5"))
    await asyncio.sleep(0)
    (packet,) = wire.decoded()
    assert isinstance(packet, v2.Packet)
    assert (packet.event, packet.value) == ("level", 5)
    wire.packet(v2.encode("", "ok", v2.RESULT, call=packet.call))
    assert await asked == "ok"


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_no_device_sleeps_so_long(seconds: float) -> None:
    _, client = connected()
    with pytest.raises(ValueError, match="a device cannot sleep for"):
        lasting(client).sleeps(seconds)


def test_a_sleep_can_be_withdrawn_and_a_farewell_is_for_long() -> None:
    wire, client = connected()
    device = lasting(client)
    device.sleeps(60)
    device.sleeps(0)
    wire.drop()
    assert device.presence == "online", "for its grace time"
    wire = v1_device(device.manager)
    device.sleeps(60)
    wire.drop()
    assert device.presence == "sleeping"
    wire = v1_device(device.manager)
    assert device.presence == "online"
    device.says_goodbye()
    wire.drop()
    assert device.presence == "offline"


def test_a_forgotten_device_is_a_new_one_when_it_comes_back() -> None:
    wire, client = connected()
    device = lasting(client)
    assert device.forget() is True
    assert wire.close_code() == 1000
    assert (device.forget(), device.presence) == (False, "offline")
    assert device.join("r") is False
    again = v1_device(device.manager)
    assert again.connection.client is not None
    assert again.connection.client.device is not device


# The device whose handler runs.


class Who(DeviceType):
    def __init__(self) -> None:
        super().__init__("echo")
        self.seen: list[str | None] = []

    def note(self) -> None:
        client = current_client.get(None)
        self.seen.append(None if client is None else client.id)

    def on_connect(self, client: IoTClient) -> None:
        self.note()

    def on_disconnect(self, client: IoTClient) -> None:
        self.note()

    def on_plain(self, message: Any, client: IoTClient) -> None:
        self.note()

    async def on_late(self, message: Any, client: IoTClient) -> None:
        self.note()


def test_every_handler_of_a_device_has_it_and_its_own() -> None:
    who = Who()
    manager = make_manager(who)
    one, two = v1_device(manager, "one"), v1_device(manager, "two")
    one.send("plain")
    two.send("late")
    one.send("late")
    one.drop()
    assert who.seen == ["one", "two", "one", "two", "one", "one"]
    assert current_client.get(None) is None


def test_a_takeover_runs_in_the_context_of_the_old_connection() -> None:
    seen: list[Any] = []

    class Takeover(DeviceType):
        def on_disconnect(self, client: IoTClient) -> None:
            seen.append(current_client.get() is client)

    manager = make_manager(Takeover("echo"))
    v1_device(manager)
    v1_device(manager)
    assert seen == [True]


@pytest.mark.parametrize("size", [1, 2000])
def test_data_is_one_object_while_the_device_is_connected(size: int) -> None:
    manager = make_manager(DeviceType("echo"))
    v1_device(manager, "d", data={"x": "y" * size})
    client = manager.client("d")
    assert client is not None
    client.data["seen"] = 1
    assert client.data == {"x": "y" * size, "seen": 1}
