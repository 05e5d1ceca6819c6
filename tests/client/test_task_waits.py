"""How tasks wait for what has been received, and for the answer of a call."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from iotio_client.calls import timed_out
from iotio_client.received import Dispatch
from iotio_client.task_waits import TaskCall, TaskInbox

from .fake_server import TIMEOUT


async def for_ever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    return None


def test_messages_come_out_in_order_and_the_end_after_them() -> None:
    async def main() -> None:
        inbox = TaskInbox()
        for number in range(3):
            inbox.put(Dispatch("e", number))
        inbox.end(ConnectionError("over"))
        assert [await inbox.get() for _ in range(3)] == [Dispatch("e", number) for number in range(3)]
        for _ in range(2):
            with pytest.raises(ConnectionError, match="over"):
                await inbox.get()

    asyncio.run(main())


def test_a_get_waits() -> None:
    async def main() -> None:
        inbox = TaskInbox()
        getting = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put(Dispatch("e", 1))
        assert await asyncio.wait_for(getting, TIMEOUT) == Dispatch("e", 1)

    asyncio.run(main())


def test_room_is_made_when_half_is_gone_or_the_connection_is_closed() -> None:
    async def main() -> None:
        inbox = TaskInbox(4)
        for number in range(4):
            assert not inbox.full
            inbox.put(Dispatch("e", number))
        assert inbox.full
        waiting = asyncio.create_task(inbox.wait_for_room(for_ever()))
        await asyncio.sleep(0)
        await inbox.get()
        assert not waiting.done()
        await inbox.get()
        await asyncio.wait_for(waiting, TIMEOUT)
        await asyncio.wait_for(inbox.wait_for_room(at_once()), TIMEOUT)

    asyncio.run(main())


# Calls.


def test_a_task_that_waits() -> None:
    async def main() -> Any:
        pending = TaskCall("a")
        pending.settle(5)
        pending.settle(6)
        pending.fail(timed_out("a", 1))
        return await pending.future

    assert asyncio.run(main()) == 5


def test_a_task_that_waits_no_longer_needs_no_look_at_its_error() -> None:
    complaints: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        TaskCall("a").fail(timed_out("a", 1))
        gc.collect()

    asyncio.run(main())
    assert not complaints
