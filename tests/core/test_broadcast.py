"""One event to many devices: encoded once for each kind of wire; what becomes of it at each device."""

from __future__ import annotations

from typing import Any

import pytest

from iotio import DeviceType, DisconnectReason, IoTClient
from iotio.core.broadcast import broadcast
from iotio.core.manager import Manager
from iotio_protocol import v0, v1, v2
from iotio_protocol.errors import EncodeError
from tests.support.memory import make_manager, v0_device, v1_device, v2_device
from tests.support.wire import Opcode


@pytest.fixture
def manager() -> Manager:
    return make_manager(DeviceType("echo"), slow_reader="drop_newest", max_outbox_messages=1)


def clients(manager: Manager, *ids: str) -> list[IoTClient]:
    found = [manager.client(client_id) for client_id in ids]
    assert None not in found
    return found  # type: ignore[return-value]  # the line above is the check


def test_to_no_device(manager: Manager) -> None:
    assert broadcast([], "ev", {1}) == ([], [], {}, None, {}), "what cannot be encoded is the caller's to check"


def test_each_device_reads_its_own_protocol(manager: Manager) -> None:
    text, binary, newest = v0_device(manager, "a"), v1_device(manager, "b"), v2_device(manager, "c")
    text.frames()
    audience = clients(manager, "a", "b", "c")
    assert broadcast(audience, "ev", 5) == (audience, [], {}, None, {})
    assert text.frames() == [(Opcode.TEXT, v0.encode("ev", 5).encode())]
    assert binary.frames() == [(Opcode.BINARY, v1.encode("ev", 5))]
    assert newest.frames() == [(Opcode.BINARY, v2.encode("ev", 5))]


def test_it_is_encoded_once_for_each_kind_of_wire() -> None:
    encoded: list[Any] = []

    class Counting:
        @staticmethod
        def encode(event: str, value: Any) -> bytes:
            encoded.append(value)
            return v1.encode(event, value)

        decode = staticmethod(v1.decode)

    manager = Manager(encoder=Counting)
    manager.add_type(DeviceType("echo"))
    devices = [v1_device(manager, client_id) for client_id in "abc"]
    encoded.clear()
    sent, *_ = broadcast(clients(manager, *"abc"), "ev", 5)
    assert len(sent) == 3
    assert encoded == [5]
    assert [device.packets() for device in devices] == [[("ev", 5)]] * 3


@pytest.mark.parametrize("order", ["ab", "ba", "aba"])
def test_a_value_that_some_devices_cannot_be_sent(manager: Manager, order: str) -> None:
    v1_device(manager, "a")
    v2_device(manager, "b")
    a, b = clients(manager, "a", "b")
    sent, offline, dropped, error, _ = broadcast([{"a": a, "b": b}[one] for one in order], "ev", None)
    assert (sent, offline, error) == ([b], [], None), "None travels in v2 only"
    with pytest.raises(EncodeError) as raised:
        v1.encode("ev", None)
    assert dropped == {"a": str(raised.value)}


def test_a_value_that_none_can_be_sent(manager: Manager) -> None:
    devices = [v1_device(manager, "a"), v2_device(manager, "b")]
    sent, offline, dropped, error, _ = broadcast(clients(manager, "a", "b"), "ev", {1})
    assert (sent, offline, sorted(dropped)) == ([], [], ["a", "b"])
    assert isinstance(error, EncodeError)
    assert [device.frames() for device in devices] == [[], []]


def test_a_device_that_is_gone(manager: Manager) -> None:
    gone, there = v1_device(manager, "a"), v1_device(manager, "b")
    audience = clients(manager, "a", "b")
    gone.connection.close(DisconnectReason.REMOVED)
    assert broadcast(audience, "ev", 5) == (audience[1:], ["a"], {}, None, {})
    assert there.packets() == [("ev", 5)]


def test_a_device_that_reads_too_slowly(manager: Manager) -> None:
    v1_device(manager, "a", room=0)
    v1_device(manager, "b")
    audience = clients(manager, "a", "b")
    assert broadcast(audience, "ev", 5) == (audience, [], {}, None, {})
    assert broadcast(audience, "ev", 5) == (audience[1:], [], {"a": "backpressure"}, None, {})
