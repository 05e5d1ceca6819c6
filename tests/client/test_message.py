"""What a handler can learn of its message, and times as users write them."""

from __future__ import annotations

from contextvars import copy_context
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iotio_client.message import Message, current_message, milliseconds

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@given(st.integers(0, 253_402_300_799_999))
@example(253_402_300_799_999)
def test_a_time_comes_back_as_it_was_sent(sent: int) -> None:
    time = Message(None, "", sent).time
    assert time is not None
    assert time.tzinfo is UTC
    assert milliseconds(time) == sent


@given(st.datetimes(datetime(1970, 1, 3), datetime(9999, 12, 29), timezones=st.timezones()))
def test_any_zone_is_understood(time: datetime) -> None:
    assert milliseconds(time) == milliseconds(time.astimezone(UTC))
    assert abs(milliseconds(time) / 1000 - time.timestamp()) <= 0.001


def test_seconds_may_be_given_too() -> None:
    assert [milliseconds(time) for time in (0, 1.5, 0.25, 1_767_225_600)] == [0, 1500, 250, 1_767_225_600_000]
    assert milliseconds(253_402_300_799.9999) == 253_402_300_799_999
    assert milliseconds(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert milliseconds(FIRST) == 0
    assert milliseconds(LAST) == 253_402_300_799_999


@pytest.mark.parametrize(
    ("time", "error", "text"),
    [
        (datetime(2026, 1, 1), ValueError, "must have a time zone"),
        (float("nan"), ValueError, "within the years 1970 to 9999"),
        (float("inf"), ValueError, "within the years 1970 to 9999"),
        (10**400, ValueError, "within the years 1970 to 9999"),
        (253_402_300_800, ValueError, "within the years 1970 to 9999"),
        (-0.001, ValueError, "within the years 1970 to 9999"),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), ValueError, "within the years 1970 to 9999"),
        (True, TypeError, "not bool"),
        ("2026-01-01", TypeError, "not str"),
        (None, TypeError, "not NoneType"),
        (timedelta(1), TypeError, "not timedelta"),
    ],
)
def test_what_is_no_time(time: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        milliseconds(time)


def test_a_message_without_a_time_is_of_now() -> None:
    assert Message(None, "", None).time is None


def test_only_a_durable_message_has_a_transaction() -> None:
    def effect(connection: Any) -> None:
        raise AssertionError("the client calls it, later")

    with pytest.raises(RuntimeError, match="the server sends it with durable=True"):
        Message(None, "", 5).transaction(effect)
    first, second = Message(None, "s/1", None), Message(None, "s/2", None)
    first.transaction(effect)
    first.transaction(effect)
    assert (first.effects, second.effects) == ([effect, effect], [])


def test_a_message_is_read_only_and_does_not_show_its_client() -> None:
    message = Message("the client", "s/1", 5)
    with pytest.raises(AttributeError):
        message.id = "s/2"  # type: ignore[misc]
    assert repr(message) == "Message(id='s/1', time_ms=5)"


def test_outside_of_a_handler_there_is_none() -> None:
    message = Message(None, "s/1", None)
    context = copy_context()
    context.run(current_message.set, message)
    assert context[current_message] is message
    assert current_message.get() is None
