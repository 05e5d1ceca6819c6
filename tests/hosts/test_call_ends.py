"""Calls to devices that fall silent, and calls during a shutdown: on every host that runs in this process."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from iotio import CallDisconnected, Options
from iotio.hosts.timing import SWEEP_INTERVAL
from iotio_protocol import v2
from tests.support.fault_proxy import FaultProxy
from tests.support.hosts import FAST, IN_PROCESS, LocalHost, eventually, serve, serve_local
from tests.support.v2 import V2Device

PROTOCOL = Subprotocol(v2.SUBPROTOCOL)
KEPT_ALIVE = [kind for kind in IN_PROCESS if kind != "asgi"]  # there it is the foreign server's business
INTERVAL, TIMEOUT = 0.4, 0.3  # of pings, seconds
BOUND = INTERVAL + TIMEOUT + 2 * SWEEP_INTERVAL + 1.0  # the last is for a busy machine
LIVELY = Options(ping_interval=INTERVAL, ping_timeout=TIMEOUT, close_timeout=0.3)
COUNT = 100
ALSO_IN_A_HANDLER = 20  # of these, devices whose own handler waits for them too


async def lively_device(port: int, client_id: str) -> ClientConnection:
    """A device that answers pings whatever the test does."""
    device = await connect(f"ws://127.0.0.1:{port}/iot.io", subprotocols=[PROTOCOL], ping_interval=None)
    await device.send(v2.encode_json(v2.HELLO, {"id": client_id, "type": "calling"}))
    await device.recv()
    return device


async def expect_call(device: ClientConnection, value: Any = None) -> None:
    """The next packet must be a call of `ask`."""
    message = await device.recv()
    assert isinstance(message, bytes)
    packet = v2.decode(message)
    assert isinstance(packet, v2.Packet)
    assert (packet.event, packet.value, packet.flags) == ("ask", value, v2.CALL)


@pytest.mark.parametrize("kind", KEPT_ALIVE)
async def test_100_calls_fail_in_time_when_the_network_is_cut(kind: str) -> None:
    with serve_local(kind, LIVELY) as host:
        async with FaultProxy(host.port) as proxy:
            ids = [f"d{n}" for n in range(COUNT)]
            devices = await asyncio.gather(*(lively_device(proxy.port, client_id) for client_id in ids))
            await asyncio.to_thread(eventually, lambda: len(host.manager.clients) == COUNT)
            for device in devices[:ALSO_IN_A_HANDLER]:
                await device.send(v2.encode("callself", "own"))
                await expect_call(device, "own")
            calls = [asyncio.create_task(host.manager.acall(client_id, "ask", timeout=60)) for client_id in ids]
            for device in devices:
                await expect_call(device)
            proxy.cut()
            began = time.monotonic()
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert time.monotonic() - began < BOUND
            assert {type(error) for error in errors} == {CallDisconnected}
            assert {str(error).rpartition(": ")[2] for error in errors} == {"ping_timeout"}
            for client_id in ids[:ALSO_IN_A_HANDLER]:
                await asyncio.to_thread(host.log.wait, client_id, "CallDisconnected")
            for device in devices:
                device.transport.abort()


@pytest.mark.parametrize("kind", KEPT_ALIVE)
def test_a_device_that_takes_its_time_is_kept_alive(kind: str) -> None:
    """Its handler waits for it, for longer than it may be silent; pings reach it, and its pongs count."""
    with serve_local(kind, LIVELY) as host, V2Device(host.port, "d") as device:
        device.send("callself", None, v2.CALL, call=1)
        number = device.expect_call("ask")
        with pytest.raises(TimeoutError):
            device.expect(1.5 * (INTERVAL + TIMEOUT))
        device.answer(number, "at last")
        assert device.expect() == v2.Packet("", "at last", v2.RESULT, 1)
        assert "on_disconnect" not in host.log.of("d")


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_calls_fail_when_the_server_stops(kind: str) -> None:
    host = serve(kind, FAST)
    assert isinstance(host, LocalHost)
    with ThreadPoolExecutor(1) as pool:
        try:
            with V2Device(host.port, "d") as device:
                device.send("callself", "own")
                device.expect_call("ask", "own")
                asked = pool.submit(host.manager.call, "d", "ask", timeout=60)
                device.expect_call("ask")
        finally:
            host.stop()
        with pytest.raises(CallDisconnected):
            asked.result(0)
    assert "CallDisconnected" in host.log.of("d")
