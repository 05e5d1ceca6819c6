"""The bound for log lines: a peer cannot fill the disk."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio import DeviceType, IoTClient
from iotio.core.manager import Manager
from iotio_protocol.log_throttle import LogThrottle
from tests.support.memory import Clock, Device, make_manager, v1_device
from tests.support.wire import Opcode


def test_a_throttle_keeps_kinds_apart() -> None:
    throttle = LogThrottle(Clock(), threading.Lock())
    assert [throttle.ask("a") for _ in range(11)] == [0] * 10 + [None]
    assert throttle.ask("b") == 0


def test_the_first_line_after_a_quiet_time_tells_how_many_were_kept_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "iotio.connection")
    clock = Clock()
    throttle = LogThrottle(clock, threading.Lock())
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
    throttle = LogThrottle(clock, threading.Lock())
    assert [throttle.ask("a") for _ in range(10)] == [0] * 10
    for _ in range(10):
        clock.now += 1
        assert throttle.ask("a") is None, "10 s since the last line, and not more"
    clock.now += 0.5
    assert throttle.ask("a") == 10


def test_lines_that_come_slowly_all_pass() -> None:
    clock = Clock()
    throttle = LogThrottle(clock, threading.Lock())
    for _ in range(100):
        clock.now += 11
        assert throttle.ask("a") == 0


@given(st.lists(st.floats(0, 30), max_size=60))
def test_no_line_is_lost_from_the_count(pauses: list[float]) -> None:
    clock = Clock()
    throttle = LogThrottle(clock, threading.Lock())
    answers = []
    for pause in pauses:
        clock.now += pause
        answers.append(throttle.ask("a"))
    clock.now += 11
    answers.append(throttle.ask("a"))
    assert sum(answer for answer in answers if answer is not None) == answers.count(None)


def test_an_exception_comes_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    throttle = LogThrottle(clock, threading.Lock(), logging.getLogger("iotio.hosts"))
    error = ValueError("x")
    for number in range(12):
        throttle.error(error, "a", "number %d", number)
    clock.now += 11
    throttle.error(error, "a", "number %d", 12)
    assert [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR] == [
        *(f"number {number}" for number in range(10)),
        "number 12 (and 2 more like this)",
    ]
    assert {one.name for one in caplog.records} == {"iotio.hosts"}
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


# Lines of what peers do all day.


def news(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The INFO lines so far; they are forgotten."""
    lines = [one.getMessage() for one in caplog.records if one.levelno == logging.INFO]
    caplog.clear()
    return lines


def test_of_too_many_lines_in_a_second_the_last_one_counts_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.connection")
    clock = Clock()
    throttle = LogThrottle(clock, threading.Lock())
    for number in range(5000):
        throttle.info("connected", "device %d", number)
    assert news(caplog) == [f"device {number}" for number in range(100)]
    throttle.sweep(clock.now)
    assert news(caplog) == [], "the second is not over"
    clock.now += 1
    throttle.sweep(clock.now)
    throttle.sweep(clock.now)
    assert news(caplog) == ["device 4999 (and 4899 more like this)"]


def test_a_flood_is_one_line_each_second_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.connection")
    clock = Clock()
    throttle = LogThrottle(clock, threading.Lock())
    for second in range(4):
        for number in range(101 if second < 2 else 3):
            throttle.info("connected", "device %d.%d", second, number)
        assert len(news(caplog)) == (100, 1, 1, 4)[second]
        clock.now += 1
    throttle.sweep(clock.now, ends=True)
    assert news(caplog) == []


def test_lines_that_are_left_out_at_the_end_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.connection")
    clock = Clock()
    throttle = LogThrottle(clock, threading.Lock())
    for number in range(102):
        throttle.info("connected", "device %d", number)
    caplog.clear()
    throttle.sweep(clock.now, ends=True)
    assert news(caplog) == ["device 101 (and 1 more like this)"]


