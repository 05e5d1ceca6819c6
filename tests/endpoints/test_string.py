"""The string endpoint beyond the vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol import v1
from iotio_protocol.endpoints import StringEndpoint, ValidationResponse

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
