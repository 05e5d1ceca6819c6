"""What waits for the handlers of both clients."""

from __future__ import annotations

import asyncio
import threading

import pytest

from iotio_client.inbox import MAX_BYTES, MAX_MORE, Inbox, ThreadInbox
from iotio_client.received import Dispatch
from iotio_client.task_waits import TaskInbox

from .devices import Running
from .fake_server import TIMEOUT


def is_full(inbox: Inbox) -> bool:
    return inbox.full


def room(inbox: TaskInbox | ThreadInbox) -> bool:
    return inbox._room.is_set()


@pytest.mark.parametrize("kind", [TaskInbox, ThreadInbox])
def test_bytes_are_bounded_too(kind: type[TaskInbox | ThreadInbox]) -> None:
    async def main() -> None:
        inbox = kind()
        inbox.put(Dispatch("e", 0), MAX_BYTES - 1)
        assert not is_full(inbox)
        inbox.put(Dispatch("e", 1), 1)
        assert is_full(inbox)
        inbox.allow()
        assert not is_full(inbox)
        inbox.put(Dispatch("e", 2), MAX_MORE)
        assert is_full(inbox)
        inbox._room.clear()
        inbox._take()
        assert not room(inbox), "more than half is left"
        inbox._take()
        inbox._take()
        assert room(inbox)
        assert not is_full(inbox)
        inbox.put(Dispatch("e", 3), 100 * MAX_BYTES)
        assert inbox._take() == Dispatch("e", 3), "one is taken however large it is"
        assert inbox._size == 0

    asyncio.run(main())


# Between threads.


def never() -> bool:
    return False


def test_threads_get_all_in_order_and_the_end_after_it() -> None:
    inbox = ThreadInbox(8)
    count = 2000

    def put() -> None:
        for number in range(count):
            if inbox.must_wait:
                inbox.wait_for_room(never, TIMEOUT)
            inbox.put(Dispatch("e", number))
        inbox.end(ConnectionError("over"))

    putting = Running(put)
    for number in range(count):
        assert inbox.get(TIMEOUT) == Dispatch("e", number)
        assert len(inbox._waiting) <= 8
    for _ in range(2):
        with pytest.raises(ConnectionError, match="over"):
            inbox.get(TIMEOUT)
    assert inbox.ended
    assert putting.join() is None


def test_a_thread_looks_up_when_nothing_comes() -> None:
    assert ThreadInbox().get(0.01) is None


@pytest.mark.parametrize("way", ["half is gone", "more are allowed", "closed", "the connection is over"])
def test_what_wakes_the_thread_that_waits_for_room(way: str) -> None:
    over = threading.Event()
    inbox = ThreadInbox(2)
    for number in range(2):
        inbox.put(Dispatch("e", number))
    waiting = Running(inbox.wait_for_room, over.is_set, 0.01 if way.startswith("the") else 1000.0)
    waiting._thread.join(0.02)
    assert waiting._thread.is_alive()
    match way:
        case "half is gone":
            inbox.get()
        case "more are allowed":
            inbox.allow(3)
        case "closed":
            inbox.close()
        case _:
            over.set()
    assert waiting.join() is None
