"""The packet encoder of iot.io 0.4 (`iotio.PacketEncoder`)."""

from __future__ import annotations

from iotio_protocol.encoder import AbstractPacketEncoder, DefaultPacketEncoder, PacketDataType

__all__ = ["AbstractPacketEncoder", "DefaultPacketEncoder", "PacketDataType"]
