"""Devices on the in-memory host: the test is the network, the clock and the device."""

from __future__ import annotations

from typing import Any

from iotio import DeviceType, Options
from iotio.core.connection import Scope
from iotio.core.manager import Manager
from iotio.core.storage.contract import Store
from iotio.hosts.memory import MemoryConnection, connect
from iotio_protocol import v0, v1, v2
from tests.support.wire import Opcode, encode_frame, v1_headers

__all__ = ["Clock", "Device", "V2Device", "frames_of", "make_manager", "v0_device", "v1_device", "v2_device"]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_manager(
    *types: DeviceType, clock: Clock | None = None, store: Store | None = None, patience: float = 5.0, **options: Any
) -> Manager:
    """A manager without Flask; options are those of `Options`, `patience` is that with the store."""
    if store is not None:
        store.open()
    manager = Manager(options=Options(**options), clock=clock or Clock(), store=store)
    if manager.store_writer is not None:
        manager.store_writer._patience = patience
        manager.store_writer._max_pause = patience / 2
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


class V2Device(Device):
    """The device's end of a connection that speaks v2.

    Attributes:
        welcome: the fields of WELCOME, {} if there was none.
    """

    def __init__(self, connection: MemoryConnection, hello: dict[str, Any]) -> None:
        super().__init__(connection)
        self.welcome: dict[str, object] = {}
        self._first: list[v2.Decoded] = []
        self.packet(v2.encode_json(v2.HELLO, hello))
        found = self.decoded()
        if found and isinstance(found[0], v2.Greeting):
            self.welcome = found.pop(0).fields  # type: ignore[union-attr]  # it is a Greeting
        self._first = found

    def packet(self, packet: bytes) -> None:
        """Send the bytes of one packet."""
        self.frame(Opcode.BINARY, packet)

    def durable(self, number: int, event: str, value: Any = None, previous: int | None = None) -> None:
        """Send a durable message; the one before it is number - 1 if not said otherwise."""
        before = number - 1 if previous is None else previous
        self.packet(v2.encode(event, value, v2.DURABLE, number=number, previous=before))

    def ack(self, upto: int) -> None:
        """Acknowledge messages of the server."""
        self.packet(v2.encode_ack(upto))

    def decoded(self) -> list[v2.Decoded]:
        """What the server has sent since the last time; it must be packets."""
        found, self._first = self._first, []
        frames = self.frames()
        assert [opcode for opcode, _ in frames if opcode != Opcode.BINARY] == []
        return found + [v2.decode(payload) for _, payload in frames]

    def messages(self) -> list[tuple[int, int, str, Any]]:
        """The same, where it must be durable messages: the number of the one before, its own, event and value."""
        found = []
        for packet in self.decoded():
            assert isinstance(packet, v2.Packet), packet
            assert packet.flags == v2.DURABLE | v2.TIME
            found.append((packet.previous, packet.number, packet.event, packet.value))
        return found


def v2_device(
    manager: Manager,
    client_id: str = "d2",
    client_type: str = "echo",
    *,
    room: int | None = None,
    **fields: Any,
) -> V2Device:
    """Connect a v2 device; fields are those of HELLO."""
    connection = connect(manager, room=room, subprotocol=v2.SUBPROTOCOL)
    return V2Device(connection, {"id": client_id, "type": client_type, **fields})
