"""The error of a declaration."""

from __future__ import annotations

from iotio_protocol.endpoints import DeclarationError, EndpointParseResponse


def test_declaration_error_carries_the_wire_info() -> None:
    error = DeclarationError("x", EndpointParseResponse.NO_NAME_SPECIFIED)
    assert error.info == {"endpointId": "x", "endpointProblem": "no_name_specified"}
    assert str(error) == "endpoint 'x': no_name_specified"
    assert isinstance(error, ValueError)
