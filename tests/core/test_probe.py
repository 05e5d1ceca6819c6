"""Whether a device has read what it was sent: a ping behind it tells."""

from __future__ import annotations

from iotio import DeviceType
from iotio.core.probe import probe
from iotio_protocol.session import WasRead
from tests.support.memory import make_manager, v1_device
from tests.support.wire import Opcode


def test_a_ping_behind_it() -> None:
    device = v1_device(make_manager(DeviceType("echo")))
    told: list[object] = []
    connection = device.connection
    connection.handle = told.append  # type: ignore[method-assign,assignment]
    for number in (1, 2):
        probe(connection, WasRead(number))
    pings = [payload for opcode, payload in device.frames() if opcode == Opcode.PING]
    assert len(pings) == 2
    device.frame(Opcode.PONG, pings[1])
    assert told == [WasRead(1), WasRead(2)], "the second pong is behind both"


def test_where_no_pings_are_sent() -> None:
    device = v1_device(make_manager(DeviceType("echo")))
    told: list[object] = []
    connection = device.connection
    connection.session.keeps_alive = False
    connection.handle = told.append  # type: ignore[method-assign,assignment]
    probe(connection, WasRead(1))
    assert told == [WasRead(1)]
