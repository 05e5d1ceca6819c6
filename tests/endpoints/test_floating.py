"""The float endpoint."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol.endpoints import DeclarationError, FloatEndpoint, Report, ValidationResponse, parse_endpoint

FREE = FloatEndpoint("t", "T")
finite = st.floats(allow_nan=False, allow_infinity=False)


def codes(endpoint: FloatEndpoint, *values: object) -> list[str]:
    return [endpoint.check(value)[0].value for value in values]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (21.5, 21.5),
        (7, 7.0),
        ("21.5", 21.5),
        (" 7 ", 7.0),
        ("+7", 7.0),
        ("1e3", 1000.0),
        (-0.0, -0.0),
        (2**63, 2.0**63),
    ],
)
def test_converts(value: object, expected: float) -> None:
    response, converted = FREE.check(value)
    assert response is ValidationResponse.VALID
    assert converted == expected
    assert type(converted) is float
    assert FREE.report(value) == Report(expected, out_of_range=False)


@pytest.mark.parametrize(
    "value",
    [
        *(float("inf"), float("-inf"), float("nan"), "inf", "-Infinity", "nan", "1e999", True, False, 10**400),
        *(None, [], [7], {}, b"7", "", "21,5", "0x7", "seven", "9" * 5000, "\ud800"),
    ],
    ids=lambda value: ascii(value)[:20] if not isinstance(value, int) else type(value).__name__,
)
def test_refuses(value: object) -> None:
    assert FREE.check(value) == (ValidationResponse.INVALID_TYPE, None)
    assert FREE.report(value) is None


def test_limits_may_be_fractions() -> None:
    half = FloatEndpoint("t", "T", None, min_v=-0.5, max_v=0.5)
    assert codes(half, -0.5, 0.5, -0.51, 0.51) == ["valid", "valid", "lower_than_min", "higher_than_max"]


def test_steps_are_counted_from_min_but_for_rounding() -> None:
    tenths = FloatEndpoint("t", "T", None, min_v=0.05, increment=0.1)
    assert codes(tenths, 0.05, 0.15, 0.25, 0.35, 0.3, "0.2") == [*["valid"] * 4, *["invalid_increment"] * 2]
    assert tenths.check(0.15) == (ValidationResponse.VALID, 0.15)  # as it is, not as it would be counted


@pytest.mark.parametrize("increment", [None, 0, 0.0, 5e-324, -5e-324])
def test_these_increments_allow_everything(increment: float | None) -> None:
    assert codes(FloatEndpoint("t", "T", increment=increment), 1, 2.7, 1e308) == ["valid"] * 3


def test_a_negative_increment_is_a_step_too() -> None:
    assert codes(FloatEndpoint("t", "T", increment=-0.5), 1.5, 1.7) == ["valid", "invalid_increment"]


@given(st.integers(-(10**9), 10**9), st.integers(-(10**5), 10**5), st.integers(1, 10**4), st.integers(0, 6))
def test_what_is_a_step_on_paper_is_one(steps: int, low: int, increment: int, digits: int) -> None:
    shift = Decimal(10) ** -digits
    start, step = low * shift, increment * shift
    value = float(start + steps * step)
    if steps >= 0:
        endpoint = FloatEndpoint("t", "T", min_v=float(start), increment=float(step))
        assert codes(endpoint, value) == ["valid"]
    if abs(steps) < 10**6:
        between = float(start + (steps + Decimal("0.5")) * step)
        endpoint = FloatEndpoint("t", "T", min_v=float(start), increment=float(step))
        assert codes(endpoint, between)[0] in ("invalid_increment", "lower_than_min")


@given(finite, st.none() | finite, st.none() | finite, st.none() | finite)
def test_every_number_is_valid_or_out_of_range(
    value: float, low: float | None, high: float | None, increment: float | None
) -> None:
    endpoint = FloatEndpoint("t", "T", None, low, high, increment)
    response, converted = endpoint.check(value)
    assert converted == (value if response is ValidationResponse.VALID else None)
    assert endpoint.report(value) == Report(value, out_of_range=response is not ValidationResponse.VALID)


def test_describes_itself() -> None:
    endpoint = FloatEndpoint("t", "T", "sp", 0, 40.5, 0.5, unit="°C")
    assert endpoint.describe() == {
        "id": "t",
        "name": "T",
        "type": "float",
        "specialId": "sp",
        "constraints": {"min": 0, "max": 40.5, "increment": 0.5},
        "unit": "°C",
    }
    assert parse_endpoint(endpoint.describe()).describe() == endpoint.describe()


@pytest.mark.parametrize("name", ["min", "max", "increment"])
@pytest.mark.parametrize(
    "value", [True, "7", [], {}, math.inf, math.nan, 10**400], ids=lambda value: type(value).__name__
)
def test_a_limit_must_be_a_finite_number(name: str, value: object) -> None:
    declaration = {"id": "t", "name": "T", "type": "float", "constraints": {name: value}}
    with pytest.raises(DeclarationError, match=f"endpoint 't': constraint_{name}_must_be_number"):
        parse_endpoint(declaration)


def test_a_wrong_unit_is_told_before_a_wrong_limit() -> None:
    declaration = {"id": "t", "name": "T", "type": "float", "unit": 5, "constraints": {"min": "x"}}
    with pytest.raises(DeclarationError, match="unit_must_be_string"):
        parse_endpoint(declaration)
