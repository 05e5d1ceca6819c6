"""An event to devices: targets, what nobody can be sent, who is away."""

from __future__ import annotations

from typing import Any

import pytest

from iotio import DeviceType, DisconnectReason, EmitResult, EncodeError
from iotio.core.manager import Manager
from tests.support.memory import make_manager, v0_device, v1_device, v2_device
from tests.support.wire import Opcode


@pytest.fixture
def manager() -> Manager:
    return make_manager(DeviceType("echo"), DeviceType("other"))


def test_targets(manager: Manager) -> None:
    a, b, c = v1_device(manager, "a"), v1_device(manager, "b"), v1_device(manager, "c", "other")
    manager.join("b", "r")
    manager.join("c", "r")
    for target, who in (
        ({"client_id": "a"}, "a"),
        ({"client_id": "a", "client_type": "other", "room": "r"}, "a"),
        ({"client_type": "echo"}, "ab"),
        ({"room": "r"}, "bc"),
        ({"room": "r", "client_type": "other"}, "c"),
        ({"room": "nosuch"}, ""),
        ({"client_type": "nosuch"}, ""),
        ({"client_type": "echo", "skip": "a"}, "b"),
        ({"room": "r", "skip": [manager.client("b"), "x"]}, "c"),
        ({"client_id": "a", "skip": "a"}, ""),
    ):
        result = manager.emit("ev", 1, **target)
        assert (result.sent, result.offline, result.dropped) == (len(who), (), {}), target
        received = [bool(device.packets()) for device in (a, b, c)]
        assert received == [one in who for one in "abc"], target


def test_a_manager_of_its_own_class_sees_what_handles_emit() -> None:
    seen: list[str] = []

    class Audited(Manager):
        def emit(self, event: str, *arguments: Any, **options: Any) -> EmitResult:
            seen.append(f"emit {event} {sorted(options.items())}")
            return super().emit(event, *arguments, **options)

        def on_update(self, client_id: str, event: str, data: Any) -> None: ...

        def log_update(self, client_id: str, event: str, data: Any) -> None:
            seen.append(f"update {event}")

    manager = Audited()
    manager.add_type(DeviceType("echo"))
    v1_device(manager, "a")
    client, device = manager.client("a"), manager.device("a")
    assert client is not None
    assert device is not None
    client.emit("x", 1)
    device.emit("y", 1)
    client.emit("z", 1, durable=True, ttl=5.0)
    options = "('coalesce', None), ('durable', {}), ('trigger_update', True), ('ttl', {})"
    assert seen == [
        "update x",
        f"emit y [{options.format(False, None)}]",
        "update y",
        f"emit z [{options.format(True, 5.0)}]",
        "update z",
    ]


def test_emit_says_who_is_away(manager: Manager) -> None:
    assert manager.emit("ev", 1, "nosuch").offline == ("nosuch",)
    device = v1_device(manager, "a")
    manager.join("a", "r")
    device.connection.close(DisconnectReason.REMOVED)
    assert manager.emit("ev", 1, "a").offline == ("a",)
    assert manager.emit("ev", 1, room="r").offline == ("a",)


@pytest.mark.parametrize("durable", [False, True])
def test_emit_to_devices_by_whatever_names_them(manager: Manager, durable: bool) -> None:
    devices = {one: v1_device(manager, one) for one in "abcd"}
    told: list[str] = []

    def on_update(client_id: str, event: str, data: Any) -> None:
        told.append(client_id)

    manager.event(on_update)
    away: Any = manager.device("d")
    devices["d"].drop()
    a: Any = manager.client("a")
    b: Any = manager.device("b")
    for target, sent in ((a, "a"), (b, "b"), (["a", b, "c"], "abc"), ([a, "a"], "a"), ([a, away], "a"), ([], "")):
        result = manager.emit("ev", 1, target, skip=["x"], durable=durable)
        assert (result.sent, sorted(result.offline)) == (len(sent), ["d"] if target == [a, away] else [])
        assert sorted(told) == [*sent, *result.offline]
        told.clear()
        received = [bool(devices[one].frames()) for one in "abc"]
        assert received == [one in sent for one in "abc"]
    assert manager.emit("ev", 1, [a, b], skip=b, durable=durable).sent == 1
    result = manager.emit("ev", 1, ["a", "nosuch"], durable=durable)
    assert result.sent == 1
    assert [*result.offline, *result.dropped] == ["nosuch"]


