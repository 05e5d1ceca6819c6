"""The host without a network."""

from __future__ import annotations

from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio.hosts.memory import connect
from iotio_protocol import v1
from iotio_protocol.frames import encode_close
from tests.protocol.vectors import load
from tests.support.app import Echo
from tests.support.memory import Clock, make_manager, v1_device
from tests.support.wire import Opcode, encode_frame, v1_headers

ERRORS = load("v1_errors.json")


class Echoes(DeviceType):
    def on_echo(self, message: Any, client: IoTClient) -> Any:
        return message

    async def on_late(self, message: Any, client: IoTClient) -> Any:
        return message


def test_a_conversation() -> None:
    manager = make_manager(Echoes("echo"))
    connection = connect(manager, v1_headers("d1", "echo"))
    assert manager.connections.all() == [connection]
    assert connection.read() == b""
    for event in ("echo", "late"):
        connection.deliver(encode_frame(Opcode.BINARY, v1.encode(event, "x")))
        packet = v1.encode(event, "x")
        assert connection.read() == bytes([0x82, len(packet)]) + packet
    connection.deliver(encode_frame(Opcode.CLOSE, b"\x03\xe8"))
    assert connection.read() == encode_close(1000)
    assert connection.ended
    assert manager.connections.all() == []
    connection.deliver(b"whatever comes after the end")
    assert connection.read() == b""


def test_the_end_of_the_stream() -> None:
    manager = make_manager(Echoes("echo"))
    connection = connect(manager, v1_headers("d1", "echo"))
    connection.deliver(b"")
    assert connection.ended
    assert connection.read() == b""
    assert manager.clients == []


def test_what_waits() -> None:
    connection = connect(make_manager(Echoes("echo")), v1_headers("d1", "echo"), room=10)
    connection.write(b"x" * 15)
    assert connection.pending() == 5
    connection.read()
    assert connection.pending() == 0
    assert connect(connection.manager, v1_headers("d2", "echo")).pending() == 0


def test_nothing_happens_before_its_time() -> None:
    clock = Clock()
    manager = make_manager(Echoes("echo"), clock=clock)
    connection = connect(manager, v1_headers("d1", "echo"))
    connection.advance()
    assert connection.read() == b""
    assert connection.session.deadline == clock.now + manager.options.ping_interval


def test_an_exception_of_an_async_handler_stays_inside(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(DeviceType):
        async def on_echo(self, message: Any, client: IoTClient) -> Any:
            raise ValueError("late")

    device = v1_device(make_manager(Fails("echo")))
    device.send("echo")
    assert "handler on_echo of type 'echo' failed for device 'd1'" in caplog.text
    assert device.connection.is_open


# The frames of the vectors, cut in two at every byte: the answer does not depend on how the network cuts.

SPLIT = [
    case
    for case in ERRORS["runtime"]
    if case["sent_hex"] and "..." not in case["sent_hex"] and not case["name"].startswith(("handler_ctx", "room"))
]


def answer_to(*pieces: bytes) -> tuple[bytes, list[str], bool]:
    """What comes back, what the handlers saw, whether the connection is over."""
    seen: list[str] = []
    manager = make_manager(Echo(lambda client_id, what: seen.append(what), lambda seconds: None))
    device = v1_device(manager)
    for piece in pieces:
        device.connection.deliver(piece)
    return device.connection.read(), seen, device.connection.ended


@pytest.mark.parametrize("case", SPLIT, ids=lambda case: case["name"])
def test_every_cut_of_the_runtime_vectors_gives_the_same_answer(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["sent_hex"])
    whole = answer_to(data)
    for cut in range(1, len(data)):
        assert answer_to(data[:cut], data[cut:]) == whole, cut
    assert answer_to(*(bytes([byte]) for byte in data)) == whole
