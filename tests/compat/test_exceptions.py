"""`iotio.exceptions`: the exceptions of iot.io 0.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iotio_protocol.errors import IoTError

if TYPE_CHECKING:
    from iotio.compat import exceptions
else:
    from iotio import exceptions

REFUSALS = [
    "ClientNoId",
    "ClientNoType",
    "ClientInvalidType",
    "ClientInvalidData",
    "ClientInvalidEndpoints",
    "ClientNoProtocolVersion",
    "ClientIncompatibleProtocolVersion",
]


MESSAGES = {
    "IoTError": "Base exception class for the iot.io library.",
    "ConnectionEnded": "Client socket no longer alive.",
    "ConnectionFailed": "Client failed to connect to the server.",
    "ClientNoId": "Client failed to provide the IoT-IO-Id header field.",
    "ClientNoType": "Client failed to provide the IoT-IO-Type header field.",
    "ClientInvalidType": "Client provided an invalid value for the IoT-IO-Type header field.",
    "ClientInvalidData": "Client provided an invalid json data for the IoT-IO-Data header field.",
    "ClientInvalidEndpoints": "Client provided an invalid value for the IoT-IO-Endpoints header field.",
    "ClientNoProtocolVersion": "Client did not provide the IoT-IO-ProtocolVersion header field.",
    "ClientIncompatibleProtocolVersion": (
        "The version of the client's protocol is incompatible with that of the server's."
    ),
}


@pytest.mark.parametrize(("name", "text"), MESSAGES.items())
def test_messages_of_0_4_10(name: str, text: str) -> None:
    kind = getattr(exceptions, name)
    assert str(kind()) == text
    assert str(kind(message="x")) == "x"


def test_the_root_is_ours() -> None:
    assert exceptions.IoTError is IoTError


@pytest.mark.parametrize("name", ["ConnectionEnded", "ConnectionFailed", *REFUSALS])
def test_each_is_an_iot_error_with_words_of_its_own(name: str) -> None:
    kind = getattr(exceptions, name)
    assert issubclass(kind, exceptions.IoTError)
    assert str(kind())
    assert str(kind("other words")) == "other words"


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_a_failed_connection(name: str) -> None:
    assert issubclass(getattr(exceptions, name), exceptions.ConnectionFailed)


def test_all_names() -> None:
    assert sorted(exceptions.__all__) == sorted(["IoTError", "ConnectionEnded", "ConnectionFailed", *REFUSALS])
