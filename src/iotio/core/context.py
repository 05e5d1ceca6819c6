"""Which device the running handler belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import IoTClient

__all__ = ["current_client"]

current_client: ContextVar[IoTClient] = ContextVar("iotio_current_client")
"""Set in each connection's own context, which every handler of the device runs in."""
