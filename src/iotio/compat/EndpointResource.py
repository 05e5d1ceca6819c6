"""`iotio.EndpointResource` of iot.io 0.4.10: the view behind `POST /api/iot.io`."""

from __future__ import annotations

from iotio.http.rest import EndpointResource

__all__ = ["EndpointResource"]