def test_kinds_of_lines_are_counted_apart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.connection")
    throttle = LogThrottle(Clock(), threading.Lock())
    for _ in range(100):
        throttle.info("connected", "c")
        throttle.info("disconnected", "d")
    assert len(news(caplog)) == 200


@pytest.mark.parametrize("each_second", [99, 3000])
@pytest.mark.parametrize("size", [10, 900])
def test_no_flood_makes_a_megabyte_a_minute(each_second: int, size: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.connection")
    clock = Clock()
    throttle = LogThrottle(clock, threading.Lock())
    for _ in range(60):
        for _ in range(each_second):
            throttle.info("connected", "%s", "x" * size)
            throttle.info("disconnected", "%s", "x" * size)
            throttle.warning("refused", "%s", "x" * size)
        clock.now += 1
        throttle.sweep(clock.now)
    assert sum(len(one.getMessage()) + 100 for one in caplog.records) < 700_000


def test_of_errors_with_long_tracebacks_few_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    throttle = LogThrottle(clock, threading.Lock())

    def nested(depth: int) -> None:
        if depth:
            nested(depth - 1)
        raise ValueError("x" * 100_000)

    for number in range(200):
        try:
            nested(number % 2)
        except ValueError as error:
            throttle.error(error, f"kind {number}", "a handler has failed")
    assert 50 < len(caplog.records) < 180
    assert throttle.ask("kind 199") == 1, "one was left out"


def test_no_line_of_several_threads_is_lost_from_the_count(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.connection")
    throttle = LogThrottle(time.monotonic, threading.Lock())

    def chat() -> None:
        for _ in range(500):
            throttle.info("connected", "device")
            throttle.sweep(time.monotonic())

    threads = [threading.Thread(target=chat) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    throttle.sweep(time.monotonic(), ends=True)
    counted = (re.fullmatch(r"device(?: \(and (\d+) more like this\))?", line) for line in news(caplog))
    assert sum(1 + int(found[1] or 0) for found in counted if found is not None) == 8 * 500


def test_nothing_is_done_where_info_is_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "iotio.connection")
    throttle = LogThrottle(Clock(), threading.Lock())
    assert not throttle.tells_news
    throttle.info("connected", "%d", "no number, and nobody formats it")
    throttle.sweep(2000.0)
    assert caplog.records == []


# What devices can cause at will.


class Failing(DeviceType):
    """Its handler fails, and so does the answer of another."""

    def on_fail(self, message: object, client: IoTClient) -> None:
        raise ValueError(message)

    def on_answer(self, message: object, client: IoTClient) -> object:
        return object()

    def on_big(self, message: object, client: IoTClient) -> bytes:
        return bytes(2000)


def invalid(device: Device) -> None:
    device.frame(Opcode.BINARY, b"x")


def breaks_a_rule(device: Device) -> None:
    device.frame(3)


def fails(device: Device) -> None:
    device.send("fail", "x")


def has_no_answer(device: Device) -> None:
    device.send("answer", "x")


def does_not_read(device: Device) -> None:
    for _ in range(3):
        device.send("big")


@pytest.mark.parametrize("cause", [invalid, breaks_a_rule, fails, has_no_answer, does_not_read])
def test_each_kind_of_line_is_bounded(cause: Callable[[Device], None], caplog: pytest.LogCaptureFixture) -> None:
    manager: Manager = make_manager(Failing("failing"), max_outbox=1000)
    for number in range(50):
        cause(v1_device(manager, f"d{number}", "failing", room=0))
    lines = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(lines) == 10


def test_who_asks_hears_of_each_exception_also_of_those_that_are_left_out() -> None:
    throttle, heard = LogThrottle(Clock(), threading.Lock()), list[BaseException]()
    throttle.on_error = heard.append
    errors = [ValueError(str(number)) for number in range(50)]
    for error in errors:
        throttle.error(error, "handlers", "one failed")
    throttle.warning("other", "nothing is raised here")
    assert heard == errors
