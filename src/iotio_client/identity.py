"""Who a device is, and how it says so when it connects."""

from __future__ import annotations

import re

from iotio_protocol import strict_json as json
from iotio_protocol import v0
from iotio_protocol.errors import EncodeError

__all__ = ["Identity"]

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # no HTTP header may hold these (RFC 9110, 5.5)


class Identity:
    """Id, type, data and endpoints of a device.

    Attributes:
        id: the device id; anything that an HTTP header can carry.
        type: the name of a DeviceType of the server.
        data: what the server's program gets to know of the device; read anew for each connection.
        endpoints: the declarations by event.
    """

    __slots__ = ("data", "endpoints", "id", "type")

    def __init__(
        self, id: str, type: str, data: dict[str, object], endpoints: dict[str, dict[str, object]] | None = None
    ) -> None:
        self.id = id
        self.type = type
        self.data = data
        self.endpoints = {} if endpoints is None else endpoints
        if not isinstance(self.id, str):
            raise ValueError("client_id must be a str.")
        if not isinstance(self.type, str):
            raise ValueError("client_type must be a str.")
        if not isinstance(self.data, dict):
            raise ValueError("client_data must be a dict.")
        for name, value in (("client_id", self.id), ("client_type", self.type)):
            if not value:
                raise ValueError(f"{name} must not be empty")
            if _CONTROL.search(value):
                raise ValueError(f"{name} must not hold line breaks or other control characters: {value!r}")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{name} must be valid Unicode, without lone surrogates: {value!r}") from None

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of protocol v1 for the upgrade request, in the order of iot.io-client 0.4.12.

        Raises:
            EncodeError: data or endpoints are not JSON.
        """
        return [
            ("IoT-IO-Id", self.id),
            ("IoT-IO-Type", self.type),
            ("IoT-IO-Data", _dumps("client_data", self.data)),
            ("IoT-IO-Endpoints", _dumps("the endpoint declarations", list(self.endpoints.values()))),
            ("IoT-IO-ProtocolVersion", "1"),
        ]

    def text_handshake(self) -> str:
        """Return the first message of a v0 device.

        Raises:
            EncodeError: an argument that v0 cannot carry.
        """
        return v0.encode_handshake(self.id, self.type, self.data)


def _dumps(name: str, value: object) -> str:
    try:
        return json.dumps(value)
    except ValueError as error:
        raise EncodeError(f"{name} must be JSON: {error}") from None
