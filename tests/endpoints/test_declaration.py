"""Reading a declaration."""

from __future__ import annotations

import pytest

from iotio_protocol.endpoints import DeclarationError, EndpointParseResponse
from iotio_protocol.endpoints.declaration import Declaration


def test_identity() -> None:
    assert Declaration.of({"id": "x", "name": "n"}).identity() == ("x", "n", None)
    assert Declaration.of({"id": "x", "name": "n", "specialId": ""}).identity() == ("x", "n", "")


@pytest.mark.parametrize("value", [None, 5, "x", [], True])
def test_only_an_object_is_one(value: object) -> None:
    with pytest.raises(DeclarationError) as caught:
        Declaration.of(value)
    assert caught.value.problem is EndpointParseResponse.INVALID_STRUCTURE
    assert caught.value.endpoint_id == "no_id_provided"


def test_constraints() -> None:
    assert Declaration.of({}).constraints() == Declaration.of({"constraints": None}).constraints() == {}
    with pytest.raises(DeclarationError, match="invalid_structure"):
        Declaration.of({"id": "x", "constraints": [1]}).constraints()


def test_a_boolean_counts_as_an_integer_constraint() -> None:
    problem = EndpointParseResponse.CONSTRAINT_MIN_MUST_BE_INT
    assert Declaration.of({}).integer(True, problem) is True
    assert Declaration.of({}).integer(None, problem) is None
    with pytest.raises(DeclarationError, match="constraint_min_must_be_integer"):
        Declaration.of({"id": "x"}).integer(1.0, problem)
