"""The string endpoint beyond the vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol import v1
from iotio_protocol.endpoints import (
    DeclarationError,
    EndpointParseResponse,
    Report,
    StringEndpoint,
    ValidationResponse,
    parse_endpoint,
)

FREE = StringEndpoint("s", "S")
any_text = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", ""), ("é漢", "é漢"), (5, "5"), (1.5, "1.5"), (True, "True"), (False, "False")],
)
def test_converts(value: object, expected: str) -> None:
    assert FREE.check(value) == (ValidationResponse.VALID, expected)


@pytest.mark.parametrize(
    "value", [None, [], ["x"], {}, {"a": 1}, b"abc", "\ud800", 10**5000], ids=lambda value: repr(type(value))
)
def test_refuses(value: object) -> None:
    assert FREE.check(value) == (ValidationResponse.INVALID_TYPE, None)


def test_length_is_told_before_the_lists() -> None:
    endpoint = StringEndpoint("s", "S", None, 3, allow_list="abc")
    assert endpoint.check("xxxx")[0] is ValidationResponse.INVALID_LENGTH
    assert endpoint.check("xxx")[0] is ValidationResponse.VIOLATES_ALLOW_LIST
    assert endpoint.check("cab") == (ValidationResponse.VALID, "cab")


def test_a_string_filters_characters_and_a_list_words() -> None:
    assert StringEndpoint("s", "S", allow_list="ab").check("abba")[0] is ValidationResponse.VALID
    assert StringEndpoint("s", "S", allow_list=["ab"]).check("abba")[0] is ValidationResponse.VIOLATES_ALLOW_LIST
    assert StringEndpoint("s", "S", deny_list="ab").check("xxb")[0] is ValidationResponse.VIOLATES_DENY_LIST
    assert StringEndpoint("s", "S", deny_list=["ab"]).check("xxb")[0] is ValidationResponse.VALID
    assert StringEndpoint("s", "S", deny_list=["ab"]).check("ab")[0] is ValidationResponse.VIOLATES_DENY_LIST


@given(any_text)
def test_what_is_valid_can_be_sent(value: str) -> None:
    response, converted = FREE.check(value)
    if response is ValidationResponse.VALID:
        assert converted == value
        v1.encode("s", converted)


def test_describes_itself() -> None:
    assert StringEndpoint("s", "S", None, 2, ["ab"]).describe() == {
        "id": "s",
        "name": "S",
        "type": "string",
        "specialId": None,
        "constraints": {"length": 2, "allowList": ["ab"], "denyList": None},
    }


def declare(**constraints: object) -> StringEndpoint:
    endpoint = parse_endpoint({"id": "s", "name": "S", "type": "string", "constraints": constraints})
    assert isinstance(endpoint, StringEndpoint)
    return endpoint


@pytest.mark.parametrize(
    ("constraints", "problem"),
    [
        ({"length": "3"}, "CONSTRAINT_LENGTH_MUST_BE_INT"),
        ({"length": 1.5}, "CONSTRAINT_LENGTH_MUST_BE_INT"),
        ({"allowList": "a", "denyList": "b"}, "CONSTRAINT_BOTH_ALLOW_LIST_AND_DENY_LIST_SPECIFIED"),
        ({"allowList": 5}, "CONSTRAINT_LIST_MUST_BE_STRING_OR_LIST"),
        ({"denyList": {"a": 1}}, "CONSTRAINT_LIST_MUST_BE_STRING_OR_LIST"),
        ({"allowList": ["a", 5]}, "CONSTRAINT_LIST_MUST_ONLY_CONTAIN_STRINGS"),
        ({"denyList": [None]}, "CONSTRAINT_LIST_MUST_ONLY_CONTAIN_STRINGS"),
    ],
)
def test_declarations_that_are_refused(constraints: dict[str, object], problem: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare(**constraints)
    assert caught.value.info == {"endpointId": "s", "endpointProblem": EndpointParseResponse[problem].value}


@pytest.mark.parametrize("words", ["ab", ["ab", ""], "", []])
def test_a_declared_list_comes_back_as_it_was(words: str | list[str]) -> None:
    assert declare(length=3, allowList=words).describe()["constraints"] == {
        "length": 3,
        "allowList": words,
        "denyList": None,
    }
    assert declare(denyList=words).describe()["constraints"] == {"length": None, "allowList": None, "denyList": words}


@given(st.text(), st.text() | st.lists(st.text()))
def test_what_is_allowed_is_what_would_be_denied(text: str, words: str | list[str]) -> None:
    """Of a single character or word: a filter of characters looks at each."""
    allowed, denied = declare(allowList=words).check(text)[0], declare(denyList=words).check(text)[0]
    if isinstance(words, list):
        assert (allowed is ValidationResponse.VALID) == (denied is ValidationResponse.VIOLATES_DENY_LIST)
    else:
        assert (allowed is ValidationResponse.VALID) == (set(text) <= set(words))
        assert (denied is ValidationResponse.VALID) == set(text).isdisjoint(words)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ab", Report("ab", False)),
        (12, Report("12", False)),
        ("abc", Report("abc", True)),
        ("ü" * 512, Report("ü" * 512, True)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_report_against_the_constraints_is_marked(value: object, expected: Report) -> None:
    assert StringEndpoint("s", "S", length=2).report(value) == expected


@pytest.mark.parametrize(
    "value", [None, [], b"ab", "\ud800", "a" * 1025, "ü" * 513], ids=lambda value: ascii(value)[:20]
)
def test_a_report_that_is_no_text_or_too_long_is_none(value: object) -> None:
    assert StringEndpoint("s", "S").report(value) is None
