"""The errors of a device: what they are caught as, what they say, and whether trying again can help."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_client import errors
from iotio_client.errors import (
    ClientError,
    ConnectFailed,
    ConnectionBroken,
    ConnectionLost,
    ConnectTimeout,
    DeviceRejected,
    InvalidEndpoint,
    NotConnected,
    UpgradeRefused,
    VersionNotSpoken,
)
from iotio_protocol.errors import ErrorCode, IoTError

PASSING = {ErrorCode.SERVER_BUSY, ErrorCode.STREAM_GAP, ErrorCode.UNSUPPORTED_PACKET}
"""Codes that say nothing about the device as such."""


def test_all_are_client_errors() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), ClientError)
    assert issubclass(ClientError, IoTError)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (NotConnected, ConnectionError),
        (ConnectFailed, ConnectionError),
        (ConnectTimeout, TimeoutError),
        (ConnectionLost, ConnectionError),
        (ConnectionBroken, ConnectionLost),
        (InvalidEndpoint, ValueError),
    ],
)
def test_what_else_they_are_caught_as(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)


def test_only_what_can_pass_is_tried_again() -> None:
    found = {name: getattr(errors, name).retry for name in errors.__all__}
    assert {name for name, retry in found.items() if retry} == {
        "ConnectFailed",
        "ConnectTimeout",
        "UpgradeRefused",  # by its status, below
        "ConnectionLost",
        "ConnectionBroken",
    }
    assert not VersionNotSpoken("an old server").retry


@pytest.mark.parametrize(
    ("status", "retry", "hint"),
    [
        (200, False, "this is no iot.io server, or it refuses the request"),
        (401, False, "the server wants a login"),
        (403, False, "forbids this device"),
        (404, False, "check the address"),
        (408, True, "try again later"),
        (425, True, "try again later"),
        (426, False, "a proxy on the way may not pass WebSocket upgrades on"),
        (429, True, "try again later"),
        (499, False, "this is no iot.io server"),
        (500, True, "try again later"),
        (503, True, "try again later"),
    ],
)
def test_a_status_in_place_of_an_upgrade(status: int, retry: bool, hint: str) -> None:
    error = UpgradeRefused("h:1", status)
    assert (error.status, error.retry) == (status, retry)
    assert str(error).startswith(f"h:1 answered with HTTP status {status} instead of a connection: ")
    assert hint in str(error)


def test_the_retry_of_one_refusal_is_not_that_of_another() -> None:
    later, never = UpgradeRefused("h", 503), UpgradeRefused("h", 404)
    assert (later.retry, never.retry) == (True, False)


@given(st.integers(0, 65535), st.text(), st.text())
def test_a_lost_connection_says_all_that_is_known(code: int, reason: str, cause: str) -> None:
    error = ConnectionLost(code, reason, cause)
    assert (error.code, error.reason) == (code, reason)
    assert reason in str(error)
    assert cause in str(error)
    assert (str(code) in str(error)) or code == 1006


def test_the_codes_of_an_end_in_order() -> None:
    """Normal, going away, and a CLOSE frame without a code."""
    assert [code for code in range(5000) if ConnectionLost(code).clean] == [1000, 1001, 1005]


def test_the_words_for_a_lost_connection() -> None:
    assert str(ConnectionLost(1006)) == "the connection ended without a CLOSE frame"
    assert str(ConnectionLost(1001, "restart", "late")) == (
        "the server closed the connection with code 1001: restart; late"
    )


def test_what_this_side_ended_is_not_blamed_on_the_server() -> None:
    error = ConnectionBroken("a message is missing")
    assert str(error) == "this side ended the connection: a message is missing"
    assert (error.code, error.clean, error.retry) == (1006, False, True)


@pytest.mark.parametrize("code", sorted(set(ErrorCode) - PASSING))
def test_a_rejection_says_what_to_change(code: ErrorCode) -> None:
    error = DeviceRejected(code, client_type="lämp")
    assert error.code is code
    assert str(error).startswith(f"the server refuses this device ({code.value}): ")
    assert "{" not in str(error)
    assert not error.retry
    assert str(DeviceRejected(code, {"endpointId": "x"})).endswith("(the server says: {'endpointId': 'x'})")


def test_a_rejection_names_the_type() -> None:
    assert "it does not know the device type 'lämp'" in str(
        DeviceRejected(ErrorCode.CLIENT_INVALID_TYPE, client_type="lämp")
    )


@pytest.mark.parametrize("code", sorted(PASSING))
def test_what_passes_is_no_rejection(code: ErrorCode) -> None:
    with pytest.raises(KeyError):
        DeviceRejected(code)
