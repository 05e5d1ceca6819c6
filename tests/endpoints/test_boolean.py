"""The boolean endpoint beyond the vectors."""

from __future__ import annotations

import pytest

from iotio_protocol.endpoints import BooleanEndpoint, Report, ValidationResponse

ENDPOINT = BooleanEndpoint("lamp", "Lamp")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), (1, True), (0, False), ("false", False), ("FALSE", False), ("tRuE", True)],
)
def test_accepts(value: object, expected: bool) -> None:
    response, converted = ENDPOINT.check(value)
    assert response is ValidationResponse.VALID
    assert converted is expected


@pytest.mark.parametrize("value", [None, 2, -1, 1.0, 0.0, "", "1", " true", [], {}, b"true", object()], ids=repr)
def test_refuses(value: object) -> None:
    assert ENDPOINT.check(value) == (ValidationResponse.INVALID_TYPE, None)


def test_describes_itself() -> None:
    assert ENDPOINT.describe() == {
        "id": "lamp",
        "name": "Lamp",
        "type": "boolean",
        "specialId": None,
        "constraints": None,
    }


@pytest.mark.parametrize(("value", "expected"), [(True, True), (0, False), ("True", True), ("false", False)])
def test_a_report_is_converted(value: object, expected: bool) -> None:
    assert BooleanEndpoint("b", "B").report(value) == Report(expected, out_of_range=False)


@pytest.mark.parametrize("value", [2, 1.0, "yes", None, []])
def test_a_report_of_another_type_is_none(value: object) -> None:
    assert BooleanEndpoint("b", "B").report(value) is None
