"""The module name of iot.io-client 0.4: encoders for `encoder=`."""

from iotio_client.packets import AbstractPacketEncoder, DefaultPacketEncoder
from iotio_protocol.v1 import DataType as PacketDataType

__all__ = ["AbstractPacketEncoder", "DefaultPacketEncoder", "PacketDataType"]
