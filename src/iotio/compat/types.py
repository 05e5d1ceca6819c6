"""Type names of iot.io 0.3 and 0.4 (`iotio.types`)."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["event_pair", "sendable"]

sendable: TypeAlias = bytes | bytearray | bool | int | str | list[Any] | dict[str, Any]
"""What protocol v1 can carry to a device."""

event_pair: TypeAlias = tuple[None, None] | tuple[str, sendable]
"""What `DeviceType.call_event_handler` returns: an event and its value, or two None for no answer."""
