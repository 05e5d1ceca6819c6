"""What only tasks do to connect to a name with several addresses; test_addresses.py has what both ways do."""

from __future__ import annotations

import asyncio
import socket

import pytest

from iotio_client.addresses import DELAY
from iotio_client.task_addresses import connect_any_async

from .test_addresses import ANSWERS, HOLE, NAME, Names, names

__all__ = ["names"]  # the fixture


async def test_a_task_that_is_cancelled_leaves_nothing(names: Names) -> None:
    with socket.create_server((ANSWERS, 0)) as listener:
        port = listener.getsockname()[1]
        names.swallow(port)
    names.hosts = [HOLE]
    task = asyncio.create_task(connect_any_async(NAME, port))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0)


async def test_the_next_address_begins_after_the_delay(names: Names) -> None:
    with socket.create_server((ANSWERS, 0)) as listener:
        port = listener.getsockname()[1]
        names.swallow(port)
        names.hosts = [HOLE, ANSWERS]
        begun = asyncio.get_running_loop().time()
        with await connect_any_async(NAME, port) as sock:
            assert sock.getpeername()[0] == ANSWERS
            assert not sock.getblocking()
        assert asyncio.get_running_loop().time() - begun >= DELAY * 0.9
