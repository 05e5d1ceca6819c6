"""Which devices are connected, and the members of each room: one lock, never held while user code runs or bytes leave.

Rooms belong to devices. What a broadcast needs is kept ready: the connected members of a room, as clients; the members
that are away are listed beside them. A device is in one of the two lists of each of its rooms.

`Registry.swap` decides a takeover: of two connections of one id, the one that was made later has it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from .handles import DeviceHandle, IoTClient
from .primitives import allocate_lock
from .storage.records import DeviceState

__all__ = ["Registry", "RegistryListener"]

K = TypeVar("K")
V = TypeVar("V")


class RegistryListener(Protocol):
    """Hears of devices as they change. The registry's lock is held: each method must be quick and must not take it."""

    def arrived(self, device: DeviceHandle, *, differs: bool) -> None:
        """Note a new connection of a device; `differs` if what a store keeps of it does."""

    def left(self, device: DeviceHandle, client: IoTClient | None) -> None:
        """Note that a device is away; `client` was its connection, None if it is restored from a store."""

    def changed(self, device: DeviceHandle) -> None:
        """Note that what a store keeps of a device differs from before."""

    def dropped(self, device: DeviceHandle) -> None:
        """Note that a device is forgotten."""

    def joins(self, device: DeviceHandle, room: str) -> None:
        """Make room for the name of a room that a device is about to be in. Raises ValueError if there is none."""


class _NoListener:
    def arrived(self, device: DeviceHandle, *, differs: bool) -> None: ...
    def left(self, device: DeviceHandle, client: IoTClient | None) -> None: ...
    def changed(self, device: DeviceHandle) -> None: ...
    def dropped(self, device: DeviceHandle) -> None: ...
    def joins(self, device: DeviceHandle, room: str) -> None: ...


