"""The durable messages of one connection: between the queue of the device and its socket."""

from __future__ import annotations

from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio.core.durable.channel import DurableChannel
from iotio.core.durable.delivery import DeliveryState
from iotio.core.manager import Manager
from iotio.core.storage.contract import StoreUnavailable
from iotio.hosts.memory import MemoryConnection
from iotio_protocol import v2
from iotio_protocol.reasons import DisconnectReason
from tests.support.memory import Device, V2Device, make_manager, v1_device, v2_device
from tests.support.wire import Opcode

SIZE = 200  # bytes that may wait


class Lamp(DeviceType):
    """Takes what comes."""

    def on_set(self, message: Any, client: IoTClient) -> None:
        """Do nothing."""


@pytest.fixture
def manager() -> Manager:
    return make_manager(Lamp("lamp"), max_outbox=SIZE, max_outbox_messages=8)


def channel_of(device: Device) -> DurableChannel:
    channel = device.connection.durable
    assert channel is not None
    return channel


def test_a_v2_device_has_one_queue_for_the_life_of_its_connection(manager: Manager) -> None:
    device = v2_device(manager, "d", "lamp", sends="s")
    channel = channel_of(device)
    assert (channel.version, channel.stream, channel.epoch) == (2, "s", device.connection.epoch)
    assert channel.queue is channel.announced
    assert device.welcome["heard"] == {"stream": "s", "upto": 0}
    known = manager.device("d")
    assert known is not None
    known.forget()
    assert channel.queue is channel.announced
    assert channel.announced.closed


def test_a_v1_device_has_a_queue_when_it_needs_one(manager: Manager) -> None:
    device = v1_device(manager, "d", "lamp")
    channel = channel_of(device)
    assert (channel.queue, channel.stream) == (None, None)
    manager.emit("set", 1, "d", durable=True)
    assert channel.queue is not None
    assert [opcode for opcode, _ in device.frames()] == [Opcode.BINARY, Opcode.PING], "a ping asks whether it was read"


def test_a_channel_that_is_suspended_is_sent_nothing(manager: Manager) -> None:
    device = v2_device(manager, "d", "lamp")
    channel_of(device).suspend()
    result = manager.emit("set", 1, "d", durable=True)
    assert result.deliveries["d"].state is DeliveryState.QUEUED
    assert device.frames() == []
    channel_of(device).resume()
    assert result.deliveries["d"].state is DeliveryState.QUEUED, "its turn is over"


def test_durable_messages_leave_half_of_the_room(manager: Manager) -> None:
    device = v2_device(manager, "d", "lamp")
    connection, channel = device.connection, channel_of(device)
    connection._room = 0  # the network takes nothing
    assert channel.has_room_for_durable(10 * SIZE), "a message may be larger, if nothing waits"
    connection.write(b"x" * 60)
    assert channel.has_room_for_durable(SIZE // 2 - 60)
    assert not channel.has_room_for_durable(SIZE // 2 - 59)
    for _ in range(4):
        connection.write(b"x")
    assert not channel.has_room_for_durable(1), "half of the frames"
    connection.read()


def test_an_acknowledgement_reaches_a_slow_reader_but_no_closed_connection(manager: Manager) -> None:
    device = v2_device(manager, "d", "lamp")
    device.connection._room = 0
    device.connection.write(b"x" * SIZE)
    channel_of(device).acknowledge(b"ack")
    assert device.connection.read() == b"x" * SIZE + b"ack"
    device.connection.close(DisconnectReason.REMOVED)
    device.connection.read()
    channel_of(device).acknowledge(b"ack")
    assert device.connection.read() == b""


def test_where_no_pings_are_sent_what_was_sent_counts_as_read_a_little_later(manager: Manager) -> None:
    device = v1_device(manager, "d", "lamp")
    later: list[Any] = []

    class Later:
        """The lane of a loop, which calls soon what is given to it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(lane, name)

        def call_soon(self, function: Any) -> None:
            later.append(function)

    connection: Any = device.connection
    lane, connection.lane = connection.lane, Later()
    connection.session.keeps_alive = False
    result = manager.emit("set", 1, "d", durable=True)
    [delivery] = result.deliveries.values()
    assert str(delivery.state) == "sent"
    assert [opcode for opcode, _ in device.frames()] == [Opcode.BINARY]
    later.pop()()
    assert str(delivery.state) == "acknowledged"
    assert later == []


def test_a_store_that_cannot_be_written_sends_the_device_away(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    device = v2_device(manager, "d", "lamp")
    channel_of(device).cannot_store(StoreUnavailable("disk full"))
    assert device.connection.gone is DisconnectReason.STORE_UNAVAILABLE
    assert "device 'd' is to come again: disk full" in caplog.text


def test_a_device_forgotten_while_it_comes_in_has_to_come_again(manager: Manager) -> None:
    """WELCOME has named a queue; the device is forgotten before the connection takes its place."""
    device = v2_device(manager, "d", "lamp")
    connection: MemoryConnection = device.connection
    manager.durable_messages.drop("d")
    assert connection.is_open
    channel_of(device).resume()
    assert connection.gone is DisconnectReason.REMOVED


def test_the_frames_are_those_of_the_session(manager: Manager) -> None:
    device: V2Device = v2_device(manager, "d", "lamp")
    frame = channel_of(device).encode("set", 1)
    assert channel_of(device).send(frame) == ""
    assert device.frames() == [(Opcode.BINARY, v2.encode("set", 1))]
