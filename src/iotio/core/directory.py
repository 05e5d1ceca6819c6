"""`manager.devices`: the devices that the server knows, connected or away, by id or by what they are."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView

from iotio_protocol.presence import Presence

from .handles import DeviceHandle
from .presence import PresenceMonitor
from .registry import Registry

__all__ = ["Directory"]


class Directory(Mapping[str, DeviceHandle]):
    """The known devices by id, in the order in which they came first. Call it to find some of them.

    Any thread may use it. An iteration goes over a copy: devices that come or are forgotten meanwhile do not matter.

    Args:
        registry: knows the devices and the rooms.
        presence: knows how many were forgotten.
    """

    def __init__(self, registry: Registry, presence: PresenceMonitor) -> None:
        self._registry = registry
        self._presence = presence

    def __call__(
        self,
        *,
        type: str | None = None,
        room: str | None = None,
        presence: Presence | str | None = None,
        text: str | None = None,
    ) -> list[DeviceHandle]:
        """Find devices, connected or away; those that meet all conditions.

        Args:
            type: of this device type.
            room: in this room.
            presence: of this presence, such as "online".
            text: with this text in their id, type or data, in capital letters or small ones.

        Raises:
            ValueError: there is no such presence.
        """
        wanted = None if presence is None else Presence(presence)
        found = self._registry.devices() if room is None else self._members(room)
        if type is not None:
            found = [device for device in found if device.type == type]
        if wanted is not None:
            found = [device for device in found if device.presence is wanted]
        if text is not None:
            part = text.casefold()
            found = [device for device in found if part in f"{device.id}\n{device.type}\n{device.data}".casefold()]
        return found

    def __getitem__(self, device_id: str) -> DeviceHandle:
        """Return the device with this id. Raises KeyError if no such device is known."""
        device = self._registry.device(device_id)
        if device is None:
            raise KeyError(device_id)
        return device

    def __iter__(self) -> Iterator[str]:
        return iter([device.id for device in self._registry.devices()])

    def __len__(self) -> int:
        return len(self._registry)

    def items(self) -> ItemsView[str, DeviceHandle]:
        """Return ids and devices; of a copy, as a device may be forgotten while the caller iterates."""
        return self._copy().items()

    def values(self) -> ValuesView[DeviceHandle]:
        """Return the devices; of a copy, for the same reason as `items`."""
        return self._copy().values()

    @property
    def forgotten(self) -> int:
        """How many devices were forgotten because of `Options.max_devices` or `Options.max_devices_bytes`."""
        return self._presence.remembered.forgotten

    def __repr__(self) -> str:
        return f"<Directory of {len(self)} devices>"

    def _copy(self) -> dict[str, DeviceHandle]:
        return {device.id: device for device in self._registry.devices()}

    def _members(self, room: str) -> list[DeviceHandle]:
        clients, away = self._registry.members(room)
        return [client.device for client in clients if client.device is not None] + away
