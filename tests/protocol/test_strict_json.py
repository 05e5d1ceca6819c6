"""JSON as the wire has it."""

from __future__ import annotations

import contextlib
import gc
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol import strict_json

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_round_trip(value: object) -> None:
    assert strict_json.loads(strict_json.dumps(value)) == value


@given(JSON)
def test_the_spelling_is_that_of_json_dumps(value: object) -> None:
    assert strict_json.dumps(value) == json.dumps(value)


FLAT = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.dictionaries(st.text(), FLAT))
def test_a_flat_object_is_written_like_any_other(value: dict[str, Any]) -> None:
    assert strict_json.encode(value) == json.dumps(value, ensure_ascii=False).encode()


def test_names_and_values_of_other_classes_are_written_as_json_has_them() -> None:
    class Word(str):
        __slots__ = ()

    assert (
        strict_json.encode({2: "a", None: 1, True: Word("b"), "x": True})
        == b'{"2": "a", "null": 1, "true": "b", "x": true}'
    )
    assert strict_json.encode({}) == b"{}"


@given(st.tuples(st.text(" \t\n\r", max_size=2), JSON, st.text(" \t\n\rx1]", max_size=2)))
def test_what_stands_around_a_value_is_taken_as_json_takes_it(parts: tuple[str, Any, str]) -> None:
    text = parts[0] + json.dumps(parts[1]) + parts[2]
    try:
        expected = json.loads(text)
    except ValueError as error:
        with pytest.raises(ValueError, match=f"^{re.escape(str(error))}$"):
            strict_json.loads(text)
    else:
        assert strict_json.loads(text) == expected


@given(JSON)
def test_in_utf8_nothing_is_escaped_that_need_not_be(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        expected = text.encode()
    except UnicodeEncodeError:
        with pytest.raises(ValueError, match="half of a surrogate pair"):
            strict_json.encode(value)
    else:
        assert strict_json.encode(value) == expected
        assert strict_json.loads(expected) == value


@given(st.text() | st.binary())
def test_anything_is_read_or_is_a_value_error(text: str | bytes) -> None:
    try:
        strict_json.loads(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "[1,]",
        "{'a': 1}",
        "01",
        "+1",
        "1.",
        "tru",
        "undefined",
        '"a',
        "1 2",
        "\ufeff1",
        '"\n"',
        "// 1",
    ],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads(text)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[NaN]", '{"a": Infinity}'])
def test_constants_of_python_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        strict_json.loads(text)


@pytest.mark.parametrize("text", [b"\xff", b'"\xc3"', b"\xef\xbb\xbf1", "1".encode("utf-16")])
def test_bytes_must_be_plain_utf8(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads(text)


def test_blanks_around_and_the_last_of_two_keys() -> None:
    assert strict_json.loads(b' \r\n\t{"a": 1, "a": 2} ') == {"a": 2}


@pytest.mark.parametrize("brackets", ["[]", '{"a":}'], ids=["lists", "objects"])
def test_deep_nesting_is_a_value_error(brackets: str) -> None:
    depth = 100_000
    with pytest.raises(ValueError, match="nested too deeply"):
        strict_json.loads(brackets[:-1] * depth + "1" + brackets[-1] * depth)


def test_digits_without_end_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="a number is beyond the range of floats: 1"):
        strict_json.loads("1" * 10_000)


@pytest.mark.parametrize(
    "value",
    [float("nan"), [float("inf")], {"a": -float("inf")}, {1}, {"a": b"b"}, object(), {(1, 2): 3}, 10**5_000],
    ids=["nan", "inf", "-inf", "set", "bytes", "object", "tuple key", "digits"],
)
def test_what_has_no_json_form_is_a_value_error(value: object) -> None:
    for write in (strict_json.dumps, strict_json.encode):
        with pytest.raises(ValueError, match=r"."):
            write(value)


def test_what_contains_itself_is_a_value_error() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError, match=r"[Cc]ircular"):
        strict_json.dumps(loop)


def test_writing_deep_nesting_is_a_value_error() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        strict_json.dumps(value)


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + "1" + closing * levels


@pytest.mark.parametrize(("levels", "opening", "closing"), [(128, "[", "]"), (128, '{"a":', "}"), (64, '[{"a":', "}]")])
def test_128_levels_are_read_and_129_are_not(levels: int, opening: str, closing: str) -> None:
    text = nested(levels, opening, closing)
    assert strict_json.loads(strict_json.dumps(strict_json.loads(text))) == strict_json.loads(text)
    for deeper in (nested(levels + 1, opening, closing), f"[[], {text}]", f'{{"b": {text}}}'):
        with pytest.raises(ValueError, match="nested too deeply"):
            strict_json.loads(deeper)


def test_many_lists_beside_each_other_are_not_deep() -> None:
    text = "[" + ", ".join(['{"a": []}'] * 1000) + "]"
    assert strict_json.loads(text) == [{"a": []}] * 1000
    assert strict_json.loads(f'["{"[" * 1000}"]') == ["[" * 1000], "brackets in a text are text"


def test_brackets_and_quotes_in_strings_are_no_levels() -> None:
    value = ["[" * 200, '"' * 200 + "{" * 200, "\\" * 3 + "[" * 200, {"[" * 200: []}]
    assert strict_json.loads(json.dumps(value)) == value


@given(JSON)
def test_what_is_not_nested_129_levels_deep_is_never_too_deep(value: object) -> None:
    wide = [value] * 130 + [[]] * 130
    assert strict_json.loads(strict_json.dumps(wide)) == wide


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("text", ["[" + "[]," * 40_000 + "[]]", "[" + "[]," * 40_000 + "]"], ids=["good", "bad"])
def test_garbage_is_collected_behind_a_long_text_if_it_was_before(is_on: bool, text: str) -> None:
    if not is_on:
        gc.disable()
    try:
        with contextlib.suppress(ValueError):
            strict_json.loads(text)
        assert gc.isenabled() == is_on
    finally:
        gc.enable()


@pytest.mark.parametrize("text", ['"ü"', '{"a":[1,2.5,null]}', "[]", '"\\ud800"'])
def test_the_size_of_a_value_is_that_of_its_shortest_text(text: str) -> None:
    size = 5 if "ud800" in text else len(text.encode())  # half a surrogate pair has three bytes
    assert strict_json.size_of(strict_json.loads(text)) == size


@pytest.mark.parametrize("text", ["1e999", "-1E+400", '[0, {"a": 1e309}]', f"{10**310}.0", f"1{'0' * 250}e99"])
def test_a_number_beyond_the_range_of_floats_is_not_finite(text: str) -> None:
    with pytest.raises(ValueError, match=r"a number is beyond the range of floats: -?1"):
        strict_json.loads(text)


@pytest.mark.parametrize("text", ["1e308", "1.7976931348623157e308", "1e-999", f"0.{'0' * 400}1", f"{10**308}.0"])
def test_the_largest_and_the_smallest_floats_are_read(text: str) -> None:
    assert strict_json.loads(text) == float(text)
