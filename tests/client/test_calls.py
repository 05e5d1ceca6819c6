"""Calls of a device that have no answer yet, without a connection."""

from __future__ import annotations

import asyncio

import pytest

from iotio_client.calls import DeviceCalls, ThreadCall, timed_out
from iotio_client.codec import Codec
from iotio_client.identity import Identity
from iotio_client.link import Link, State
from iotio_client.packets import DefaultPacketEncoder
from iotio_client.received import Answer
from iotio_client.task_waits import TaskCall
from iotio_protocol import v2
from iotio_protocol.errors import CallDisconnected, CallsUnsupported, CallTimeout, NoHandler
from iotio_protocol.options import Options


def calls(wanted: int | None = None, *, is_open: bool = True) -> tuple[DeviceCalls, Link]:
    link = Link(wanted)
    if is_open:
        link.move(State.CONNECTING)
        link.move(State.OPEN)
    return DeviceCalls(link, Codec(link, Identity("d1", "t", {}), DefaultPacketEncoder, Options())), link


def test_an_answer_finds_its_caller() -> None:
    made, _ = calls()
    first, second = ThreadCall("a"), ThreadCall("b")
    numbers = [made.begin(first), made.begin(second)]
    assert made.encode(numbers[0], "a", 1) == v2.encode("a", 1, v2.CALL, call=numbers[0])
    assert made.answer(Answer(numbers[1], False, "yes"))
    assert (first.done.is_set(), second.result()) == (False, "yes")
    assert made.answer(Answer(numbers[0], True, {"error": "no_handler"}))
    with pytest.raises(NoHandler):
        first.result()
    assert not made.answer(Answer(numbers[0], False, "again"))
    assert not made


def test_a_caller_that_waits_no_longer_gets_no_answer() -> None:
    made, _ = calls()
    pending = ThreadCall("a")
    number = made.begin(pending)
    made.end(number)
    assert not made.answer(Answer(number, False, "late"))
    assert not pending.done.is_set()
    made.end(number)


def test_the_end_of_the_connection_fails_all() -> None:
    made, _ = calls()
    waiting = [ThreadCall("a"), ThreadCall("b")]
    for pending in waiting:
        made.begin(pending)
    made.end_all("over")
    for pending in waiting:
        with pytest.raises(CallDisconnected, match=f"the call of '{pending.event}': over"):
            pending.result()


def test_where_no_call_can_be_sent() -> None:
    pending = ThreadCall("a")
    with pytest.raises(CallsUnsupported, match="this device speaks protocol 1"):
        calls(1)[0].begin(pending)
    with pytest.raises(CallDisconnected, match="not connected"):
        calls(is_open=False)[0].begin(pending)
    made, link = calls()
    link.version = 1
    with pytest.raises(CallsUnsupported, match="the server speaks protocol 1"):
        made.begin(pending)


def test_threads_and_tasks_say_whether_they_are_done() -> None:
    async def main() -> None:
        for kind in (ThreadCall, TaskCall):
            settled, failed = kind("a"), kind("b")
            states = [settled.is_done, failed.is_done]
            settled.settle(5)
            failed.fail(timed_out("b", 1))
            states += [settled.is_done, failed.is_done]
            assert states == [False, False, True, True]
            assert settled.result() == 5
            with pytest.raises(CallTimeout):
                failed.result()

    asyncio.run(main())
