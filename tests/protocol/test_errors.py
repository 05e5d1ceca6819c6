"""The error tree and the error codes."""

from __future__ import annotations

from iotio_protocol.errors import (
    EncodeError,
    ErrorCode,
    HandshakeError,
    InvalidPacket,
    IoTError,
    ProtocolError,
)
from tests.protocol.vectors import load

OURS = {
    ErrorCode.SERVER_BUSY,
    ErrorCode.ORIGIN_NOT_ALLOWED,
    ErrorCode.STREAM_GAP,
    ErrorCode.UNSUPPORTED_PACKET,
}
"""Codes that iot.io 0.4 does not have: no device of old meets them unless the program sets a limit."""


def test_codes_are_those_of_the_wire() -> None:
    codes = [words.split()[0] for words in load("v1_errors.json")["meta"]["codes"]]
    assert sorted(code.value for code in set(ErrorCode) - OURS) == sorted(codes)


def test_a_name_is_its_value_in_capitals() -> None:
    assert [code.name for code in ErrorCode] == [code.value.upper() for code in ErrorCode]


def test_a_code_is_its_text() -> None:
    assert f"{ErrorCode.CLIENT_NO_ID}" == "client_no_id"


def test_the_tree() -> None:
    assert issubclass(InvalidPacket, ProtocolError)
    assert issubclass(HandshakeError, ProtocolError)
    assert issubclass(ProtocolError, IoTError)
    assert issubclass(EncodeError, IoTError)
    assert issubclass(EncodeError, ValueError)
    assert not issubclass(EncodeError, ProtocolError)


def test_an_invalid_packet_says_what_is_wrong() -> None:
    error = InvalidPacket("too short")
    assert error.problem == "too short"
    assert str(error) == "too short"


def test_a_handshake_error_has_code_and_info() -> None:
    plain = HandshakeError(ErrorCode.CLIENT_NO_TYPE)
    assert (plain.code, plain.info) == (ErrorCode.CLIENT_NO_TYPE, None)
    assert str(plain) == "client_no_type"
    more = HandshakeError(ErrorCode.CLIENT_INVALID_ENDPOINTS, {"endpointId": "lamp"})
    assert more.info == {"endpointId": "lamp"}
    assert str(more) == "client_invalid_endpoints {'endpointId': 'lamp'}"
