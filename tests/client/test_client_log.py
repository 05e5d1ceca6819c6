"""The lines of a device; what makes them is tested with the driver."""

from __future__ import annotations

import logging

import pytest

from iotio_client.client_log import ClientLog
from iotio_client.errors import ConnectFailed, ConnectionLost

from .test_driver import TARGET, FakeShell

NAME = "iotio.client.test"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> ClientLog:
    caplog.set_level(logging.DEBUG, NAME)
    driver = FakeShell().driver
    return ClientLog(logging.getLogger(NAME), driver.session, driver._handlers)


def test_of_events_without_a_handler_100_are_named(log: ClientLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(200):
        log.unhandled(f"e{number}")
        log.unhandled(f"e{number}")
    levels = [record.levelno for record in caplog.records]
    assert levels.count(logging.INFO) == 100
    assert levels.count(logging.DEBUG) == 300


def test_a_run_that_has_ended_is_no_time_away(log: ClientLog, caplog: pytest.LogCaptureFixture) -> None:
    log.connected(TARGET)
    log.disconnected(None)
    log.run_ended()
    log.connected(TARGET)
    log.disconnected(ConnectionLost(1006))
    log.connected(TARGET)
    assert ["again after" in line for line in caplog.messages if line.startswith("connected")] == [False, False, True]


@pytest.mark.parametrize(("is_news", "level"), [(True, logging.ERROR), (False, logging.WARNING)])
def test_what_keeps_from_connecting_is_an_error_once(
    log: ClientLog, caplog: pytest.LogCaptureFixture, is_news: bool, level: int
) -> None:
    log.waits(ConnectFailed("no network"), 1.5, is_news=is_news)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (level, "no network; next attempt in 1.5 s")
    ]
