"""Times that several hosts share."""

from __future__ import annotations

from iotio.hosts.blocking.loop_thread import LoopThread
from iotio.hosts.native.host import NativeHost
from iotio.hosts.timing import HELD_UP, LINGER, SHUTDOWN_GRACE, SWEEP_INTERVAL
from tests.support.memory import make_manager


def test_a_late_sweep_is_no_blocked_loop() -> None:
    assert SWEEP_INTERVAL < HELD_UP


def test_a_peer_that_does_not_end_is_given_up_before_its_server() -> None:
    assert LINGER < SHUTDOWN_GRACE
    assert isinstance(SHUTDOWN_GRACE, int)  # uvicorn takes whole seconds


async def test_every_loop_sweeps_as_often() -> None:
    host = NativeHost(make_manager())
    try:
        assert 0 < host._sweeper.when() - host.loop.time() <= SWEEP_INTERVAL
        assert LoopThread(make_manager()).sweep_interval == SWEEP_INTERVAL
    finally:
        host.close()
