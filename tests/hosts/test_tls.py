"""Devices over TLS: reads and writes share one TLS object, and the last record may lie in it, not in the socket.

The device has one thread. websockets' sync client reads and writes a TLS object in two at once, which now and then
loses the answer to the handshake, whatever the server: 2 of 2 500 times with websockets' own server.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from iotio_protocol import v1, v2
from tests.support.certificates import issue
from tests.support.processes import START_SECONDS, Program
from tests.support.v2 import V2Device
from tests.support.wire import RawPeer, v1_headers

PROGRAM = Path(__file__).parent / "programs" / "tls_server.py"


@pytest.mark.parametrize("host", ["gevent", "flask", "native"])
def test_echo_and_calls(host: str, tmp_path: Path) -> None:
    chain, key, context = issue(tmp_path)
    with Program([sys.executable, PROGRAM, host, chain, key]) as server:
        port = int(server.wait_line("ready", START_SECONDS).split()[1])
        with RawPeer("localhost", port, timeout=10, tls=context) as device:
            assert device.upgrade(headers=v1_headers("d", "echo")).status == 101
            for size in (0, 5, 70_000, 1_000_000):
                packets = [v1.encode("echo", letter * size) for letter in "abc"]
                for packet in packets:
                    device.send_binary(packet)
                assert [device.expect_frame().payload for _ in packets] == packets
        with V2Device(port, "v2", "echo", host="localhost", timeout=10, tls=context) as caller:
            for event in ("call", "acall"):
                for size in (5, 70_000, 1_000_000):
                    check_call(caller, event, "x" * size)


def check_call(device: V2Device, event: str, value: str) -> None:
    """A handler calls its own device, which sends events before it answers."""
    device.send(event, value, v2.CALL, call=1)
    number = device.expect_call("ask", value)
    for letter in "ab":
        device.send("echo", letter + value)
    device.answer(number, value)
    assert device.expect() == v2.Packet("", value, v2.RESULT, 1)
    assert [device.expect() for _ in "ab"] == [v2.Packet("echo", letter + value) for letter in "ab"]
