"""Our clients against the original servers: iot.io 0.4.10 under eventlet, and 0.2.0 under gevent."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from iotio_client import (
    AsyncIoTClient,
    EndpointConstraint,
    EndpointInfo,
    EndpointType,
    IoTClient,
)
from tests.peers.conftest import Start
from tests.peers.environments import GEN0, Peer
from tests.support.processes import JsonProgram

WAIT_SECONDS = 10.0

TEXTS: list[Any] = ["text", "grüße", ""]
NUMBERS: list[Any] = [True, False, 0, -(2**63), 2**63 - 1]
VALUES = [*TEXTS, *NUMBERS, [1, "a", None], {"k": [1.5]}, b"\x00\xff"]


@pytest.fixture
def server(start: Start, gen1: Peer) -> JsonProgram:
    """The original server 0.4.10, listening."""
    return start(gen1, "server_0410.py", "0")


@pytest.fixture
def domain(server: JsonProgram) -> str:
    return f"127.0.0.1:{server.expect('ready')['port']}"


class Device(IoTClient):
    """Our sync client; what it gets is put into a queue."""

    def __init__(self, client_id: str, **options: Any) -> None:
        super().__init__(client_id, "echo", {"made": "today"}, **options)
        self.got: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def on_message(self, message: Any) -> None:
        self.got.put(("message", message))

    def on_answer(self, message: Any) -> None:
        self.got.put(("answer", message))

    def on_question(self, message: Any) -> tuple[str, Any]:
        return "message", {"answer to": message}

    def next(self) -> tuple[str, Any]:
        """What came next."""
        return self.got.get(timeout=WAIT_SECONDS)


@contextmanager
def running(device: Device, domain: str) -> Iterator[Device]:
    """The device in a thread of its own, connected; stopped at the end."""
    thread = threading.Thread(target=device.run, args=(domain, None, None, False), daemon=True)
    thread.start()
    try:
        device.ensure_open(WAIT_SECONDS)
        yield device
    finally:
        device.stop()
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()


def test_sync_client_talks(server: JsonProgram, domain: str) -> None:
    with running(Device("d1"), domain) as device:
        assert server.expect("connect", id="d1")["data"] == {"made": "today"}
        for value in VALUES:
            device.send("message", value)
            assert device.next() == ("message", value)
        device.send("pair", "x")
        assert device.next() == ("answer", "x")
    server.expect("disconnect", id="d1")


def test_sync_client_answers_with_what_its_handler_returns(server: JsonProgram, domain: str) -> None:
    with running(Device("d1"), domain) as device:
        device.send("emit_to", {"id": "d1", "name": "question", "data": "how?"})
        server.expect("message", id="d1", data={"answer to": "how?"})
        assert device.next() == ("message", {"answer to": "how?"})


def test_two_devices_in_a_room(server: JsonProgram, domain: str) -> None:
    with running(Device("d1"), domain) as one, running(Device("d2"), domain) as two:
        for device in (one, two):
            device.send("join", "hall")
            device.send("message", "joined")
            assert device.next() == ("message", "joined")
        one.send("to_room", {"room": "hall", "name": "message", "data": "all"})
        assert one.next() == two.next() == ("message", "all")


def test_endpoints_are_understood(server: JsonProgram, domain: str) -> None:
    device = Device("d1")
    infos = {
        "power": EndpointInfo("Power", EndpointType.BOOLEAN),
        "level": EndpointInfo("Level", EndpointType.INTEGER, None, EndpointConstraint(min_v=0, max_v=10)),
        "label": EndpointInfo("Label", EndpointType.STRING, None, EndpointConstraint(length=5)),
        "fruit": EndpointInfo("Fruit", EndpointType.ENUM, None, EndpointConstraint(values={"apl": "Apple"})),
    }
    for name, info in infos.items():
        device.on(name, info)(device.on_message)
    with running(device, domain):
        assert server.expect("connect", id="d1")["endpoints"] == 4


async def test_async_client_talks(server: JsonProgram, domain: str) -> None:
    client = AsyncIoTClient("d1", "echo", {"made": "today"})
    got: asyncio.Queue[Any] = asyncio.Queue()

    @client.on("message")
    async def on_message(message: Any) -> None:
        await got.put(message)

    async with asyncio.timeout(WAIT_SECONDS):
        await client.begin(domain)
        handling = asyncio.create_task(client.handle())
        await client.wait_until_ready()
        for value in VALUES:
            await client.send("message", value)
            assert await got.get() == value
        client.stop()
        await handling


def test_sync_client_talks_v0(start: Start) -> None:
    server = start(GEN0, "server_020.py", "0")
    domain = f"127.0.0.1:{server.expect('ready')['port']}"
    with running(Device("d1", protocol_version=0), domain) as device:
        server.expect("connect", id="d1")
        device.send("message", "hello")
        assert device.next() == ("message", "hello")
