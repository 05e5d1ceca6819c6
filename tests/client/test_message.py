"""What a handler can learn of its message, and times as users write them."""

from __future__ import annotations

from contextvars import copy_context
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iotio_client.message import Message, current_message, milliseconds

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@given(st.integers(-62_135_596_800_000, 253_402_300_798_999))
def test_a_time_comes_back_as_it_was_sent(sent: int) -> None:
    time = Message(None, "", sent).time
    assert time is not None
    assert time.tzinfo is UTC
    assert milliseconds(time) == sent


@given(st.datetimes(timezones=st.timezones()))
def test_any_zone_is_understood(time: datetime) -> None:
    try:
        utc = time.astimezone(UTC)
    except OverflowError:  # before the year 1 or after 9999 there
        return
    assert abs(milliseconds(time) - milliseconds(utc)) <= 1
    assert abs(milliseconds(time) / 1000 - time.timestamp()) <= 0.001


def test_seconds_may_be_given_too() -> None:
    assert [milliseconds(time) for time in (0, 1.5, -0.25, 1_767_225_600)] == [0, 1500, -250, 1_767_225_600_000]
    assert milliseconds(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert milliseconds(FIRST) == -62_135_596_800_000
    assert milliseconds(LAST) == 253_402_300_799_000


@pytest.mark.parametrize(
    ("time", "error", "text"),
    [
        (datetime(2026, 1, 1), ValueError, "must have a time zone"),
        (float("nan"), ValueError, "within the years 1 to 9999"),
        (float("inf"), ValueError, "within the years 1 to 9999"),
        (253_402_300_800, ValueError, "within the years 1 to 9999"),
        (-62_135_596_801, ValueError, "within the years 1 to 9999"),
        (True, TypeError, "not bool"),
        ("2026-01-01", TypeError, "not str"),
        (None, TypeError, "not NoneType"),
        (timedelta(1), TypeError, "not timedelta"),
    ],
)
def test_what_is_no_time(time: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        milliseconds(time)


@given(st.none() | st.integers(-(2**63), 2**63 - 1))
@example(-62_135_596_800_000)
@example(-62_135_596_800_001)
@example(253_402_300_799_000)
@example(253_402_300_799_001)
def test_a_time_that_python_does_not_know_is_now(sent: int | None) -> None:
    """A server may write anything into eight bytes."""
    time = Message(None, "", sent).time
    known = sent is not None and FIRST.timestamp() <= sent / 1000 <= LAST.timestamp()
    assert (time is not None) == known


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
