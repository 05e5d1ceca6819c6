"""The module name of iot.io-client 0.4: the error codes of the server."""

from iotio_protocol.errors import ErrorCode as Errors

__all__ = ["Errors"]
