"""Who is connected and who is in which room: one lock, never held while user code runs or bytes are written."""

from __future__ import annotations

from collections.abc import Callable

from .client import IoTClient
from .native import allocate_lock

__all__ = ["Registry"]


class Registry:
    """Clients by id and type, and the rooms. Every method is atomic and returns copies."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._clients: dict[str, IoTClient] = {}
        self._types: dict[str, dict[str, IoTClient]] = {}
        self._rooms: dict[str, dict[IoTClient, None]] = {}  # a dict for its order of joining

    def ids(self) -> list[str]:
        """The ids of all clients, in order of arrival."""
        with self._lock:
            return list(self._clients)

    def get(self, client_id: str) -> IoTClient | None:
        """The client of that id."""
        with self._lock:  # `swap` takes the old one out before it puts the new one in
            return self._clients.get(client_id)

    def swap(self, client: IoTClient) -> IoTClient | None:
        """Enter a client in the place of the one that has its id now.

        Returns:
            The one before, or None. It keeps its rooms until `discard`, for its `on_disconnect` to see.
            The client itself if a connection that was made later has been quicker; it is not entered then.
        """
        with self._lock:
            before = self._clients.get(client.id)
            if before is not None and before.epoch > client.epoch:
                return client
            self._clients.pop(client.id, None)
            if before is not None:
                self._forget_type(before)
            self._clients[client.id] = client
            self._types.setdefault(client.type, {})[client.id] = client
            return before

    def discard(self, client: IoTClient) -> bool:
        """Take a client out of its rooms, and out of the registry if it is still the one of its id.

        Returns:
            Whether it was. A client that was taken over can never remove its successor.
        """
        with self._lock:
            for room in client.joined:
                self._drop_member(client, room)
            client.joined.clear()
            if self._clients.get(client.id) is not client:
                return False
            del self._clients[client.id]
            self._forget_type(client)
            return True

    def audience(self, client_type: str | None = None, room: str | None = None) -> list[IoTClient]:
        """The clients of a type, of a room, of a type within a room, or all."""
        with self._lock:
            if room is not None:
                members = list(self._rooms.get(room, ()))
                return members if client_type is None else [m for m in members if m.type == client_type]
            if client_type is not None:
                return list(self._types.get(client_type, {}).values())
            return list(self._clients.values())

    def join(self, client: IoTClient, room: str) -> bool:
        """Put a client into a room. False if it is not connected (any more)."""
        with self._lock:
            if self._clients.get(client.id) is not client:
                return False
            self._rooms.setdefault(room, {})[client] = None
            client.joined.add(room)
            return True

    def leave(self, client: IoTClient, room: str) -> bool:
        """Take a client out of a room. False if it was not in there."""
        with self._lock:
            if room not in client.joined:
                return False
            client.joined.discard(room)
            self._drop_member(client, room)
            return True

    def close_room(self, room: str) -> int:
        """Take everybody out of a room. Returns how many that were."""
        with self._lock:
            members = self._rooms.pop(room, {})
            for client in members:
                client.joined.discard(room)
            return len(members)

    def rooms_of(self, client: IoTClient) -> list[str]:
        """The rooms of a client, sorted."""
        with self._lock:
            return sorted(client.joined)

    def rooms(self) -> dict[str, list[str]]:
        """All rooms with the ids in them."""
        with self._lock:
            return {room: [client.id for client in members] for room, members in self._rooms.items()}

    def _drop_member(self, client: IoTClient, room: str) -> None:
        members = self._rooms.get(room)
        if members is not None:
            members.pop(client, None)
            if not members:  # names come from devices: empty rooms must not pile up
                del self._rooms[room]

    def _forget_type(self, client: IoTClient) -> None:
        same_type = self._types[client.type]
        same_type.pop(client.id, None)
        if not same_type:
            del self._types[client.type]


def chooser(skip: object) -> Callable[[IoTClient], bool]:
    """Turn `skip=` into a question: is this client to be left out?

    Args:
        skip: None, an id, an IoTClient, or an iterable of these.

    Raises:
        TypeError: something else.
    """
    if skip is None:
        return lambda client: False
    ids = {_id_of(skip)} if isinstance(skip, (str, IoTClient)) else {_id_of(one) for one in _items(skip)}
    return lambda client: client.id in ids


def _items(skip: object) -> list[object]:
    try:
        return list(skip)  # type: ignore[call-overload, no-any-return]  # the except is the check
    except TypeError:
        raise TypeError("'skip' must be an id, an IoTClient, or several of these") from None


def _id_of(one: object) -> str:
    if isinstance(one, IoTClient):
        return one.id
    if isinstance(one, str):
        return one
    raise TypeError(f"'skip' must hold ids and IoTClients, not {type(one).__name__}")
