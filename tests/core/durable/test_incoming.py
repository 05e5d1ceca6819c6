"""Messages from a device: handled once, and acknowledged."""

from __future__ import annotations

from typing import Any

import pytest

from iotio.core.durable.delivery import DeliveryState
from iotio.core.manager import Manager
from iotio_protocol import v2
from tests.core.durable.lamps import Lamp, connect
from tests.support.memory import V2Device
from tests.support.wire import Opcode

QUEUED, SENT, DONE = DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.DONE
ACKNOWLEDGED, EXPIRED, DROPPED = DeliveryState.ACKNOWLEDGED, DeliveryState.EXPIRED, DeliveryState.DROPPED


def acks(device: V2Device) -> list[int]:
    return [packet.upto for packet in device.decoded() if isinstance(packet, v2.Ack)]


def test_handled_once_and_acknowledged(manager: Manager, lamp: Lamp) -> None:
    device = connect(manager, sends="S")
    assert device.welcome["heard"] == {"stream": "S", "upto": 0}
    device.durable(1, "read", "a")
    assert device.frames() == [(Opcode.BINARY, b"\x12\0\0\0\0\0\0\x08" + (1).to_bytes(8, "big"))]
    device.durable(1, "read", "a")
    assert acks(device) == [1]
    device.durable(5, "read", "b", previous=1)
    assert acks(device) == [5]
    device.drop()
    device = connect(manager, sends="S")
    assert device.welcome["heard"] == {"stream": "S", "upto": 5}
    device.durable(5, "read", "b", previous=1)
    assert lamp.seen == [("a", "S/1"), ("b", "S/5")]


def test_a_new_name_begins_anew(manager: Manager, lamp: Lamp) -> None:
    device = connect(manager, sends="S")
    device.durable(1, "read", "a")
    device = connect(manager)
    assert device.welcome["heard"] == {"stream": "S", "upto": 1}
    device = connect(manager, sends="T")
    assert device.welcome["heard"] == {"stream": "T", "upto": 0}
    device.durable(1, "read", "b")
    assert lamp.seen == [("a", "S/1"), ("b", "T/1")]


def test_without_the_name_of_a_stream(manager: Manager, lamp: Lamp) -> None:
    device = connect(manager)
    device.durable(1, "read", "a")
    (problem,) = device.decoded()
    assert isinstance(problem, v2.Problem)
    assert lamp.seen == []


def test_a_gap_ends_the_connection(manager: Manager, lamp: Lamp) -> None:
    device = connect(manager, sends="S")
    device.durable(2, "read", "b", previous=1)
    assert not device.connection.is_open
    assert lamp.seen == []
    device = connect(manager, sends="S")
    device.durable(1, "read", "a")
    device.durable(2, "read", "b")
    assert acks(device) == [1, 2]


@pytest.mark.parametrize("error", [ValueError, BaseException])
def test_what_fails_counts_as_handled(manager: Manager, lamp: Lamp, error: type[BaseException]) -> None:
    def fail(message: Any, client: Any) -> None:
        client.message.transaction(lambda connection: lamp.seen.append("never"))
        raise error("boom")

    lamp.inside = fail
    device = connect(manager, sends="S")
    device.durable(1, "read", "a")
    device.durable(2, "nothing")
    assert acks(device) == [1, 2]
    assert lamp.seen == [("a", "S/1")]


def test_a_handler_of_an_old_connection_that_still_runs(manager: Manager, lamp: Lamp) -> None:
    """The new connection brings the message once more; its transaction takes place once."""
    done = []

    def write(message: Any, client: Any) -> None:
        client.message.transaction(lambda connection: done.append(message))
        if len(lamp.seen) == 1:  # the device comes back while the first is at it, and nobody waits for that
            device = connect(manager, sends="S")
            device.durable(1, "read", "again")
            device.durable(2, "read", "b")
            assert acks(device) == [1, 2]

    lamp.inside = write
    connect(manager, sends="S").durable(1, "read", "a")
    assert [message for message, _ in lamp.seen] == ["a", "again", "b"]
    assert done == ["again", "b"]


def test_a_transaction_that_fails(manager: Manager, lamp: Lamp) -> None:
    def write(message: Any, client: Any) -> None:
        client.message.transaction(lambda connection: 1 / 0)
        client.message.transaction(lambda connection: lamp.seen.append("written"))

    lamp.inside = write
    device = connect(manager, sends="S")
    device.durable(1, "read", "a")
    assert acks(device) == [1]
    assert lamp.seen == [("a", "S/1"), "written"]


def test_only_durable_messages_have_a_transaction(manager: Manager, lamp: Lamp) -> None:
    errors = []

    def write(message: Any, client: Any) -> None:
        with pytest.raises(RuntimeError, match="durable=True") as caught:
            client.message.transaction(print)
        errors.append(caught.value)

    lamp.inside = write
    device = connect(manager)
    device.packet(v2.encode("read", 1, v2.TIME, time=5))
    assert errors
    assert acks(device) == []
