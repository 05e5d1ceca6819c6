"""The module name of iot.io-client 0.4; the names live in `iotio_client`."""

from iotio_client.endpoint_info import EndpointConstraint, EndpointInfo, EndpointType

__all__ = ["EndpointConstraint", "EndpointInfo", "EndpointType"]
