"""What the log says of a device that is refused."""

from __future__ import annotations

import pytest

from iotio.core.refusals import Refusal
from iotio_protocol.errors import ErrorCode, HandshakeError

UNNAMED = (None, None)


@pytest.mark.parametrize(
    ("error", "named", "text"),
    [
        (
            HandshakeError(ErrorCode.CLIENT_INVALID_TYPE),
            ("l1", "lmap"),
            "client_invalid_type; it calls itself 'l1' of type 'lmap'. 'lamp' exists; did you mean that?"
            " Add the type by manager.add_type(), or change client_type on the device",
        ),
        (
            HandshakeError(ErrorCode.CLIENT_INVALID_TYPE),
            ("l1", "door"),
            "client_invalid_type; it calls itself 'l1' of type 'door'."
            " Add the type by manager.add_type(), or change client_type on the device",
        ),
        (
            HandshakeError(ErrorCode.CLIENT_NO_ID),
            (None, "lamp"),
            "client_no_id; it calls itself '' of type 'lamp'. Give the device an id",
        ),
        (
            HandshakeError(ErrorCode.CLIENT_INVALID_ENDPOINTS, {"endpointId": "x"}),
            UNNAMED,
            "client_invalid_endpoints {'endpointId': 'x'}. Change this EndpointInfo on the device",
        ),
        (
            HandshakeError(ErrorCode.SERVER_BUSY, {"limit": "max_connections"}),
            UNNAMED,
            "server_busy {'limit': 'max_connections'}. Options(max_connections=...) lets more in; it will try again",
        ),
        (
            HandshakeError(ErrorCode.CLIENT_INVALID_DATA, {"limit": "max_data"}),
            UNNAMED,
            "client_invalid_data {'limit': 'max_data'}. Options(max_data=...) allows more; or have the device say less"
            " of itself",
        ),
    ],
)
def test_the_text(error: HandshakeError, named: tuple[str | None, str | None], text: str) -> None:
    assert str(Refusal(error, named, ["lamp", "echo"])) == text


@pytest.mark.parametrize("code", list(ErrorCode))
def test_each_refusal_has_a_cure(code: ErrorCode) -> None:
    if code not in (ErrorCode.STREAM_GAP, ErrorCode.UNSUPPORTED_PACKET, ErrorCode.ORIGIN_NOT_ALLOWED):
        assert ". " in str(Refusal(HandshakeError(code), UNNAMED, []))
