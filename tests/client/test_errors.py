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
    ("status", "slow", "hint"),
    [
        (200, True, "whether the network wants a login on a page of its own"),
        (302, True, "it redirects, which is not followed"),
        (400, True, "what headers the proxy allows"),
        (401, True, "something on the way wants a login"),
        (403, True, "something on the way forbids this"),
        (404, True, "check the address"),
        (408, False, "try again later"),
        (421, True, "the server does not answer under this name"),
        (425, False, "try again later"),
        (426, True, "a proxy on the way may not pass WebSocket upgrades on"),
        (429, False, "try again later"),
        (431, True, "make client_data and the endpoints smaller"),
        (499, True, "it is no iot.io server"),
        (500, False, "try again later"),
        (503, False, "try again later"),
    ],
)
def test_a_status_in_place_of_an_upgrade(status: int, slow: bool, hint: str) -> None:
    error = UpgradeRefused("h:1", status)
    assert (error.status, error.retry, error.slow, error.code) == (status, True, slow, "")
    assert str(error).startswith(f"h:1 answered with HTTP status {status} instead of a connection: ")
    assert hint in str(error)


def test_the_retry_of_one_refusal_is_not_that_of_another() -> None:
    later, never = UpgradeRefused("h", 404), UpgradeRefused("h", 404, "no_such_path")
    assert (later.retry, never.retry) == (True, False)
    assert str(never).endswith("the server says no_such_path: check the address, and the server's log")


@pytest.mark.parametrize(("status", "retry"), [(401, False), (403, False), (404, False), (400, True), (503, True)])
def test_a_server_of_ours_can_refuse_for_good(status: int, retry: bool) -> None:
    assert UpgradeRefused("h", status, "forbidden").retry is retry


def test_the_word_of_a_server_is_cut_and_cannot_be_a_line() -> None:
    error = UpgradeRefused("h", 404, "a\x1b[31m\r\n" + "b" * 100)
    assert error.code == "a[31m" + "b" * 59


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
