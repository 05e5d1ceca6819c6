"""The bound for log lines: a peer cannot fill the disk."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio.core.log_throttle import LogThrottle
from tests.support.memory import Clock


def test_a_throttle_keeps_kinds_apart() -> None:
    throttle = LogThrottle(Clock())
    assert [throttle.ask("a") for _ in range(11)] == [0] * 10 + [None]
    assert throttle.ask("b") == 0


def test_the_first_line_after_a_quiet_time_tells_how_many_were_kept_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "iotio.connection")
    clock = Clock()
    throttle = LogThrottle(clock)
    for number in range(13):
        throttle.warning("a", "line %d", number)
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING] * 10 + [logging.DEBUG] * 3
    caplog.clear()
    clock.now += 10.5
    throttle.warning("a", "line %d of %s", 13, "many")
    throttle.warning("a", "line %d", 14)
    assert [record.getMessage() for record in caplog.records] == [
        "line 13 of many (and 3 more like this)",
        "line 14",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_what_is_kept_back_does_not_prolong_the_quiet_time() -> None:
    clock = Clock()
    throttle = LogThrottle(clock)
    assert [throttle.ask("a") for _ in range(10)] == [0] * 10
    for _ in range(10):
        clock.now += 1
        assert throttle.ask("a") is None, "10 s since the last line, and not more"
    clock.now += 0.5
    assert throttle.ask("a") == 10


def test_lines_that_come_slowly_all_pass() -> None:
    clock = Clock()
    throttle = LogThrottle(clock)
    for _ in range(100):
        clock.now += 11
        assert throttle.ask("a") == 0


@given(st.lists(st.floats(0, 30), max_size=60))
def test_no_line_is_lost_from_the_count(pauses: list[float]) -> None:
    clock = Clock()
    throttle = LogThrottle(clock)
    answers = []
    for pause in pauses:
        clock.now += pause
        answers.append(throttle.ask("a"))
    clock.now += 11
    answers.append(throttle.ask("a"))
    assert sum(answer for answer in answers if answer is not None) == answers.count(None)
