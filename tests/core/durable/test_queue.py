"""Both streams of one device: made when they are needed, and what is kept of them before."""

from __future__ import annotations

from typing import Any

import pytest

from iotio.core.durable.delivery import DeliveryState
from iotio.core.durable.queue import DurableQueue
from iotio.core.manager import Manager
from iotio.hosts.memory import connect as make_connection
from iotio_protocol import v2
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.v2 import MAX_NUMBER
from tests.core.durable.lamps import Lamp, connect, emit
from tests.support.wire import Opcode, encode_frame


def queue_of(manager: Manager) -> DurableQueue:
    queue = manager.durable_messages.known_queue("d")
    assert queue is not None
    return queue


def made(queue: DurableQueue) -> tuple[bool, bool]:
    """Which of the two streams there are."""
    return queue._outgoing is not None, queue._incoming is not None


def test_a_stream_is_made_when_it_is_needed_and_knows_its_connection(manager: Manager, lamp: Lamp) -> None:
    device = connect(manager, sends="mine")
    queue = queue_of(manager)
    assert made(queue) == (False, False)
    assert (queue.waiting, queue.on_their_way) == (0, 0)
    device.durable(1, "read", 5)
    assert made(queue) == (False, True)
    assert queue.position == (device.welcome["sends"], 0, "mine", 1)
    delivery = emit(manager, 7)
    assert made(queue) == (True, True)
    assert (queue.waiting, queue.on_their_way, delivery.state) == (1, 1, DeliveryState.SENT)
    device.ack(1)
    assert (queue.waiting, delivery.state) == (0, DeliveryState.DONE)
    assert queue.position == (device.welcome["sends"], 1, "mine", 1)
    device.drop()
    assert emit(manager, 8).state is DeliveryState.QUEUED


def test_what_a_device_says_before_there_are_streams_counts(manager: Manager) -> None:
    device = connect(manager, sends="a")
    queue = queue_of(manager)
    assert device.welcome["heard"] == {"stream": "a", "upto": 0}
    stream = str(device.welcome["sends"])
    connect(manager, sends="b", heard={"stream": stream, "upto": 4})
    assert queue.position == (stream, 4, "b", 0), "a number that the device knows is not given again"
    connect(manager, heard={"stream": stream, "upto": MAX_NUMBER - 1})
    assert queue.position == (stream, 4, "b", 0), "no stream has come so far"
    assert made(queue) == (False, False)
    assert emit(manager, 1).number == 5


class Link:
    """A connection that takes everything."""

    version = 2
    takes = v2.Takes()

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.frames: list[bytes] = []

    @property
    def sent(self) -> int:
        return len(self.frames)

    def send(self, frame: bytes) -> str:
        self.frames.append(frame)
        return ""

    def has_room_for_durable(self, size: int) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_an_earlier_connection_changes_nothing(manager: Manager) -> None:
    connect(manager).drop()
    queue = queue_of(manager)
    emit(manager, 1)
    earlier: Any = Link(1000)
    later: Any = Link(1001)
    queue.resume(later)
    queue.resume(earlier)
    queue.suspend(earlier)
    assert (len(earlier.frames), len(later.frames), queue.on_their_way) == (0, 1, 1)
    queue.suspend(later)
    assert (queue.on_their_way, queue.waiting) == (0, 1)


@pytest.mark.parametrize("before", [0, 1])
def test_a_connection_that_loses_a_takeover_changes_no_stream(manager: Manager, lamp: Lamp, before: int) -> None:
    """It was made earlier and says HELLO later, with another stream: the device has lost its memory in between."""
    late = make_connection(manager, subprotocol=v2.SUBPROTOCOL)
    device = connect(manager, sends="mine")
    for number in range(1, before + 1):
        device.durable(number, "read", number)
    hello = v2.encode_json(v2.HELLO, {"id": "d", "type": "lamp", "sends": "another"})
    late.deliver(encode_frame(Opcode.BINARY, hello))
    assert late.gone is DisconnectReason.TAKEOVER
    device.durable(before + 1, "read", 5)
    assert queue_of(manager).position[2:] == ("mine", before + 1)
    assert connect(manager, sends="mine").welcome["heard"] == {"stream": "mine", "upto": before + 1}
