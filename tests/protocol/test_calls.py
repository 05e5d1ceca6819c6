"""Numbers of calls, and what a failed one says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol import calls, v2
from iotio_protocol.calls import MAX_TEXT, Calls, error_of, failure, fault_of
from iotio_protocol.errors import (
    CallError,
    CallFault,
    EncodeError,
    InvalidData,
    NoHandler,
    RemoteError,
    TooManyCalls,
)
from iotio_protocol.options import Options


def test_each_call_has_its_number_and_is_answered_once() -> None:
    waiting: Calls[str] = Calls()
    first, second = waiting.begin("a"), waiting.begin("b")
    assert first != second
    assert len(waiting) == 2
    assert waiting.end(second) == "b"
    assert waiting.end(second) is None
    assert waiting.end(first) == "a"
    assert waiting.end(12345) is None
    assert len(waiting) == 0


def test_not_more_than_may_be_on_their_way() -> None:
    waiting: Calls[int] = Calls(most=2)
    number = waiting.begin(1)
    waiting.begin(2)
    with pytest.raises(TooManyCalls, match="2 calls are on their way"):
        waiting.begin(3)
    waiting.end(number)
    assert waiting.begin(3) != number


def test_all_end_with_the_connection_in_their_order() -> None:
    waiting: Calls[int] = Calls()
    for value in range(5):
        waiting.begin(value)
    assert waiting.end_all() == [0, 1, 2, 3, 4]
    assert waiting.end_all() == []


def test_numbers_wrap_and_pass_over_those_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_LAST", 3)
    waiting: Calls[str] = Calls(most=3)
    assert [waiting.begin(one) for one in "abc"] == [1, 2, 3]
    waiting.end(2)
    assert waiting.begin("d") == 2
    waiting.end(1)
    assert waiting.begin("e") == 1


@given(st.lists(st.integers(0, 9)))
def test_any_order_of_calls_and_answers(order: list[int]) -> None:
    waiting: Calls[object] = Calls(most=5)
    known: dict[int, object] = {}
    for step in order:
        if step < 5 and len(known) < 5:
            waiter = object()
            number = waiting.begin(waiter)
            assert number not in known
            known[number] = waiter
        elif known:
            number = list(known)[step % len(known)]
            assert waiting.end(number) is known.pop(number)
    assert waiting.end_all() == list(known.values())


class Odd(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError


def test_what_a_failure_carries() -> None:
    assert failure(CallFault.EXCEPTION, ValueError("no bulb")) == {
        "error": "exception",
        "name": "ValueError",
        "message": "no bulb",
    }
    assert failure(CallFault.NO_HANDLER) == {"error": "no_handler", "name": "", "message": ""}
    assert failure(CallFault.BUSY, text="later") == {"error": "busy", "name": "", "message": "later"}


@pytest.mark.parametrize("error", [Odd(), ValueError("\ud800")])
def test_a_text_that_cannot_be_written_is_left_out(error: Exception) -> None:
    carried = failure(CallFault.EXCEPTION, error)
    assert carried["message"] == ""
    v2.encode("", carried, v2.FAILURE, call=1)


def test_a_long_text_is_cut() -> None:
    assert failure(CallFault.EXCEPTION, ValueError("x" * 5000))["message"] == "x" * MAX_TEXT


def test_the_fault_of_what_was_raised() -> None:
    assert fault_of(EncodeError("x")) is CallFault.INVALID_DATA
    assert fault_of(InvalidData("x")) is CallFault.INVALID_DATA
    assert fault_of(ValueError("x")) is CallFault.EXCEPTION


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ({"error": "no_handler", "name": "", "message": ""}, NoHandler, "no handler for the event 'e'"),
        ({"error": "invalid_data", "name": "V", "message": "too hot"}, InvalidData, "too hot"),
        ({"error": "invalid_data"}, InvalidData, "refused the value for 'e'"),
        ({"error": "busy"}, TooManyCalls, "too many calls"),
        ({"error": "exception", "name": "OSError", "message": "gone"}, RemoteError, "OSError: gone"),
        ({"error": "exception", "name": "OSError", "message": ""}, RemoteError, "OSError"),
        ({"error": "of a newer protocol"}, RemoteError, "of a newer protocol"),
        ({}, RemoteError, "does not say why"),
        ("broken", RemoteError, "does not say why"),
        (None, RemoteError, "does not say why"),
        ({"error": 1, "name": [], "message": {}}, RemoteError, "does not say why"),
    ],
)
def test_the_error_of_a_failed_call(value: object, kind: type[CallError], text: str) -> None:
    error = error_of("e", value)
    assert type(error) is kind
    assert text in str(error)


@given(st.sampled_from(CallFault), st.text(), st.text())
def test_there_and_back(fault: CallFault, name: str, message: str) -> None:
    error = error_of("e", failure(fault, type(name, (Exception,), {})(message) if "\0" not in name else None))
    assert isinstance(error, CallError)
    if fault is CallFault.EXCEPTION and isinstance(error, RemoteError) and "\0" not in name:
        assert name.startswith(error.name)
        assert error.name == name or len(json.dumps(name)) > 500 or len(name) > 100


@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f600", "\0", '"'])
def test_a_failure_fits_whatever_its_texts_are(character: str) -> None:
    kind = type("E" if character == "\0" else character * 300, (Exception,), {})
    packet = v2.encode("", failure(CallFault.EXCEPTION, kind(character * 5000)), v2.FAILURE, call=1)
    found = v2.decode(packet, Options(max_event=1, max_payload=1))
    assert isinstance(found, v2.Packet)
    assert isinstance(found.value, dict)
    assert str(found.value["message"]).startswith(character * 200)


def test_texts_of_the_other_side_are_cut() -> None:
    for code in ("exception", "invalid_data", "busy", "x" * 5000):
        error = error_of("e", {"error": code, "name": "N" * 5000, "message": "m" * 5000})
        assert len(str(error)) <= MAX_TEXT + 102
    assert isinstance(error, RemoteError)
    assert (error.name, error.message) == ("N" * 100, "m" * 1000)
    assert error_of("e", {"error": "c" * 5000}).args == ("c" * 1000,)
