"""What waits for the handlers of the async client."""

from __future__ import annotations

import asyncio

import pytest

from iotio_client.inbox import Inbox
from iotio_client.received import Dispatch

from .fake_server import TIMEOUT


async def for_ever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    return None


def test_messages_come_out_in_order_and_the_end_after_them() -> None:
    async def main() -> None:
        inbox = Inbox()
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
        inbox = Inbox()
        getting = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put(Dispatch("e", 1))
        assert await asyncio.wait_for(getting, TIMEOUT) == Dispatch("e", 1)

    asyncio.run(main())


def test_room_is_made_when_half_is_gone_or_the_connection_is_closed() -> None:
    async def main() -> None:
        inbox = Inbox(4)
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
