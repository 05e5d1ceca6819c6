"""The error codes of protocol v1 under their name of iot.io 0.4 (`iotio.Errors`)."""

from __future__ import annotations

from iotio_protocol.errors import ErrorCode

__all__ = ["Errors"]

Errors = ErrorCode
