"""What the endurance tests share: the server, devices by the thousand in one loop, figures.

Each test has a short form for the suite. `IOTIO_FULL=1 pytest -s tests/load/test_churn.py` (or another) runs the whole;
that takes minutes and wants the machine for itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from iotio_protocol import v1
from iotio_protocol.values import Value
from tests.load.harness import PRODUCT, PROGRAMS
from tests.support.processes import JsonProgram, python_program
from tests.support.wire import ACCEPT, KEY, Opcode, encode_frame, v1_headers

__all__ = ["FULL", "EnduringServer", "SwarmDevice", "allow_descriptors", "connect_all", "percentile"]

FULL = os.environ.get("IOTIO_FULL") == "1"
"""Whether the tests run at the size that they are named for."""

ANSWER_SECONDS = 20.0
"""Until a server answers its test, on a busy machine."""

_AT_ONCE = 100  # devices that connect at a time: below the backlog of every server


def allow_descriptors() -> int:
    """Let this process open as many files as it may. Returns how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def percentile(values: Iterable[float], share: float) -> float:
    """The value that so large a share of all does not exceed; 0 if there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class EnduringServer(JsonProgram):
    """`programs/enduring.py`, listening when the constructor returns.

    Args:
        before: a command that runs it, such as one that enters a network namespace.
        settings: see `Settings` there.
    """

    def __init__(self, *, before: Sequence[str] = (), **settings: Any) -> None:
        super().__init__([*before, *python_program(PROGRAMS / "enduring.py", json.dumps(settings))])
        self.port = int(self.expect("ready")["port"])

    def ask(self, command: str, timeout: float = ANSWER_SECONDS, **values: Any) -> dict[str, Any]:
        """Have it do something; its answer. Blocks: use `asked` where devices live in this process."""
        self.do(command, **values)
        return self.expect(command, timeout)

    async def asked(self, command: str, timeout: float = ANSWER_SECONDS, **values: Any) -> dict[str, Any]:
        """The same beside the devices of this loop."""
        return await asyncio.to_thread(lambda: self.ask(command, timeout, **values))

    async def settle(self, accepts: Callable[[dict[str, Any]], bool], timeout: float = 15.0) -> dict[str, Any]:
        """Its figures as soon as they are accepted.

        Raises:
            AssertionError: never within `timeout` seconds; the text holds the last ones.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = await self.asked("stats")
            if accepts(found):
                return found
            assert time.monotonic() < deadline, f"not within {timeout} s: {found}\n{self.output[-4000:]}"
            await asyncio.sleep(0.1)  # there is nothing to wait on: the server is asked

    async def lives(self) -> Mapping[str, list[tuple[str, float]]]:
        """What the life-cycle handlers of each device saw, and when."""
        found: dict[str, list[tuple[str, float]]] = {}
        for client_id, what, when in (await self.asked("lives"))["lines"]:
            found.setdefault(client_id, []).append((what, when))
        return found

    async def assert_quiet(self) -> None:
        """No ERROR in its log, no traceback in its output that has to do with iotio."""
        errors = (await self.asked("stats"))["errors"]
        assert errors == [], f"{len(errors)} errors, one of them: {errors[0]}"
        assert str(PRODUCT) not in self.output, self.output[-8000:]


