"""The kinds of value that a packet can carry."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Value"]

Value: TypeAlias = "bytes | bytearray | bool | int | float | str | dict[str, Any] | list[Any] | None"
"""What handlers receive and return. v1 carries no float and no None outside of JSON; v0 no bytes and no list."""
