"""The module name of iot.io-client 0.4: types for annotations."""

from typing import TypeAlias

from iotio_protocol.values import Value as sendable

event_pair: TypeAlias = "tuple[None, None] | tuple[str, sendable]"

__all__ = ["event_pair", "sendable"]