class Registry:
    """Clients by id and type, devices by id, and the rooms. Every method is atomic and returns copies.

    Attributes:
        lock: held by each method, and while the listener is called.
        listener: hears of what happens to devices; there is one.
    """

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.listener: RegistryListener = _NoListener()
        self._clients: dict[str, IoTClient] = {}
        self._types: dict[str, dict[str, IoTClient]] = {}
        self._devices: dict[str, DeviceHandle] = {}
        self._rooms: dict[str, dict[IoTClient, None]] = {}  # a dict for its order of joining
        self._away: dict[str, dict[str, DeviceHandle]] = {}  # of rooms, the members without a connection

    # -- clients ---------------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """List the ids of all clients, in order of arrival."""
        with self.lock:
            return list(self._clients)

    def get(self, client_id: str) -> IoTClient | None:
        """Find the client of an id."""
        with self.lock:  # `swap` takes the old one out before it puts the new one in
            return self._clients.get(client_id)

    def swap(self, client: IoTClient) -> IoTClient | None:
        """Enter a client in the place of the one that has its id now. It is in the rooms of its device.

        Returns:
            The one before, or None.
            The client itself if a connection that was made later has been quicker; it is not entered then.
        """
        client_id, kind = client.id, client.type
        made = None
        if client_id not in self._devices:  # made here, it takes no time under the lock
            state = DeviceState(client_id, kind, client.written_data, declaration=client.declaration)
            made = DeviceHandle(client.manager, state)
        with self.lock:
            clients = self._clients
            before = clients.get(client_id)
            if before is not None:
                if before.epoch > client.epoch:
                    client.device = before.device
                    return client
                del clients[client_id]  # the order is that of arrival
                self._forget_type(before)
            clients[client_id] = client
            same_type = self._types.get(kind)
            if same_type is None:
                same_type = self._types[kind] = {}
            same_type[client_id] = client
            self._take_place(client, made)
            return before

    def discard(self, client: IoTClient) -> bool:
        """Take a client out of the registry if it is still the one of its id. Its device remains, and in its rooms.

        Returns:
            Whether it was. A client that was taken over can never remove its successor.
        """
        with self.lock:
            if self._clients.get(client.id) is not client:
                return False
            del self._clients[client.id]
            self._forget_type(client)
            device = client.device
            if device is not None and device.current is client:
                self._take_out(device)
                device.current = None
                self._put_in(device)
                if self.knows(device):
                    self.listener.left(device, client)
            return True

    def audience(self, client_type: str | None = None, room: str | None = None) -> list[IoTClient]:
        """List the clients of a type, of a room, of a type within a room, or all."""
        if room is not None:
            return self.members(room, client_type)[0]
        with self.lock:
            if client_type is not None:
                return list(self._types.get(client_type, {}).values())
            return list(self._clients.values())

    def members(self, room: str, client_type: str | None = None) -> tuple[list[IoTClient], list[DeviceHandle]]:
        """List the members of a room: the clients of the connected ones, and the devices that are away. A hot path."""
        with self.lock:
            members = list(self._rooms.get(room, ()))
            away = list(self._away[room].values()) if room in self._away else []
        if client_type is None:
            return members, away
        return [one for one in members if one.type == client_type], [one for one in away if one.type == client_type]

    # -- devices ---------------------------------------------------------------------------------------

    def device(self, device_id: str) -> DeviceHandle | None:
        """Find the device of an id, connected or not."""
        with self.lock:
            return self._devices.get(device_id)

    def devices(self) -> list[DeviceHandle]:
        """List all devices, in the order in which they came first."""
        with self.lock:
            return list(self._devices.values())

    def __len__(self) -> int:
        return len(self._devices)

    def enter(self, device: DeviceHandle) -> bool:
        """Enter a device that is away. False if its id is known already; nothing is changed then."""
        with self.lock:
            if device.id in self._devices:
                return False
            self._devices[device.id] = device
            self._put_in(device)
            self.listener.left(device, None)
            return True

    def forget(self, device: DeviceHandle) -> bool:
        """Forget a device: it is in no room any more. Its client stays until `discard`. False if it is not known."""
        with self.lock:
            return self.drop(device)

    def all(self) -> list[DeviceHandle]:
        """Like `devices`; the caller holds `lock`."""
        return list(self._devices.values())

    def find(self, device_id: str) -> DeviceHandle | None:
        """Like `device`; the caller holds `lock`."""
        return self._devices.get(device_id)

    def knows(self, device: DeviceHandle) -> bool:
        """Ask whether a device is known; the caller holds `lock`."""
        return self._devices.get(device.id) is device

    def drop(self, device: DeviceHandle) -> bool:
        """Like `forget`; the caller holds `lock`."""
        if not self.knows(device):
            return False
        del self._devices[device.id]
        self._take_out(device)
        device.lasting.rooms = ()
        self.listener.dropped(device)
        return True

    # -- rooms -----------------------------------------------------------------------------------------

    def join(self, member: IoTClient | DeviceHandle, room: str) -> bool:
        """Put a device into a room. False if it is not known (any more). ValueError: there is no room for the name."""
        with self.lock:
            device = self._device_of(member)
            if device is None:
                return False
            rooms = device.lasting.rooms
            if room not in rooms:
                self.listener.joins(device, room)
                device.lasting.rooms = tuple(sorted((*rooms, room)))
                self._put_in_room(device, room)
                self.listener.changed(device)
            return True

    def leave(self, member: IoTClient | DeviceHandle, room: str) -> bool:
        """Take a device out of a room. False if it was not in there."""
        with self.lock:
            device = self._device_of(member)
            if device is None or room not in device.lasting.rooms:
                return False
            _leave(device, room)
            self._take_out_of_room(device, room)
            self.listener.changed(device)
            return True

    def close_room(self, room: str) -> int:
        """Take all members out of a room. Returns how many there were."""
        with self.lock:
            found = [client.device for client in self._rooms.pop(room, ())]
            members = [device for device in (*found, *self._away.pop(room, {}).values()) if device is not None]
            for device in members:
                _leave(device, room)
                self.listener.changed(device)
            return len(members)

    def rooms_of(self, member: IoTClient | DeviceHandle) -> list[str]:
        """List the rooms of a device, sorted."""
        with self.lock:
            device = self._device_of(member)
            return [] if device is None else list(device.lasting.rooms)

    def rooms(self) -> dict[str, list[str]]:
        """List all rooms with the ids in them: first those that are connected, then those that are away."""
        with self.lock:
            found = {room: [client.id for client in members] for room, members in self._rooms.items()}
            for room, away in self._away.items():
                found.setdefault(room, []).extend(away)
            return found

    # -- inside: the lock is held ----------------------------------------------------------------------

    def _device_of(self, member: IoTClient | DeviceHandle) -> DeviceHandle | None:
        device = member.device if isinstance(member, IoTClient) else member
        return device if device is not None and self.knows(device) else None

    def _take_place(self, client: IoTClient, made: DeviceHandle | None) -> None:
        """Make a client the connection of its device.

        Args:
            client: the new connection's.
            made: the device to enter if there is none; made before the lock was taken, unless it was known then.
        """
        device = self._devices.get(client.id)
        if device is None:
            if made is None:
                state = DeviceState(client.id, client.type, client.written_data, declaration=client.declaration)
                made = DeviceHandle(client.manager, state)
            device = made
            self._devices[client.id] = device
            differs = True
        else:
            state = device.lasting
            declares_other = state.declaration != client.declaration
            differs = (
                declares_other or not state.returned or state.type != client.type or state.data != client.written_data
            )
            state.returned = True
            if differs:
                state.type, state.data = client.type, client.written_data
            if declares_other:  # else it is the object that many have
                state.declaration = client.declaration
        if device.lasting.rooms:
            self._take_out(device)
            device.current = client
            self._put_in(device)
        else:
            device.current = client
        client.device = device
        self.listener.arrived(device, differs=differs)
        client.declaration = device.lasting.declaration  # which may be the object that many have by now

    def _take_out(self, device: DeviceHandle) -> None:
        for room in device.lasting.rooms:
            self._take_out_of_room(device, room)

    def _put_in(self, device: DeviceHandle) -> None:
        for room in device.lasting.rooms:
            self._put_in_room(device, room)

    def _put_in_room(self, device: DeviceHandle, room: str) -> None:
        if device.current is not None:
            self._rooms.setdefault(room, {})[device.current] = None
        else:
            self._away.setdefault(room, {})[device.id] = device

    def _take_out_of_room(self, device: DeviceHandle, room: str) -> None:
        if device.current is not None:
            _remove(self._rooms, room, device.current)
        else:
            _remove(self._away, room, device.id)

    def _forget_type(self, client: IoTClient) -> None:
        same_type = self._types[client.type]
        same_type.pop(client.id, None)
        if not same_type:
            del self._types[client.type]


def _leave(device: DeviceHandle, room: str) -> None:
    device.lasting.rooms = tuple(one for one in device.lasting.rooms if one != room)


def _remove(rooms: dict[str, dict[K, V]], room: str, member: K) -> None:
    members = rooms.get(room)
    if members is not None:
        members.pop(member, None)
        if not members:  # names come from devices: empty rooms must not pile up
            del rooms[room]
