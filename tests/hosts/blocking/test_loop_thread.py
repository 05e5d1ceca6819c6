"""The loop of hosts that have none."""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context

import pytest

from iotio.hosts.blocking.loop_thread import LoopThread
from tests.support.hosts import eventually
from tests.support.memory import make_manager


def test_a_stopped_loop_fails_what_is_submitted() -> None:
    class Stopped(LoopThread):
        @property
        def loop(self) -> asyncio.AbstractEventLoop:
            loop = asyncio.new_event_loop()
            loop.close()
            return loop

    async def never() -> None: ...

    outcome = Stopped(make_manager()).submit(never(), copy_context())
    assert outcome.done.is_set
    with pytest.raises(RuntimeError, match="stopped"):
        outcome.result()


def test_a_blocked_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    loop_thread = LoopThread(make_manager())
    clock = loop_thread._manager.clock
    swept = threading.Event()
    loop_thread.loop.call_soon_threadsafe(swept.set)
    assert swept.wait(5)
    clock.now += 5  # type: ignore[attr-defined]  # the fake clock of the memory host
    eventually(lambda: "has blocked the loop thread" in caplog.text)
    loop_thread.stop()
