"""The manager without a web framework: emit, rooms, callbacks, its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from iotio import DeviceType, EncodeError, IoTClient, Options
from iotio.core.manager import Manager
from iotio_protocol import v1
from iotio_protocol.encoder import DefaultPacketEncoder
from iotio_protocol.endpoints import ValidationResponse, parse_endpoint
from iotio_protocol.errors import CallsUnsupported
from tests.support.memory import Device, make_manager, v1_device, v2_device
from tests.support.wire import Opcode


@pytest.fixture
def manager() -> Manager:
    return make_manager(DeviceType("echo"), DeviceType("other"))


# emit.


# Rooms.


def test_rooms(manager: Manager) -> None:
    v1_device(manager, "a")
    client = manager.client("a")
    assert client is not None
    assert manager.join("a", "r") is True
    assert manager.join(client, "q") is True
    assert manager.join("nosuch", "r") is False
    assert manager.rooms == {"r": ["a"], "q": ["a"]}
    assert manager.rooms_of(client) == client.rooms == ["q", "r"]
    assert manager.leave(client, "r") is True
    assert manager.leave("a", "r") is False
    assert manager.leave("nosuch", "q") is False
    assert manager.close_room("q") == 1
    assert manager.close_room("q") == 0
    assert manager.rooms == {}


@pytest.mark.parametrize("method", ["join", "leave"])
def test_rooms_take_text_and_devices_only(manager: Manager, method: str) -> None:
    with pytest.raises(
        TypeError, match="must be the ID of the client as a str, an IoTClient, a DeviceHandle, or several"
    ):
        getattr(manager, method)(5, "r")
    with pytest.raises(TypeError, match="'room' must be an instance of str"):
        getattr(manager, method)("a", 5)
    with pytest.raises(TypeError, match="'room' must be an instance of str"):
        manager.close_room(5)  # type: ignore[arg-type]  # that is the point


# Devices.


def test_clients_is_a_snapshot(manager: Manager) -> None:
    devices = [v1_device(manager, f"d{number}") for number in range(3)]
    for client_id in manager.clients:
        assert manager.remove(client_id)
    assert manager.clients == manager.connected_clients == []
    assert [device.close_code() for device in devices] == [1000] * 3


def test_remove(manager: Manager) -> None:
    v1_device(manager, "a")
    client = manager.client("a")
    assert client is not None
    assert manager.remove(None) is False
    assert manager.remove("nosuch") is False
    for wrong in (5, b"a", [5]):
        with pytest.raises(
            TypeError,
            match="must be either the id of a client as a str, or an instance of an IoTClient, a DeviceHandle, or",
        ):
            manager.remove(wrong)  # type: ignore[arg-type]  # that is the point
    assert manager.remove(client) is True
    assert manager.remove(client) is False
    assert manager.clients == []


def test_several_devices_at_once(manager: Manager) -> None:
    devices = [v1_device(manager, one) for one in "abcd"]
    a: Any = manager.client("a")
    b: Any = manager.device("b")
    assert manager.join([a, b, "c"], "r") is True
    assert manager.rooms == {"r": ["a", "b", "c"]}
    assert manager.join(["d", "nosuch"], "r") is False, "one is not known"
    assert manager.rooms["r"] == ["a", "b", "c", "d"]
    assert manager.leave([b, "nosuch"], "r") is True
    assert manager.leave([b, "nosuch"], "r") is False
    assert manager.forget([a, "nosuch"]) is True
    assert manager.forget([a, "a"]) is False
    assert manager.remove([b, "nosuch"]) is True
    assert manager.remove([b, "nosuch"]) is False
    assert manager.remove([]) is False
    assert manager.clients == ["c", "d"]
    assert [device.close_code() for device in devices] == [1000, 1000, None, None]


def test_remove_takes_a_device_and_no_later_connection_of_a_client(manager: Manager) -> None:
    v1_device(manager, "a")
    client, device = manager.client("a"), manager.device("a")
    v1_device(manager, "a")
    assert client is not manager.client("a")
    assert manager.remove(client) is False
    assert manager.remove(device) is True
    v1_device(manager, "a")
    assert manager.forget("a") is True
    v1_device(manager, "a")
    assert manager.remove(device) is False, "it is forgotten; another one has its id"


@pytest.mark.parametrize("wrong", [5, b"a", ["a", 5], None])
def test_what_names_no_device_raises_at_once(manager: Manager, wrong: Any) -> None:
    calls: list[Any] = [
        lambda: manager.call(wrong, "ev"),
        lambda: manager.join(wrong, "r"),
        lambda: manager.leave(wrong, "r"),
        lambda: manager.forget(wrong),
    ]
    if wrong is not None:
        calls += [
            lambda: manager.emit("ev", 1, wrong),
            lambda: manager.emit("ev", 1, wrong, durable=True),
            lambda: manager.emit("ev", 1, room="r", skip=wrong),
            lambda: manager.remove(wrong),
        ]
    v1_device(manager, "a")
    for call in calls:
        with pytest.raises(TypeError, match="IoTClient, a DeviceHandle, or several of these, not"):
            call()
    assert manager.rooms == {}
    assert manager.clients == ["a"], "nothing has been done for those before the wrong one"


def test_a_call_goes_to_one_device(manager: Manager) -> None:
    v1_device(manager, "a")
    for one in ("a", manager.client("a"), manager.device("a")):
        with pytest.raises(CallsUnsupported):
            manager.call(one, "ev")  # type: ignore[arg-type]  # it is there
    with pytest.raises(TypeError, match="a call goes to one device"):
        manager.call(["a"], "ev")  # type: ignore[arg-type]  # that is the point


def test_remove_under_its_old_names(manager: Manager) -> None:
    v1_device(manager, "a")
    client = manager.client("a")
    assert client is not None
    assert manager.remove_client(client) is True
    v1_device(manager, "a")
    assert manager.remove_client_by_id("a") is True


def test_add_takes_clients_only(manager: Manager) -> None:
    with pytest.raises(TypeError, match="client must be an instance of IoTClient"):
        manager.add("a")  # type: ignore[arg-type]  # that is the point


def test_the_names_of_the_types(manager: Manager) -> None:
    before = manager.device_types
    manager.add_type(DeviceType("lamp"))
    manager.add_type(DeviceType("lamp"))
    assert manager.device_types == [*before, "lamp"]


def test_add_type_takes_types_only(manager: Manager) -> None:
    with pytest.raises(ValueError, match="device is not of type DeviceType"):
        manager.add_type(DeviceType)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match=r"device\.type is not of type str"):
        manager.add_type(DeviceType(5))  # type: ignore[arg-type]  # that is the point


def test_get_validator(manager: Manager) -> None:
    declaration = {"id": "s", "name": "S", "type": "boolean"}
    v1_device(manager, "a", endpoints=[declaration])
    assert getattr(manager.get_validator("a", "s"), "id", None) == "s"
    assert manager.get_validator("a", "x") is ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT
    assert manager.get_validator("x", "s") is ValidationResponse.CLIENT_NOT_CONNECTED


@pytest.mark.parametrize(
    ("answer", "validator"),
    [
        (ValidationResponse.INVALID_TYPE, ValidationResponse.INVALID_TYPE),
        (None, ValidationResponse.CLIENT_NOT_CONNECTED),
        ("nonsense", ValidationResponse.CLIENT_NOT_CONNECTED),
    ],
)
def test_the_offline_validator(manager: Manager, answer: Any, validator: Any) -> None:
    """What it returns instead of an endpoint or a verdict counts as "not connected", as in 0.4.10."""

    def on_get_offline_validator(client_id: str, endpoint_id: str) -> Any:
        assert (client_id, endpoint_id) == ("x", "s")
        return answer

    manager.event(on_get_offline_validator)
    assert manager.get_validator("x", "s") is validator


def test_the_offline_validator_may_return_an_endpoint(manager: Manager) -> None:
    endpoint = parse_endpoint({"id": "s", "name": "S", "type": "boolean"})

    def on_get_offline_validator(client_id: str, endpoint_id: str) -> Any:
        return endpoint

    manager.event(on_get_offline_validator)
    assert manager.get_validator("x", "s") is endpoint
    v1_device(manager, "x", endpoints=[{**endpoint.describe(), "name": "Own"}]).drop()
    assert manager.get_validator("x", "s") is endpoint, "the program decides for all that are away"


def test_the_validator_of_a_device_that_is_away(manager: Manager) -> None:
    v1_device(manager, "a", endpoints=[{"id": "s", "name": "S", "type": "boolean"}]).drop()
    assert manager.get_validator("a", "s") is manager.devices["a"].endpoint("s")
    assert manager.get_validator("a", "x") is ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT
    manager.forget("a")
    assert manager.get_validator("a", "s") is ValidationResponse.CLIENT_NOT_CONNECTED


# Options.


@pytest.fixture
def levels() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("iotio.manager", "iotio.client")]
    before = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


@pytest.mark.usefixtures("levels")
def test_logging_levels() -> None:
    Manager()
    assert logging.getLogger("iotio.manager").level == logging.NOTSET
    manager = Manager(logging_level=logging.DEBUG, client_logging_level=logging.INFO)
    assert manager.logger is logging.getLogger("iotio.manager")
    assert manager.logger.level == logging.DEBUG
    assert logging.getLogger("iotio.client").level == logging.INFO
    assert manager.client_logging_level == logging.INFO


@pytest.mark.usefixtures("levels")
def test_a_debug_log_is_well_formed(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    manager = Manager(logging_level=logging.DEBUG, client_logging_level=logging.DEBUG)
    caplog.set_level(logging.DEBUG, "iotio")
    manager.add_type(DeviceType("echo"))
    v1_device(manager, "a")
    manager.emit("ev", 1, "a")
    manager.join("a", "r")
    assert all(record.getMessage() for record in caplog.records)
    assert "Logging error" not in capsys.readouterr().err


class Encoder:
    """Text packets: `event:value`."""

    @staticmethod
    def encode(event: str, message: Any) -> bytearray:
        if message is None:
            raise KeyError("nothing")
        return bytearray(f"{event}:{message}".encode())

    @staticmethod
    def decode(data: bytes) -> tuple[Any, Any]:
        text = bytes(data).decode()
        if text == "list":
            return ["no", "name"], 1
        if text == "three":
            return ("a", "b", "c")  # type: ignore[return-value]  # that is the point
        event, _, value = text.partition(":")
        return event, value


def test_an_encoder_of_the_users_own(caplog: pytest.LogCaptureFixture) -> None:
    class Echo(DeviceType):
        def on_x(self, message: Any, client: IoTClient) -> Any:
            return message * 2

    manager = Manager(encoder=Encoder)
    manager.add_type(Echo("echo"))
    device = v1_device(manager)
    device.frame(Opcode.BINARY, b"x:ab")
    assert device.frames() == [(Opcode.BINARY, b"x:abab")]
    for nonsense in (b"\xff", b"list", b"three"):
        device.frame(Opcode.BINARY, nonsense)
    assert device.connection.counters["invalid"] == 3
    device.frames()
    device.frame(Opcode.BINARY, b"x:1")
    assert device.frames() == [(Opcode.BINARY, b"x:11")], "it lives on"
    with pytest.raises(EncodeError, match="nothing"):
        manager.emit("x", None, "d1")


class Writes(DefaultPacketEncoder):
    """Writes in its own way, reads as usual."""

    @staticmethod
    def encode(event: str, message: Any) -> bytearray:
        return bytearray(f"{event}:{message}".encode())


class Reads(DefaultPacketEncoder):
    """Reads in its own way: any bytes are an event or a value of that length."""

    @staticmethod
    def decode(data: bytes | bytearray) -> tuple[str, Any]:
        event, _, value = bytes(data).decode().partition(":")
        return event, value.encode() if value.startswith("b") else value


class Echoes(DeviceType):
    def on_x(self, message: Any, client: IoTClient) -> Any:
        return message


SMALL = Options(max_event=8, max_payload=10)


@pytest.mark.parametrize("encoder", [Writes, Writes()])
def test_an_encoder_that_only_writes_reads_as_strictly_as_without_one(encoder: Any) -> None:
    manager = Manager(encoder=encoder, options=SMALL)
    manager.add_type(Echoes("echo"))
    device = v1_device(manager)
    wrong = [
        v1.encode("x", "y")[:-1],  # a wrong length
        v1.encode("x", "y")[:-1] + b"\xff",  # no UTF-8
        b"\x09" + v1.encode("x", "y")[1:],  # no type
        v1.encode("x", "y" * 11),
        v1.encode("x" * 9, "y"),
    ]
    for packet in wrong:
        device.frame(Opcode.BINARY, packet)
    assert device.connection.counters["invalid"] == len(wrong)
    assert [payload[:6] for _, payload in device.frames()] == [b"error:"] * len(wrong)
    device.frame(Opcode.BINARY, v1.encode("x", "y" * 10))
    assert device.frames() == [(Opcode.BINARY, b"x:yyyyyyyyyy")]


def test_an_encoder_that_reads_keeps_the_limits() -> None:
    manager = Manager(encoder=Reads, options=SMALL)
    manager.add_type(Echoes("echo"))
    device = v1_device(manager)
    for packet in (b"xxxxxxxxx:y", b"x:" + b"y" * 11, b"x:" + b"b" * 11, "x:ääääää".encode()):
        device.frame(Opcode.BINARY, packet)
    assert device.connection.counters["invalid"] == 4
    assert [event for event, _ in device.packets()] == ["error"] * 4
    device.frame(Opcode.BINARY, b"x:yyyyyyyyyy")
    assert device.packets() == [("x", "y" * 10)]


def test_an_encoder_that_changes_nothing_is_none() -> None:
    class Same(DefaultPacketEncoder):
        pass

    assert Manager(encoder=Same).codec is v1
    assert Manager(encoder=Same()).codec is v1


def test_errors_are_written_by_the_users_encoder_too() -> None:
    """As in 0.4.10: a device that speaks through another encoder cannot read a v1 packet."""
    manager = Manager(encoder=Encoder)
    manager.add_type(DeviceType("echo"))
    device = v1_device(manager, client_type="nosuch")
    ((_, payload),) = device.frames()
    assert payload == b"error:{'error': 'client_invalid_type', 'info': None}"


# The end.


def test_close(manager: Manager) -> None:
    devices = [v1_device(manager, f"d{number}") for number in range(3)]
    manager.close(0)
    assert [device.close_code() for device in devices] == [1001] * 3
    for device in devices:
        device.close(1001)
    assert manager.clients == []
    assert manager.connections.all() == []
    manager.close(0)


def test_close_waits_for_the_devices(manager: Manager) -> None:
    device = v1_device(manager)
    closer = threading.Thread(target=manager.close, args=(5,))
    closer.start()
    while device.connection.is_open:
        assert closer.is_alive()
    device.close(1001)
    closer.join(2)
    assert not closer.is_alive()


def test_two_managers_have_nothing_to_do_with_each_other() -> None:
    one, two = make_manager(DeviceType("echo")), make_manager(DeviceType("echo"))
    first, second = v1_device(one, "same"), v1_device(two, "same")
    assert one.emit("x", 1, "same").sent == 1
    assert (first.packets(), second.packets()) == ([("x", 1)], [])
    one.join("same", "r")
    assert two.rooms == {}
    one.close(0)
    assert second.connection.is_open


def test_options_are_the_connections() -> None:
    manager = make_manager(DeviceType("echo"), max_payload=10, max_event=4)
    device = v1_device(manager)
    device.send("x", "y" * 11)
    ((_, error),) = device.packets()
    assert "10 bytes" in error["info"]["problem"]
    assert manager.options == Options(max_payload=10, max_event=4)


# Threads (promise 4).


@pytest.mark.parametrize("_", range(50))
def test_emit_from_many_threads_while_devices_come_and_go(_: int) -> None:
    manager = make_manager(DeviceType("echo"))
    stay = [v1_device(manager, f"stay{number}") for number in range(3)]
    for device in stay:
        assert device.connection.client is not None
        device.connection.client.join("r")
    problems: list[BaseException] = []

    def emit(number: int) -> None:
        try:
            for count in range(20):
                assert manager.emit(f"t{number}", count, client_type="echo").sent >= 3
                assert manager.emit(f"r{number}", count, room="r").sent >= 3
        except BaseException as error:
            problems.append(error)

    def come_and_go() -> None:
        try:
            for count in range(20):
                device = v1_device(manager, f"guest{count % 2}")
                manager.join(f"guest{count % 2}", "r")
                device.drop()
                manager.leave(f"guest{count % 2}", "r")
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=emit, args=(number,)) for number in range(3)]
    threads += [threading.Thread(target=come_and_go)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert problems == []
    for device in stay:
        check_order(device)
    assert manager.rooms == {"r": ["stay0", "stay1", "stay2"]}


def check_order(device: Device) -> None:
    """Nothing lost, and what one thread sent is in order."""
    packets = device.packets()
    for event in {event for event, _ in packets}:
        assert [value for one, value in packets if one == event] == list(range(20))
    assert len(packets) == 3 * 2 * 20


def test_the_name_of_a_room_has_a_limit() -> None:
    manager = make_manager(DeviceType("echo"), max_room=4)
    v1_device(manager)
    assert manager.join("d1", "üü")
    with pytest.raises(ValueError, match=r"may have 4 bytes \(max_room\), this one has 6"):
        manager.join("d1", "üüü")
    assert manager.rooms == {"üü": ["d1"]}


def test_close_cannot_wait_for_ever(manager: Manager) -> None:
    with pytest.raises(ValueError, match="timeout must be at most 1000000000 seconds"):
        manager.close(1e308)


def test_emit_to_devices_by_what_names_them(manager: Manager) -> None:
    devices = {name: v1_device(manager, name) for name in "abc"}
    client, handle = manager.client("a"), manager.devices["b"]
    assert client is not None
    cases: list[tuple[Any, str]] = [("a", "a"), (client, "a"), (handle, "b"), (["a", handle], "ab"), ([], "")]
    for to, named in cases:
        assert manager.emit("ev", 1, to=to).sent == len(named)
        assert [name for name, device in devices.items() if device.packets() == [("ev", 1)]] == list(named)
    assert manager.emit("ev", 1, to=["a", "x"], skip="a").offline == ("x",)
    with pytest.raises(TypeError, match="'to' must be an id, an IoTClient, a DeviceHandle, or several of these, not"):
        manager.emit("ev", 1, to=5)  # type: ignore[arg-type]  # that is the point


def test_broadcast_is_for_every_device(manager: Manager) -> None:
    devices = [v1_device(manager, name) for name in "abc"]
    devices[2].drop()
    assert manager.emit("ev", 1, broadcast=True, skip="a").sent == 1
    assert [device.packets() for device in devices] == [[], [("ev", 1)], []]
    kept = manager.emit("ev", 1, broadcast=True, skip="a", durable=True)
    assert sorted(kept.deliveries) == ["b", "c"], "those that are away get it later"


def test_two_ways_to_say_who_is_meant(manager: Manager) -> None:
    v1_device(manager, "a")
    for other in ({"client_id": "a"}, {"client_type": "echo"}, {"room": "r"}):
        for one in ({"to": "a"}, {"broadcast": True}):
            with pytest.raises(TypeError, match=f"leave out '{next(iter(other))}'"):
                manager.emit("ev", 1, **one, **other)  # type: ignore[arg-type]  # that is the point


def test_an_event_may_say_no_more_than_its_name(manager: Manager) -> None:
    old, new = v1_device(manager, "old"), v2_device(manager, "new")
    result = manager.emit("ring", to=["old", "new"])
    assert result.sent == 1
    assert list(result.dropped) == ["old"], "v1 has no None"
    client, handle = manager.client("new"), manager.devices["new"]
    assert client is not None
    assert client.emit("ring").sent == handle.emit("ring").sent == 1
    assert len(new.decoded()) == 3
    assert old.packets() == []


def test_an_event_without_a_name(manager: Manager) -> None:
    v1_device(manager, "a")
    client, handle = manager.client("a"), manager.devices["a"]
    assert client is not None
    emits: list[Callable[[], object]] = [
        lambda: manager.emit("", 1, to="a"),
        lambda: client.emit("", 1),
        lambda: handle.emit("", 1),
        lambda: client.call("", 1),
    ]
    for emit in emits:
        with pytest.raises(ValueError, match="'event' must not be empty"):
            emit()


def test_devices_are_a_mapping(manager: Manager) -> None:
    for name in "ab":
        v1_device(manager, name)
    manager.device("a").says_goodbye()  # type: ignore[union-attr]  # it is there
    assert isinstance(manager.devices, Mapping)
    assert list(manager.devices) == list(manager.devices.keys()) == ["a", "b"]
    assert len(manager.devices) == 2
    assert "a" in manager.devices
    assert "x" not in manager.devices
    assert manager.devices["a"] is manager.device("a") is manager.devices.get("a")
    assert [device.id for device in manager.devices.values()] == ["a", "b"]
    with pytest.raises(KeyError, match="'x'"):
        manager.devices["x"]


def test_what_a_manager_says_of_itself(manager: Manager) -> None:
    v1_device(manager, "a").drop()
    v1_device(manager, "b")
    assert repr(manager) == "<Manager: types 'echo', 'other', 1 of 2 devices connected>"
    assert repr(Manager()) == "<Manager: types none, 0 of 0 devices connected>"
    assert repr(manager.backup) == "<StoreBackup of no store>"


def test_all_dates_and_times_are_those_of_the_manager() -> None:
    """Also when a test puts other clocks there; a server's own run on whatever it does."""
    manager = make_manager(DeviceType("echo"))
    manager.clock, manager.wall = lambda: 50.0, lambda: 7000.0
    device = v2_device(manager, "a", "echo")
    client, lasting = manager.client("a"), manager.device("a")
    assert client is not None
    assert lasting is not None
    assert client.connected_since.timestamp() == client.last_seen.timestamp() == 7000.0
    assert lasting.since.timestamp() == 7000.0
    assert device.welcome["time"] == 7_000_000
    result = manager.emit("set", 1, to="a", durable=True)
    assert result.deliveries["a"].record.created == 7000.0
    manager.clock, manager.wall = lambda: 60.0, lambda: 7010.0
    assert client.last_seen.timestamp() == 7000.0
