"""The module name of iot.io-client 0.4: encoders for `encoder=`."""

from iotio.protocol.v1 import DataType as PacketDataType
from iotio_client.packets import AbstractPacketEncoder, DefaultPacketEncoder

__all__ = ["AbstractPacketEncoder", "DefaultPacketEncoder", "PacketDataType"]
