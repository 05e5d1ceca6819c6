"""The bound for log lines: a peer cannot fill the disk."""

from __future__ import annotations

from iotio.core.log_throttle import LogThrottle
from tests.support.memory import Clock


def test_a_throttle_keeps_kinds_apart() -> None:
    throttle = LogThrottle(Clock())
    assert [throttle.ask("a") for _ in range(11)] == [0] * 10 + [None]
    assert throttle.ask("b") == 0
