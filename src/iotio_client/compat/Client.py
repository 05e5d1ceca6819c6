"""The module name of iot.io-client 0.4; the name lives in `iotio_client`."""

from iotio_client.sync_client import IoTClient

__all__ = ["IoTClient"]
