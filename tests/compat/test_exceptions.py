"""`iotio.exceptions`: the exceptions of iot.io 0.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iotio.protocol.errors import IoTError

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


def test_no_two_say_the_same() -> None:
    names = ["ConnectionEnded", "ConnectionFailed", *REFUSALS]
    assert len({str(getattr(exceptions, name)()) for name in names}) == len(names)


def test_all_names() -> None:
    assert sorted(exceptions.__all__) == sorted(["IoTError", "ConnectionEnded", "ConnectionFailed", *REFUSALS])