def test_emit_without_a_target(manager: Manager) -> None:
    with pytest.raises(ValueError, match="'client_id', 'client_type', or 'room' must be provided"):
        manager.emit("ev", 1)


@pytest.mark.parametrize("target", [{"client_id": "a"}, {"client_id": "x"}, {"client_type": "echo"}, {"room": "x"}])
def test_what_nobody_can_be_sent_raises_whoever_is_there(manager: Manager, target: Any) -> None:
    v1_device(manager, "a")
    for value in (None, {1}, 2**63, {"a": float("nan")}):
        with pytest.raises(EncodeError):
            manager.emit("ev", value, **target)
    with pytest.raises(TypeError):
        manager.emit(5, 1, **target)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError):
        manager.emit("ev", 1, colour="red", **target)  # type: ignore[call-arg]  # that is the point


def test_a_value_that_some_versions_cannot_carry(manager: Manager) -> None:
    v1, v0 = v1_device(manager, "new"), v0_device(manager, "old")
    result = manager.emit("ev", [1], client_type="echo")
    assert result.sent == 1
    assert list(result.dropped) == ["old"]
    assert "list" in result.dropped["old"]
    result = manager.emit("ev", 1.5, client_type="echo")
    assert result.sent == 1
    assert "float" in result.dropped["new"]
    assert v1.packets() == [("ev", [1])]
    assert v0.frames() == [(Opcode.TEXT, b'[/"ev"/][/"1.5"/]')]


def test_a_broadcast_is_encoded_once_for_each_kind_of_wire() -> None:
    class Counting:
        count = 0

        def encode(self, event: str, value: Any) -> bytes:
            self.count += 1
            return f"{event}={value}".encode()

        def decode(self, packet: bytes) -> tuple[str, Any]:
            event, _, value = bytes(packet).decode().partition("=")
            return event, value

    encoder = Counting()
    manager = Manager(encoder=encoder)
    manager.add_type(DeviceType("echo"))
    devices = [v1_device(manager, f"d{number}") for number in range(5)]
    assert manager.emit("ev", 1, client_type="echo").sent == 5
    assert encoder.count == 1
    assert [device.frames() for device in devices] == [[(Opcode.BINARY, b"ev=1")]] * 5


def test_one_dead_client_does_not_stop_a_broadcast(manager: Manager) -> None:
    devices = [v1_device(manager, f"d{number}") for number in range(3)]
    devices[1].connection.close(DisconnectReason.REMOVED)
    result = manager.emit("ev", 1, client_type="echo")
    assert (result.sent, result.offline) == (2, ("d1",))
    assert devices[2].packets() == [("ev", 1)]


def test_what_is_larger_than_a_device_takes_is_dropped_for_it(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    small, middle, other = (
        v2_device(manager, "small", max_payload=4),
        v2_device(manager, "middle", max_payload=8),
        v2_device(manager, "other"),
    )
    result = manager.emit("ev", "12345678", client_type="echo")
    assert (result.sent, result.dropped) == (2, {"small": "too_large"})
    assert [len(device.decoded()) for device in (small, middle, other)] == [0, 1, 1]
    assert "event 'ev' is dropped for device 'small': it is larger than the device takes" in caplog.text
    alone = manager.emit("ev", "12345", client_id="small")
    assert (alone.sent, alone.dropped, bool(alone)) == (0, {"small": "too_large"}, False)
    assert manager.emit("ev", b"1234", client_id="small").sent == 1
    with pytest.raises(EncodeError):
        manager.emit("ev", {1, 2}, client_id="small")


def test_an_endpoint_makes_it_larger(manager: Manager) -> None:
    declared = [{"id": "ev", "name": "E", "type": "string"}]
    v2_device(manager, "small", max_payload=4, endpoints=declared)
    assert manager.emit("ev", 1234, client_type="echo").sent == 1
    assert manager.emit("ev", 12345, client_type="echo").dropped == {"small": "too_large"}
