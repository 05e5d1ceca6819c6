"""Many devices in many rooms while threads emit to id, room, type and type within room at once."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from iotio_protocol import v1
from tests.load.conftest import StartServer
from tests.load.harness import LoadServer, report
from tests.support.wire import ACCEPT, KEY, Opcode, encode_frame, v1_headers

pytestmark = pytest.mark.load

THREADS = 8
LATE = 20.0  # seconds for what was emitted to arrive after the last emit returned


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """A descriptor for each device, in this process and in the server's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if wanted < 2500:
        pytest.skip(f"at most {wanted} file descriptors are allowed here, 2500 are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Listener(asyncio.Protocol):
    """A device that joins a room and keeps every packet: [thread, sequence, kind, target...]."""

    def __init__(self, port: int, client_id: str, room: str) -> None:
        self.request = _request(port, client_id)
        self.join = encode_frame(Opcode.BINARY, v1.encode("join", room))
        self.joined = asyncio.get_running_loop().create_future()
        self.packets: list[list[object]] = []
        self.closed = False
        self._buffer = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        position = 0
        if not self._upgraded:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._buffer = data
                return
            assert data.startswith(b"HTTP/1.1 101"), data[:end]
            assert ACCEPT.encode() in data[:end], data[:end]
            self._upgraded = True
            self.transport.write(self.join)
            position = end
        while len(data) - position >= 2:
            assert data[position] == 0x80 | Opcode.BINARY, data[position : position + 8]
            assert data[position + 1] < 126  # packets of this test are short
            end = position + 2 + data[position + 1]
            if end > len(data):
                break
            self._take(*v1.decode(data[position + 2 : end]))
            position = end
        self._buffer = data[position:]

    def _take(self, event: str, value: object) -> None:
        if event == "join":
            assert value is True
            self.joined.set_result(None)
        else:
            assert event == "n"
            assert isinstance(value, list)
            self.packets.append(value)


def _request(port: int, client_id: str) -> bytes:
    lines = [
        "GET /iot.io HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in v1_headers(client_id, "plain")),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _itself(listener: Listener) -> Listener:
    return listener


async def listen(server: LoadServer, devices: int, rooms: int) -> list[Listener]:
    """Connect all devices and wait until each is in its room."""
    loop = asyncio.get_running_loop()
    listeners = []
    for first in range(0, devices, 50):  # below every host's backlog
        batch = [Listener(server.port, f"d{n}", f"r{n % rooms}") for n in range(first, min(first + 50, devices))]
        for listener in batch:
            await loop.create_connection(partial(_itself, listener), "127.0.0.1", server.port)
        await asyncio.wait_for(asyncio.gather(*(listener.joined for listener in batch)), 20)
        listeners += batch
    return listeners


def expected(devices: int, rooms: int, rounds: int, singles: int) -> list[list[list[object]]]:
    """What each device must get from each thread, in order: `[device][thread] -> packets`."""
    found: list[list[list[object]]] = [[] for _ in range(devices)]
    for thread in range(THREADS):
        mine: list[list[object]] = [[] for _ in range(devices)]
        sequence = 0
        for turn in range(rounds):
            room = (turn + thread) % rooms
            for single in range(singles):
                sequence += 1
                target = (thread * 7919 + turn * singles + single) % devices
                mine[target].append([thread, sequence, "id", f"d{target}"])
            sequence += 1
            for target in range(room, devices, rooms):
                mine[target].append([thread, sequence, "room", f"r{room}"])
            if turn % 10 == 0:
                sequence += 1
                for target in range(devices):
                    mine[target].append([thread, sequence, "type", "plain"])
            if turn % 10 == 5:
                sequence += 1
                for target in range(room, devices, rooms):
                    mine[target].append([thread, sequence, "both", "plain", f"r{room}"])
        for target in range(devices):
            found[target].append(mine[target])
    return found


async def check(server: LoadServer, host: str, devices: int, rooms: int, rounds: int, singles: int) -> None:
    """Connect, let the threads emit, and compare what came with what had to come."""
    listeners = await listen(server, devices, rooms)
    stats = await asyncio.to_thread(server.stats)
    assert (stats["clients"], stats["rooms"]) == (devices, rooms)
    answer = await asyncio.to_thread(
        lambda: server.post("/storm", threads=THREADS, devices=devices, rooms=rooms, rounds=rounds, singles=singles)
    )
    assert answer["failures"] == []
    wanted = expected(devices, rooms, rounds, singles)
    total = sum(len(packets) for of_device in wanted for packets in of_device)
    deadline = asyncio.get_running_loop().time() + LATE
    while sum(len(listener.packets) for listener in listeners) < total:
        assert asyncio.get_running_loop().time() < deadline, "deliveries are missing"
        await asyncio.sleep(0.01)
    for listener, of_device in zip(listeners, wanted, strict=True):
        assert not listener.closed
        got: list[list[object]] = [[] for _ in range(THREADS)]
        for packet in listener.packets:
            assert isinstance(packet[0], int)
            got[packet[0]].append(packet)
        assert got == of_device
    counted = Counter[str]()
    for counts in answer["totals"]:
        counted.update(counts)
    arrived = Counter(str(packet[2]) for listener in listeners for packet in listener.packets)
    assert counted.pop("lost") == 0
    assert counted == arrived
    for listener in listeners:
        listener.transport.abort()
    await asyncio.to_thread(server.settle, lambda stats: stats["sockets"] == 0 and stats["rooms"] == 0)
    await asyncio.to_thread(server.assert_quiet)
    per_second = round(total / answer["seconds"])
    report("many devices", host=host, devices=devices, deliveries=total, seconds=answer["seconds"], rate=per_second)


@pytest.mark.parametrize("host", ["native", "gevent", "patched"])
async def test_1000_devices_in_50_rooms(start_server: StartServer, host: str) -> None:
    await check(start_server(host), host, devices=1000, rooms=50, rounds=50, singles=10)


async def test_100_devices_in_10_rooms_on_threads(start_server: StartServer) -> None:
    await check(start_server("flask"), "flask", devices=100, rooms=10, rounds=50, singles=10)