class SwarmDevice(asyncio.Protocol):
    """A v1 device that costs little; pings are answered unless it is paused.

    Args:
        client_id: its id.
        client_type: its type.
        on_packet: called with each event but the answers to `echo`.

    Attributes:
        connected: done when the server has let it in.
        lost: done when the connection has ended.
        close_code: of the server's CLOSE frame, which is answered; None while there was none.
        pings: when each ping of the server came.
    """

    def __init__(
        self, client_id: str, client_type: str = "plain", on_packet: Callable[[str, Value], None] | None = None
    ) -> None:
        self.id = client_id
        self.type = client_type
        loop = asyncio.get_running_loop()
        self.connected: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.pings: list[float] = []
        self.close_code: int | None = None
        self._on_packet = on_packet
        self._echoes: deque[asyncio.Future[None]] = deque()
        self._pongs: deque[asyncio.Future[None]] = deque()
        self._buffer = b""
        self._finished = False

    # The stream.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        lines = [
            "GET /iot.io HTTP/1.1",
            "Host: test",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in v1_headers(self.id, self.type)),
        ]
        transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.connected.done():
            self.connected.set_exception(ConnectionError(f"{self.id} was not let in: {error}"))
            self.connected.exception()  # not everybody waits for it
        if not self.lost.done():
            self.lost.set_result(None)
        for waiting in (*self._echoes, *self._pongs):
            if not waiting.done():
                waiting.set_exception(ConnectionError(f"{self.id} is disconnected"))
                waiting.exception()  # as above

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        position = 0
        if not self.connected.done():
            position = data.find(b"\r\n\r\n") + 4
            if position < 4:
                self._buffer = data
                return
            assert data.startswith(b"HTTP/1.1 101"), data[:position]
            assert ACCEPT.encode() in data[:position], data[:position]
            self.connected.set_result(None)
        total = len(data)
        while total - position >= 2:
            size, start = data[position + 1], position + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if total < start:
                    break
                size = int.from_bytes(data[position + 2 : start], "big")
            if total < start + size:
                break
            self._frame(data[position], data[start : start + size])
            position = start + size
        self._buffer = data[position:]

    def _frame(self, first: int, payload: bytes) -> None:
        if first == 0x80 | Opcode.BINARY:
            event, value = v1.decode(payload)
            if event == "echo":
                self._echoes.popleft().set_result(None)
            elif self._on_packet is not None:
                self._on_packet(event, value)
        elif first == 0x80 | Opcode.PING:
            self.pings.append(time.monotonic())
            self.write_frame(Opcode.PONG, payload)
        elif first == 0x80 | Opcode.PONG:
            self._pongs.popleft().set_result(None)
        else:
            assert first == 0x80 | Opcode.CLOSE, (self.id, first, payload)
            self.close_code = int.from_bytes(payload[:2], "big")
            if not self._finished:
                self.write_frame(Opcode.CLOSE, payload[:2])

    # What a test does with it.

    def write_frame(self, opcode: int, payload: bytes = b"") -> None:
        """Send a frame."""
        self.transport.write(encode_frame(opcode, payload))

    def send(self, event: str, value: Value) -> None:
        """Send an event."""
        self.write_frame(Opcode.BINARY, v1.encode(event, value))

    async def echo(self, value: Value = "hello", timeout: float = 20.0) -> float:
        """Have a value echoed by the type's handler. Returns the seconds it took."""
        return await self._answer(self._echoes, lambda: self.send("echo", value), timeout)

    async def ping(self, timeout: float = 20.0) -> float:
        """Have a ping answered by the server. Returns the seconds it took."""
        return await self._answer(self._pongs, lambda: self.write_frame(Opcode.PING, b"?"), timeout)

    async def _answer(self, waiting: deque[asyncio.Future[None]], ask: Callable[[], None], timeout: float) -> float:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(answer)
        began = time.perf_counter()
        ask()
        async with asyncio.timeout(timeout):
            await answer
        return time.perf_counter() - began

    def finish(self) -> None:
        """Send FIN; reading goes on."""
        self._finished = True
        self.transport.write_eof()

    def reset(self) -> None:
        """End the connection by RST, if the server has not ended it."""
        if self.lost.done():
            return
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def connect_all(
    devices: Sequence[SwarmDevice], port: int, host: str = "127.0.0.1", *, timeout: float = 30.0
) -> None:
    """Connect all devices and wait until each is let in."""
    loop = asyncio.get_running_loop()
    for first in range(0, len(devices), _AT_ONCE):
        batch = devices[first : first + _AT_ONCE]
        async with asyncio.timeout(timeout):
            await asyncio.gather(*(loop.create_connection(partial(_itself, one), host, port) for one in batch))
            await asyncio.gather(*(one.connected for one in batch))


def _itself(device: SwarmDevice) -> SwarmDevice:
    return device
