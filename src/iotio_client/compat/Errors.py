"""The module name of iot.io-client 0.4: the error codes of the server."""

from iotio.protocol.errors import ErrorCode as Errors

__all__ = ["Errors"]
