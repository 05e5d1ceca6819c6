"""All devices drop at once and come back within their grace time: nobody is told, and nothing is missing or twice.

`IOTIO_FULL=1 pytest -s tests/load/test_drop_and_resume.py` has 1000 devices, the suite 300.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

import flask
import pytest

from iotio import DeviceType, IoTManager, Options, Presence
from iotio.hosts.asgi.messages import client_frame, server_frames
from iotio_protocol import v2
from tests.load.endurance import FULL, allow_descriptors, percentile
from tests.load.harness import report
from tests.support.wire import KEY, Opcode, encode_frame

pytestmark = pytest.mark.load

COUNT = 1000 if FULL else 300
ROOMS = 10
LATE = 60.0  # seconds for all of them to do one thing
GRACE = 60.0  # seconds; longer than all of it takes


class Lamp(DeviceType):
    """Notes the changes of presence."""

    def __init__(self) -> None:
        super().__init__("lamp", grace=GRACE)
        self.told: list[tuple[str, Presence, Presence]] = []

    def on_presence(self, client: Any, old: Presence, new: Presence, reason: Any) -> None:
        """Note it."""
        self.told.append((client.id, old, new))


class RawDevice:
    """A v2 device that acknowledges what it gets, as long as it is told to.

    Attributes:
        got: number and value of each message, over all connections.
        stream: the name of the server's stream.
    """

    def __init__(self, port: int, index: int) -> None:
        self.port = port
        self.id = f"lamp-{index}"
        self.room = f"room-{index % ROOMS}"
        self.got: list[tuple[int, Any]] = []
        self.stream: object = None
        self.acknowledges = True
        self._rest = b""
        self._arrived = asyncio.Event()

    async def connect(self) -> None:
        """Connect, and say what it has of the server's stream; read from now on."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writer.write(
            f"GET /iot.io HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {v2.SUBPROTOCOL}\r\n\r\n".encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        heard = None if self.stream is None else {"stream": self.stream, "upto": self.upto}
        self._send(v2.encode_json(v2.HELLO, {"id": self.id, "type": "lamp", "heard": heard}))
        self._rest = b""
        self._welcomed = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._read())
        await self._welcomed

    @property
    def upto(self) -> int:
        """The last number that it has taken."""
        return self.got[-1][0] if self.got else 0

    async def has(self, count: int) -> None:
        """Wait until it has got so many messages."""
        while len(self.got) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def drop(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()
        self._task.cancel()

    async def _read(self) -> None:
        while data := await self._reader.read(65536):
            self._rest += data
            size = _whole(self._rest)
            whole, self._rest = self._rest[:size], self._rest[size:]
            for opcode, payload in server_frames(whole):
                if opcode == Opcode.PING:
                    self._writer.write(encode_frame(Opcode.PONG, payload))
                elif opcode == Opcode.BINARY:
                    self._take(v2.decode(payload))

    def _take(self, packet: v2.Decoded) -> None:
        if isinstance(packet, v2.Greeting):
            self.stream = packet.fields["sends"]
            self._welcomed.set_result(None)
            return
        assert isinstance(packet, v2.Packet), packet
        assert packet.previous <= self.upto < packet.number, (packet, self.got)
        self.got.append((packet.number, packet.value))
        if self.acknowledges:
            self._send(v2.encode_ack(packet.number))
        self._arrived.set()

    def _send(self, packet: bytes) -> None:
        self._writer.write(client_frame(packet))


def _whole(data: bytes) -> int:
    """How many bytes are whole frames."""
    position = 0
    while len(data) - position >= 2:
        size, head = data[position + 1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[position + 2 : position + head], "big")
        if len(data) - position < head + size or len(data) - position < head:
            break
        position += head + size
    return position


async def all_of(what: Iterable[Coroutine[Any, Any, Any]]) -> float:
    """Do these at once. Returns the seconds that it took."""
    began = time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*what), LATE)
    return time.perf_counter() - began


async def until(condition: Any) -> None:
    """Wait for something that nobody tells of."""
    deadline = time.monotonic() + LATE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def emit(manager: IoTManager, value: str, **target: str) -> None:
    """Emit, and wait until it is written."""
    result = manager.emit("set", value, durable=True, **target)  # type: ignore[arg-type]  # all of these are texts
    assert result.dropped == {}
    assert await result.written()


async def conversation(manager: IoTManager, lamp: Lamp, port: int) -> dict[str, Any]:
    """What happens. Returns the figures."""
    devices = [RawDevice(port, index) for index in range(COUNT)]
    await all_of(device.connect() for device in devices)
    for device in devices:
        manager.join(device.id, device.room)
    await until(lambda: len(lamp.told) == COUNT)
    lamp.told.clear()

    await all_of(emit(manager, "acknowledged", room=f"room-{number}") for number in range(ROOMS))
    await all_of(device.has(1) for device in devices)
    await until(lambda: manager.durable_messages.waiting == 0)
    for device in devices:
        device.acknowledges = False
    await all_of(emit(manager, "taken", room=f"room-{number}") for number in range(ROOMS))
    await all_of(device.has(2) for device in devices)

    for device in devices:
        device.drop()
        device.acknowledges = True
    for device in devices[1::2]:  # these were switched off before they had taken it
        device.got.pop()
    await until(lambda: not manager.clients)
    queueing = await all_of(
        [
            *(emit(manager, f"{device.id} {number}", client_id=device.id) for device in devices for number in range(3)),
            *(emit(manager, f"room-{number}", room=f"room-{number}") for number in range(ROOMS)),
        ]
    )
    assert {device.presence for device in manager.devices()} == {Presence.ONLINE}

    began = time.perf_counter()
    took: list[float] = []

    async def come_back(device: RawDevice) -> None:
        await device.connect()
        await device.has(6)
        took.append(time.perf_counter() - began)

    await all_of(come_back(device) for device in devices)
    await until(lambda: manager.durable_messages.waiting == 0)
    await all_of(emit(manager, "last", room=f"room-{number}") for number in range(ROOMS))
    await all_of(device.has(7) for device in devices)

    for device in devices:
        mine = [f"{device.id} {number}" for number in range(3)]
        assert [value for _, value in device.got] == ["acknowledged", "taken", *mine, device.room, "last"]
        assert [number for number, _ in device.got] == list(range(1, 8))
    rooms: dict[str, set[str]] = {}
    for device in devices:
        rooms.setdefault(device.room, set()).add(device.id)
    assert {room: set(members) for room, members in manager.rooms.items()} == rooms
    assert {device.presence for device in manager.devices()} == {Presence.ONLINE}
    assert lamp.told == []
    for device in devices:
        device.drop()
    return {
        "devices": COUNT,
        "queued": 4 * COUNT,
        "queueing_seconds": round(queueing, 2),
        "back_with_all_seconds_p50": round(percentile(took, 0.5), 2),
        "back_with_all_seconds_max": round(max(took), 2),
    }


def test_all_drop_at_once_and_come_back(tmp_path: Path) -> None:
    allow_descriptors()
    manager = IoTManager(
        flask.Flask("drop"), store=f"sqlite:///{tmp_path / 'iotio.db'}", options=Options(ping_interval=60)
    )
    lamp = Lamp()
    manager.add_type(lamp)
    port = manager.start()
    try:
        figures = asyncio.run(conversation(manager, lamp, port))
    finally:
        manager.stop()
        manager.close(0)
    report("drop_and_resume", **figures)
