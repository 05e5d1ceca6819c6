"""Check values against the endpoints that devices have declared, on every way to a device.

Equal declarations are one object in memory: thousands of devices of one kind declare the same, and what goes to all of
them is then checked once.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from iotio_protocol.endpoints import Endpoint, ValidationResponse
from iotio_protocol.errors import InvalidData

__all__ = ["Checks", "share"]

_shared: WeakValueDictionary[str, Endpoint] = WeakValueDictionary()


def share(endpoints: dict[str, Endpoint]) -> dict[str, Endpoint]:
    """Put the endpoint that was declared first in the place of each that is equal to it."""
    return {endpoint_id: _share(endpoint) for endpoint_id, endpoint in endpoints.items()}


def _share(endpoint: Endpoint) -> Endpoint:
    try:
        key = repr(endpoint.describe())  # unlike their hashes, the texts of 1 and True differ
    except ValueError:  # an integer with more digits than Python writes
        return endpoint
    return _shared.setdefault(key, endpoint)


class Checks:
    """The checks of one value: one for each distinct declaration.

    Args:
        value: what is to be sent.
    """

    __slots__ = ("_found", "_value")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._found: dict[Endpoint, tuple[ValidationResponse, Any]] = {}

    def of(self, endpoint: Endpoint, device_id: str | None = None) -> Any:
        """Return the value as it is to be sent to a device with this endpoint.

        Args:
            endpoint: what the device has declared.
            device_id: whose it is, for the text of the error; None if many have it.

        Raises:
            InvalidData: the endpoint does not take the value.
        """
        found = self._found.get(endpoint)
        if found is None:
            found = self._found[endpoint] = endpoint.validate(self._value)
        verdict, converted = found
        if verdict is not ValidationResponse.VALID:
            whose = "" if device_id is None else f" of device {device_id!r}"
            raise InvalidData(f"endpoint {endpoint.id!r}{whose} does not take this value: {verdict.value}")
        return converted
