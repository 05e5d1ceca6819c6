"""`iotio.error`: the exceptions of iot.io 0.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iotio.compat import error, exceptions
else:
    from iotio import error, exceptions


def test_the_same_classes_under_the_older_name() -> None:
    assert error.IoTError is exceptions.IoTError
    assert error.ConnectionEnded is exceptions.ConnectionEnded
