"""Devices on the in-memory host: the test is the network, the clock and the device."""

from __future__ import annotations

from typing import Any

from iotio import DeviceType, Options
from iotio.core.connection import Scope
from iotio.core.manager import Manager
from iotio.hosts.memory import MemoryConnection, connect
from iotio.protocol import v0, v1
from tests.support.wire import Opcode, encode_frame, v1_headers

__all__ = ["Clock", "Device", "frames_of", "make_manager", "v0_device", "v1_device"]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_manager(*types: DeviceType, clock: Clock | None = None, **options: Any) -> Manager:
    """A manager without Flask; options are those of `Options`."""
    manager = Manager(options=Options(**options), clock=clock or Clock())
    for one in types:
        manager.add_type(one)
    return manager


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of each frame of the server."""
    found = []
    while data:
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        assert not data[1] & 0x80
        assert data[0] & 0x80
        found.append((data[0] & 0x0F, data[start : start + size]))
        assert len(found[-1][1]) == size
        data = data[start + size :]
    return found


class Device:
    """The device's end of a connection in memory."""

    def __init__(self, connection: MemoryConnection) -> None:
        self.connection = connection

    def frame(self, opcode: int, payload: bytes = b"") -> None:
        """Send one frame."""
        self.connection.deliver(encode_frame(opcode, payload))

    def send(self, event: str, value: Any = "") -> None:
        """Send one v1 packet."""
        self.frame(Opcode.BINARY, v1.encode(event, value))

    def send_v0(self, event: str, value: Any = "") -> None:
        """Send one v0 message."""
        self.frame(Opcode.TEXT, v0.encode(event, value).encode())

    def close(self, code: int = 1000) -> None:
        """Send a CLOSE frame."""
        self.frame(Opcode.CLOSE, code.to_bytes(2, "big"))

    def drop(self) -> None:
        """End the TCP stream."""
        self.connection.deliver(b"")

    def frames(self) -> list[tuple[int, bytes]]:
        """What the server has sent since the last time."""
        return frames_of(self.connection.read())

    def packets(self) -> list[tuple[str, Any]]:
        """The same, where it must be v1 packets."""
        found = self.frames()
        assert [opcode for opcode, _ in found if opcode != Opcode.BINARY] == []
        return [v1.decode(payload) for _, payload in found]

    def close_code(self) -> int | None:
        """The code of the CLOSE frame that the server has sent since, if it has."""
        for opcode, payload in self.frames():
            if opcode == Opcode.CLOSE:
                return int.from_bytes(payload[:2], "big")
        return None


def v1_device(
    manager: Manager,
    client_id: str = "d1",
    client_type: str = "echo",
    data: Any = None,
    endpoints: Any = None,
    *,
    room: int | None = None,
    scope: Scope | None = None,
) -> Device:
    """Connect a v1 device."""
    headers = v1_headers(client_id, client_type, data, endpoints)
    return Device(connect(manager, headers, room=room, scope=scope))


def v0_device(manager: Manager, client_id: str = "d0", client_type: str = "echo", opcode: int = Opcode.TEXT) -> Device:
    """Connect a v0 device."""
    device = Device(connect(manager))
    device.frame(opcode, v0.encode_handshake(client_id, client_type, {}).encode())
    return device
