"""JSON in pieces says what JSON at once says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol import json_pieces, strict_json
from iotio_protocol.json_pieces import Written, is_heavy, read, write
from iotio_protocol.unread import finish

from .test_strict_json import JSON

TEXTS = [
    '[1, 2, [3, 4, 5, 6, 7, 8, 9], {"a": [10, 11, 12, 13], "b": {}}, "x,]\\"[{", 14]',
    ' {"a" : {"b" : [ [ [ 1 , 2 ] , [ 3 ] ] ] , "c\\\\" : "\\u00e9"} , "a" : 5 , "d":[]} \n',
    "[[[[[[[[[[1]]]]]]]]], [[[[[[2, 3]]]]]]]",
    '{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": [], "b": "cccccccccccccccccccccccccccc"}',
    "[ ]" + " " * 20,
    "[1e5, 1.25, -0.5, true, false, null, [], {}, [[], {}]]",
    '"' + "a" * 100 + '"',
]


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """Take apart what is hardly large, so that a short text has all there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "AT_ONCE", 8)
        patch.setattr(json_pieces, "_MOST", 4)
        yield


def outcome(text: str | bytes, *, at_once: bool = False) -> Any:
    """Return what a text means; the place of an error, too."""
    try:
        return strict_json.loads(text) if at_once else finish(read(text))
    except json.JSONDecodeError as error:
        return type(error)
    except ValueError as error:
        return str(error)


@given(JSON, st.sampled_from([None, 1, 3]), st.sampled_from([(",", ":"), (" , ", "\t:\r\n")]))
def test_what_is_read(value: Any, indent: int | None, separators: tuple[str, str]) -> None:
    text = json.dumps(value, indent=indent, separators=separators)
    assert outcome(text) == outcome(text, at_once=True)
    assert list(outcome(f"[{text}, 1, {text}]")) == list(outcome(f"[{text}, 1, {text}]", at_once=True))


@pytest.mark.parametrize("text", TEXTS)
def test_each_text_and_each_text_with_a_fault(text: str) -> None:
    assert outcome(text) == json.loads(text)
    for at in range(len(text)):
        for change in ("", ",", "]", "}", "[", "{", '"', ":", "1", "n", " "):
            for faulty in (text[:at] + change + text[at + 1 :], text[:at] + change + text[at:]):
                assert outcome(faulty) == outcome(faulty, at_once=True), faulty


@given(st.text('[]{},:"1 \\n') | st.binary())
def test_anything_is_read_or_refused_as_at_once(text: str | bytes) -> None:
    expected = outcome(text, at_once=True)
    found = outcome(text)
    assert found == expected


def test_the_order_and_the_last_of_two_keys_are_kept() -> None:
    text = '{"a": [1, 2, 3, 4, 5], "b": 1, "a": [6, 7, 8, 9], "c": {"d": 1, "e": 2, "f": 3}}'
    assert json.dumps(outcome(text)) == json.dumps(json.loads(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2, 3, 4, 5, x, 7]", "Expecting value: line 1 column 17 (char 16)"),
        ('[\n1, 2,\n{"aaaaaaaaaaa" 1}]', "Expecting ':' delimiter: line 3 column 16 (char 23)"),
        ("[[1, 2, 3, 4, 5] 6]", "Expecting ',' delimiter: line 1 column 18 (char 17)"),
        ("[[1, 2, 3, 4, 5]", "Expecting ',' delimiter: line 1 column 17 (char 16)"),
        ("[1, 2, 3, 4, 5] 6", "Extra data: line 1 column 17 (char 16)"),
    ],
)
def test_an_error_names_the_place_in_the_whole_text(text: str, message: str) -> None:
    with pytest.raises(json.JSONDecodeError) as raised:
        finish(read(text))
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "text", ["[" * 129 + "]" * 129, f"[{'1' * 310}]", '{"a": [1, 2, 3, NaN, 4]}', "[1, 2, 3, 4, 1e999]"]
)
def test_the_rules_of_strict_json_hold(text: str) -> None:
    expected = outcome(text, at_once=True)
    assert isinstance(expected, str)
    assert outcome(text) == expected


def steps(pieces: json_pieces.Pieces) -> int:
    return sum(1 for _ in pieces)


def test_others_have_their_turn_in_between() -> None:
    assert steps(read("[1]")) == 0
    assert steps(read(json.dumps(list(range(100))))) > 20
    assert steps(read(json.dumps([[[list(range(100))]]]))) > 20
    assert steps(write(list(range(100)), ascii_only=True)) > 20
    assert steps(write({"a": {"b": dict.fromkeys(map(str, range(100)))}}, ascii_only=True)) > 20


@given(st.lists(JSON) | st.dictionaries(st.text(), JSON))
def test_what_is_written(value: Any) -> None:
    done = finish(write(value, ascii_only=True))
    assert (done.value, done.body.decode(), done.error) == (value, strict_json.dumps(value), "")
    done = finish(write(value, ascii_only=False))
    try:
        expected = strict_json.encode(value)
    except ValueError as error:
        assert (done.body, done.error) == (b"", str(error))
    else:
        assert done.body == expected


class Own(dict[str, Any]):
    """A dict of the user's own."""


@pytest.mark.parametrize(
    "value",
    [
        {1: "a", None: [1, 2, 3, 4, 5, 6], False: {}, 2.5: {"b": list("abcdef")}},
        [(1, 2, 3, 4, 5, (6, 7, 8, 9, 10, 11)), ()],
        Own(a=Own(b=[1, 2, 3, 4, 5, 6])),
        [[], {}, [[]], "a" * 1000, "b"],
        [],
        {},
        [[[[[[[[[[[[1]]]]]]]]]]]],
    ],
)
def test_all_that_the_encoder_knows_is_written(value: Any) -> None:
    assert finish(write(value, ascii_only=True)).body.decode() == json.dumps(value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([1, 2, 3, 4, 5, object()], "Object of type object is not JSON serializable"),
        ([1, 2, 3, 4, 5, float("nan")], "Out of range float values are not JSON compliant"),
        ({(1, 2): 3, "a": [1, 2, 3, 4, 5]}, "keys must be str, int, float, bool or None, not tuple"),
        ({"a": "\ud800", "b": [1, 2, 3, 4, 5]}, "half of a surrogate pair is no text"),
    ],
)
def test_what_cannot_be_written_says_why(value: Any, error: str) -> None:
    done = finish(write(value, ascii_only=False))
    assert type(done) is Written
    assert done.body == b""
    assert done.error.startswith(error)


def test_what_contains_itself_has_no_json() -> None:
    loop: list[Any] = [1, 2, 3, 4, 5]
    loop += [{"a": loop}, {"b": loop}]
    assert finish(write(loop, ascii_only=True)).error == "Circular reference detected"
    twice = [1, 2, 3, 4, 5]
    assert finish(write([twice, twice], ascii_only=True)).error == ""


def test_deep_nesting_has_no_json() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    assert is_heavy(value)
    assert finish(write(value, ascii_only=True)).error == "nested too deeply"
    while value != 1:  # or its end would go as deep
        (value,) = value


@pytest.mark.parametrize(
    ("value", "heavy"),
    [
        ("a" * 1000, False),
        ([1, 2, 3], False),
        ([1, 2, 3, 4, 5], True),
        ({"a": {"b": {"c": [1]}}}, True),
        (["a" * 1000], True),
        ({"a": 1, "b": 2}, False),
    ],
)
def test_a_value_of_many_others_is_heavy(value: Any, heavy: bool) -> None:
    assert is_heavy(value) is heavy
