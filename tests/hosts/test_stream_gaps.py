"""Durable messages that are lost on the way to the server, on every host."""

from __future__ import annotations

import itertools

import pytest

from iotio_protocol import v2
from tests.support.hosts import Host, host
from tests.support.v2 import V2Device
from tests.support.wire import Opcode

__all__ = ["host"]  # the fixture

numbers = itertools.count()


def message(event: str, number: int) -> bytes:
    """The frame of a durable message whose value is its number, right behind the one before."""
    packet = v2.encode(event, number, v2.DURABLE, number=number, previous=number - 1)
    return b"\x82" + bytes([0x80 | len(packet)]) + b"\0\0\0\0" + packet


def took(device: V2Device, count: int, last: int) -> list[object]:
    """The values that come back for so many messages, up to the ACK of the last one; ACKs may come in any place."""
    values: list[object] = []
    upto = 0
    while len(values) < count or upto < last:
        packet = device.expect()
        if isinstance(packet, v2.Ack):
            assert packet.upto >= upto
            upto = packet.upto
        else:
            assert isinstance(packet, v2.Packet)
            values.append(packet.value)
    return values


@pytest.mark.parametrize("event", ["same", "later"])
def test_a_lost_message_comes_over_the_next_connection(host: Host, event: str) -> None:
    """What is behind the gap is there already, in the same segment; it is neither handled nor answered."""
    device_id = f"gap{next(numbers)}"
    sends: dict[str, object] = {"sends": "s"}
    with V2Device(host.port, device_id, fields=sends) as device:
        device.send_bytes(b"".join(message(event, number) for number in (1, 3, 4, 5)))
        assert took(device, 1, 1) == [1]
        problem = device.expect()
        assert isinstance(problem, v2.Problem)
        assert problem.error == "stream_gap"
        assert device.expect() == v2.Goodbye("protocol_error")
        frame = device.expect_frame()
        assert (frame.opcode, frame.close_code) == (Opcode.CLOSE, 1008)
        device.send_close(1008)
        assert device.recv_frames_until_eof() == []
    with V2Device(host.port, device_id, fields=sends) as device:
        assert device.welcome["heard"] == {"stream": "s", "upto": 1}
        device.send_bytes(b"".join(message(event, number) for number in (1, 2, 3, 4, 5)))
        assert took(device, 4, 5) == [2, 3, 4, 5]
