"""A device: what lasts when its connections come and go."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from iotio_protocol.presence import Presence, Tracker

from .calls import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from .client import IoTClient
    from .manager import Manager
    from .results import EmitResult

__all__ = ["Device", "Stored"]


class Stored(NamedTuple):
    """What is worth keeping of a device when the server ends. Dates are seconds of the wall clock.

    Attributes:
        id: the device id.
        type: the name of its device type.
        data: what it said of itself at its last handshake.
        rooms: those it is in, sorted.
        presence: as it is now.
        since: since when.
        last_seen: when anything came from it last.
        wakes: until when it announced to sleep, if it is asleep, or None.
    """

    id: str
    type: str
    data: Any
    rooms: tuple[str, ...]
    presence: Presence
    since: float
    last_seen: float
    wakes: float | None = None


class Device:
    """The lasting thing of one id: it exists from its first connection on, until it is forgotten.

    The manager makes these, see `Manager.device`. All properties are snapshots, so any thread may read them.

    Args:
        manager: whose device it is.
        stored: what is known of it.
    """

    # All but `id` and `manager` are the registry's, and change under its lock only.
    __slots__ = ("current", "id", "joined", "kind", "manager", "said", "seen", "since_wall", "tracker", "wakes_wall")

    def __init__(self, manager: Manager, stored: Stored) -> None:
        self.id = stored.id
        self.manager = manager
        self.kind = stored.type
        self.said = stored.data
        self.joined: dict[str, None] = dict.fromkeys(stored.rooms)  # a dict for its order of joining
        self.current: IoTClient | None = None
        self.tracker = Tracker(stored.presence)
        self.since_wall = stored.since
        self.seen = stored.last_seen  # of the connections that are over
        self.wakes_wall = stored.wakes

    def __repr__(self) -> str:
        return f"<Device {self.id!r} type={self.kind!r} {self.presence}>"

    @property
    def type(self) -> str:
        """The name of its device type; that of its last connection."""
        return self.kind

    @property
    def data(self) -> Any:
        """What it said of itself at its last handshake."""
        return self.said

    @property
    def client(self) -> IoTClient | None:
        """Its connection, or None while it is away."""
        return self.current

    @property
    def connected(self) -> bool:
        """Whether an emit could reach it now."""
        client = self.current
        return client is not None and client.connected

    @property
    def presence(self) -> Presence:
        """Whether it is there; a device that is away for less than its grace time still is."""
        return self.tracker.presence

    @property
    def since(self) -> datetime:
        """Since when its presence is what it is; in UTC."""
        return datetime.fromtimestamp(self.since_wall, UTC)

    @property
    def last_seen(self) -> datetime:
        """When anything came from it last, pongs included; in UTC."""
        client = self.current
        return datetime.fromtimestamp(self.seen, UTC) if client is None else client.last_seen

    @property
    def rooms(self) -> list[str]:
        """The rooms it is in, sorted; a copy."""
        return self.manager.rooms_of(self)

    def stored(self) -> Stored:
        """What is worth keeping of it. Call it where nobody changes the device, such as in `Devices.changed`."""
        seen = self.seen if self.current is None else self.current.last_seen.timestamp()
        rooms = tuple(sorted(self.joined))
        presence = self.tracker.presence
        return Stored(self.id, self.kind, self.said, rooms, presence, self.since_wall, seen, self.wakes_wall)

    def emit(
        self,
        event: str,
        data: Any,
        trigger_update: bool = True,
        *,
        durable: bool = False,
        ttl: float | None = None,
        coalesce: str | None = None,
    ) -> EmitResult:
        """Send an event to this device, if it is connected; a durable one else when it comes back.

        Args:
            event: the event's name.
            data: bytes, bool, int, str, dict or list (see docs/protocol for v0); float and None to v2 devices.
            trigger_update: whether the manager's `on_update` hears of it.
            durable: keep it until the device has it; see `Manager.emit`.
            ttl: with `durable`, seconds after which it is of no use any more.
            coalesce: with `durable`, takes the place of an earlier message with this word that was not sent.

        Returns:
            What became of it: a device that is away is in `offline`.

        Raises:
            TypeError: event is not a str.
            EncodeError: the device's protocol cannot carry the value (a ValueError).
            StoreUnavailable: a durable message cannot be written to the store.
        """
        return self.manager.emit(
            event,
            data,
            client_id=self.id,
            trigger_update=trigger_update,
            durable=durable,
            ttl=ttl,
            coalesce=coalesce,
        )

    def call(self, event: str, data: Any = None, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Call the device's handler of an event; see `IoTClient.call`. CallDisconnected if it is away."""
        return self.manager.call(self.id, event, data, timeout=timeout)

    async def acall(self, event: str, data: Any = None, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """`call` for coroutines."""
        return await self.manager.acall(self.id, event, data, timeout=timeout)

    def join(self, room: str) -> bool:
        """Enter a room, connected or not. Returns whether it is in the room now; False if it is forgotten."""
        return self.manager.join(self, room)

    def leave(self, room: str) -> bool:
        """Leave a room. Returns whether it was in there."""
        return self.manager.leave(self, room)

    def forget(self) -> bool:
        """Forget the device: it is in no room, and offline at once. Its connection ends, with the reason `removed`.

        If it comes back, it is a new device.

        Returns:
            Whether it was known.
        """
        return self.manager.forget(self)

    def sleeps(self, seconds: float) -> None:
        """The device announced that it will go and be back within so many seconds, counted from now.

        It is `sleeping` once its connection is over. 0 takes it back, and so does its next connection.

        Raises:
            ValueError: seconds is negative or no finite number.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a device cannot sleep for {seconds} seconds")
        self.manager.devices.announce_sleep(self, seconds)

    def says_goodbye(self) -> None:
        """The device announced that it will go for long: it is offline as soon as its connection is over."""
        self.manager.devices.announce_farewell(self)
