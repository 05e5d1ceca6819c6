"""What only tasks do to carry out the driver's commands; test_async_client.py has the client as a whole."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from iotio_client import Buffer, NotConnected, commands
from iotio_client.commands import Work
from iotio_client.errors import ClientError, ConnectFailed
from iotio_client.task_shell import TaskShell
from iotio_client.task_waits import TaskCall

from .devices import AsyncDevice, make
from .fake_server import TIMEOUT, FakeServer, Peer
from .test_behaviours import serve_hello


def made(**arguments: Any) -> tuple[AsyncDevice, TaskShell]:
    device = make(AsyncDevice, **arguments)
    assert isinstance(device, AsyncDevice)
    return device, device._shell


def waits() -> Work[str]:
    yield commands.sleep(1000)
    return "over"


def quick() -> Work[str]:
    yield commands.sleep(0)
    return "over"


async def test_stop_cancels_what_is_guarded() -> None:
    device, shell = made()
    assert await shell.guard(quick()) == "over"
    guarded = asyncio.create_task(shell.guard(waits()))
    await asyncio.sleep(0)
    with pytest.raises(ClientError, match="already"):
        shell.check_idle()
    device.stop()
    async with asyncio.timeout(TIMEOUT):
        assert await guarded is None
    shell.check_idle()


async def test_a_cancellation_from_outside_comes_out() -> None:
    device, shell = made()
    for stopped in (False, True):
        guarded = asyncio.create_task(shell.guard(waits()))
        await asyncio.sleep(0)
        if stopped:
            device.stop()
        guarded.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(guarded, TIMEOUT)


async def test_who_waits_until_it_is_ready_learns_that_it_will_not_be() -> None:
    _, shell = made()
    waiting = [asyncio.create_task(shell.wait_ready()) for _ in range(2)]
    await asyncio.sleep(0)
    shell.tell_ready()  # there is no connection
    assert not shell.ready
    shell.end(ConnectFailed("no"))
    for one in waiting:
        with pytest.raises(ConnectFailed):
            await asyncio.wait_for(one, TIMEOUT)
    later = asyncio.create_task(shell.wait_ready())
    await asyncio.sleep(0)
    shell.end(None)
    with pytest.raises(NotConnected):
        await asyncio.wait_for(later, TIMEOUT)
    assert not await shell.wait_ready(0.01)


async def test_a_wait_has_a_deadline() -> None:
    _, shell = made()
    pending = TaskCall("ask")
    await shell.wait(pending, time.monotonic())
    assert not pending.is_done
    pending.settle(5)
    await shell.wait(pending, time.monotonic() + TIMEOUT)
    assert pending.result() == 5


async def test_the_buffer_is_used_in_the_order_of_the_calls(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "buffer.db")
    _, shell = made(buffer=buffer)
    seen: list[int] = []

    def slow() -> None:
        time.sleep(0.05)
        seen.append(1)

    await asyncio.gather(
        shell.in_buffer(slow, False, False),
        shell.in_buffer(lambda: seen.append(2), True, False),
        shell.in_buffer(lambda: seen.append(3), False, True),
    )
    assert seen == [1, 2, 3]
    buffer.close()


async def test_stop_works_after_an_on_disconnect_that_was_cancelled() -> None:
    def held(peer: Peer) -> None:
        peer.accept().close(1001)

    entered = asyncio.Event()

    async def on_disconnect() -> None:
        entered.set()
        await asyncio.sleep(1000)

    with FakeServer(held, lambda peer: peer.accept().recv_close(), serve_hello) as server:
        device, shell = made()
        vars(device)["on_disconnect"] = on_disconnect
        running = asyncio.create_task(device.run_async(server.domain))
        await asyncio.wait_for(entered.wait(), TIMEOUT)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, TIMEOUT)
        del vars(device)["on_disconnect"]
        running = asyncio.create_task(device.run_async(server.domain))
        await asyncio.wait_for(device.wait_until_ready(), TIMEOUT)
        assert shell.ready
        device.stop()
        await asyncio.wait_for(running, TIMEOUT)
        assert not shell.ready
