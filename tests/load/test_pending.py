"""All devices come back at once, many of them through one proxy, while a stranger holds as many sockets as it can.

5 000 devices by IOTIO_FULL=1.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

import pytest

from iotio import Options
from iotio_protocol import v2
from iotio_protocol.frames import BINARY, encode_frame
from tests.load.endurance import FULL, allow_descriptors
from tests.load.harness import report
from tests.support.hosts import serve_local
from tests.support.wire import KEY

pytestmark = pytest.mark.load

DEVICES = 5000 if FULL else 400
BEHIND_PROXY = DEVICES // 10
PLACES = 1024 if FULL else 100
SILENT = 2 * PLACES
IN_TIME = 90.0 if FULL else 40.0  # seconds
UPGRADE = (
    f"GET /iot.io HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {v2.SUBPROTOCOL}\r\n\r\n"
).encode()
PROXY, STRANGER = "127.1.0.1", "127.2.0.1"


def address_of(number: int) -> str:
    return PROXY if number < BEHIND_PROXY else f"127.3.{number // 250}.{number % 250 + 1}"


class Crowd:
    """Devices and a stranger, on one loop.

    Attributes:
        inside: how many devices have been let in.
        attempts: of all devices.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._all_in = asyncio.Event()
        self.inside = self.attempts = 0

    async def run(self) -> None:
        strangers = [asyncio.create_task(self._be_silent()) for _ in range(SILENT)]
        devices = [asyncio.create_task(self._come(number)) for number in range(DEVICES)]
        try:
            async with asyncio.timeout(IN_TIME):
                await self._all_in.wait()
        finally:
            for task in (*strangers, *devices):
                task.cancel()
            await asyncio.gather(*strangers, *devices, return_exceptions=True)

    async def _open(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))

    async def _be_silent(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await self._open(STRANGER)
                try:
                    await reader.read()
                finally:
                    writer.close()
            await asyncio.sleep(0.5)

    async def _come(self, number: int) -> None:
        """Connect, and again after a pause as our clients draw it, until it is let in; then stay."""
        pause = 0.5
        while True:
            self.attempts += 1
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await self._open(address_of(number))
                try:
                    writer.write(UPGRADE)
                    if (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101"):
                        await self._greet(number, reader, writer)
                finally:
                    writer.close()
            await asyncio.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, 4.0)

    async def _greet(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frame = encode_frame(BINARY, v2.encode_json(v2.HELLO, {"id": f"d{number}", "type": "echo"}))
        writer.write(frame[:1] + bytes((frame[1] | 0x80,)) + bytes(4) + frame[2:])  # with a mask of zeros
        head = await reader.readexactly(2)
        assert head[0] == 0x82
        if head[1] == 126:
            await reader.readexactly(2)
        if (await reader.readexactly(1))[0] == v2.WELCOME:
            self.inside += 1
            if self.inside == DEVICES:
                self._all_in.set()
            await reader.read()


@pytest.mark.timeout(200)
def test_all_devices_get_in() -> None:
    if allow_descriptors() < 2 * (DEVICES + SILENT) + 200:
        pytest.skip("not enough file descriptors")
    with serve_local("native", Options(max_pending=PLACES, refusal_delay=0.5)) as host:
        host.manager.connections.pending._is_exempt = lambda address: False  # here all are of this machine
        began = time.monotonic()

        async def come() -> Crowd:
            crowd = Crowd(host.port)
            await crowd.run()
            return crowd

        crowd = asyncio.run(come())
        report("pending", devices=DEVICES, attempts=crowd.attempts, seconds=round(time.monotonic() - began, 1))
        assert crowd.inside == DEVICES
