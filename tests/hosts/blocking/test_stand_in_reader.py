"""Calls to a device that wait for their answers while the thread of its connection is in a handler."""

from __future__ import annotations

from typing import Any

import pytest

from iotio import DeviceType, IoTClient, Options
from iotio.core.lane import TOO_MUCH_WAITS
from iotio.hosts.blocking.connection import SocketConnection
from iotio_protocol import v2
from tests.support.hosts import eventually, open_descriptors, serve_local
from tests.support.v2 import V2Device

KINDS = ["gevent", "flask"]
ROUNDS = 20


class Asking(DeviceType):
    """Calls its device from a handler, and notes what comes later."""

    seen: list[int]

    def on_ask(self, timeout: float, client: IoTClient) -> Any:
        return client.call("ask", timeout=timeout)

    def on_seq(self, number: int, client: IoTClient) -> None:
        self.seen.append(number)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_put_aside_while_a_handler_calls_is_bounded(kind: str) -> None:
    """Then the call fails at once, nobody reads, and silence says nothing; all of it is handled behind the handler."""
    with serve_local(kind, Options(ping_interval=0.2, ping_timeout=0.2)) as host:
        device_type = Asking("asking")
        device_type.seen = []
        host.manager.add_type(device_type)
        with V2Device(host.port, "d", "asking") as device:
            device.send("ask", 30, v2.CALL, call=1)
            device.expect_call("ask")
            client = host.manager.client("d")
            assert client is not None
            connection = client.socket
            assert isinstance(connection, SocketConnection)
            assert connection.lane.is_reading
            for n in range(400):
                device.send("seq", n)
            packet = device.expect()
            assert isinstance(packet, v2.Packet)
            assert packet.flags == v2.FAILURE
            assert packet.value == {
                "error": "exception",
                "name": "CallError",
                "message": f"device 'd', call of 'ask': {TOO_MUCH_WAITS}",
            }
            eventually(lambda: device_type.seen == list(range(400)))
            device.send("ask", 5, v2.CALL, call=2)
            device.answer(device.expect_call("ask"), "x")
            assert device.expect() == v2.Packet("", "x", v2.RESULT, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_no_descriptor_is_left_over(kind: str) -> None:
    """The descriptors are those of the whole process, where other tests leave something to end in its own time."""
    with serve_local(kind) as host, V2Device(host.port, "stays") as device:
        before = open_descriptors()
        for n in range(ROUNDS):
            device.send("acallself", None, v2.CALL, call=n)
            device.answer(device.expect_call("ask"), n)
            assert device.expect() == v2.Packet("", n, v2.RESULT, n)
            with V2Device(host.port, f"d{n}") as other:
                other.send("callself")
                other.expect_call("ask")
        eventually(lambda: host.manager.clients == ["stays"])
        eventually(lambda: open_descriptors() < before + ROUNDS)  # one for each would be one too many
