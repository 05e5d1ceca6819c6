"""`iotio.Errors`: the error codes of the original."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iotio_protocol.errors import ErrorCode

if TYPE_CHECKING:
    from iotio.compat.Errors import Errors
else:
    from iotio.Errors import Errors


OURS = {"SERVER_BUSY", "ORIGIN_NOT_ALLOWED", "UNSUPPORTED_PACKET", "STREAM_GAP"}


def test_names_and_values_of_the_original() -> None:
    assert {member.name: member.value for member in Errors if member.name not in OURS} == {
        "CLIENT_NO_ID": "client_no_id",
        "CLIENT_NO_TYPE": "client_no_type",
        "CLIENT_INVALID_TYPE": "client_invalid_type",
        "CLIENT_INVALID_DATA": "client_invalid_data",
        "CLIENT_INVALID_ENDPOINTS": "client_invalid_endpoints",
        "CLIENT_NO_PROTOCOL_VERSION": "client_no_protocol_version",
        "CLIENT_INCOMPATIBLE_PROTOCOL_VERSION": "client_incompatible_protocol_version",
        "CLIENT_INVALID_PACKET": "client_invalid_packet",
    }


def test_they_are_the_codes_that_the_server_uses() -> None:
    assert Errors is ErrorCode
