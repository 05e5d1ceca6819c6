"""Whether a device is there: a state machine whose clock is an argument.

========== ================================================== ==============================================
presence   what it is                                         what ends it
========== ================================================== ==============================================
ONLINE     connected, or gone for less than its grace time    it announced a sleep and goes -> SLEEPING;
                                                              gone for its grace time -> OFFLINE;
                                                              removed, or it said goodbye and goes -> OFFLINE
SLEEPING   away as announced                                  the announced time and one grace time -> LATE
LATE       it should have come back by now                    one more grace time -> OFFLINE
OFFLINE    away, nobody knows until when                      a connection
========== ================================================== ==============================================

A connection makes each of them ONLINE.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .reasons import DisconnectReason

__all__ = ["Presence", "PresenceReason", "Tracker", "Transition"]

_NEVER = float("inf")


class Presence(StrEnum):
    """Whether a device is there; docs/explanation/presence.md tells what leads from one to another."""

    ONLINE = "online"
    SLEEPING = "sleeping"
    LATE = "late"
    OFFLINE = "offline"


class PresenceReason(StrEnum):
    """Why a device's presence changed, where that is not the reason of a disconnection (`DisconnectReason`)."""

    CONNECTED = "connected"  # it was let in
    SLEEP = "sleep"  # it went as announced
    LATE = "late"  # it has not come back from its sleep in time
    GOODBYE = "goodbye"  # it said that it would not come back soon
    FORGOTTEN = "forgotten"  # the program forgot it, or there were more than `Options.max_devices`


# To look up a member of an Enum takes its time.
_ONLINE, _SLEEPING, _CONNECTED = Presence.ONLINE, Presence.SLEEPING, PresenceReason.CONNECTED


@dataclass(slots=True)  # a frozen one takes four times as long to make, and each device that connects has one
class Transition:
    """One real change of a device's presence."""

    old: Presence
    new: Presence
    reason: DisconnectReason | PresenceReason


class Tracker:
    """The presence of one device.

    Attributes:
        presence: as it is now.
        deadline: when `tick` has something to do; infinity for never.
        connected: whether there is a connection.

    Args:
        presence: what is known of it from before; without a connection it stays like that until `wait` or `connect`.
    """

    __slots__ = ("_farewell", "_reason", "_sleep_until", "connected", "deadline", "presence")

    def __init__(self, presence: Presence = Presence.OFFLINE) -> None:
        self.presence = presence
        self.connected = False
        self.deadline = _NEVER
        self._reason: DisconnectReason | PresenceReason = DisconnectReason.TRANSPORT_CLOSED
        self._sleep_until: float | None = None  # announced on this connection
        self._farewell = False  # said on this connection

    def connect(self) -> Transition | None:
        """Note that the device has connected."""
        self.connected = True
        self.deadline = _NEVER
        self._sleep_until = None
        self._farewell = False
        return self._become(_ONLINE, _CONNECTED)

    def announce_sleep(self, until: float | None) -> None:
        """Note that the device will sleep until that time; None takes this back. Ignored while not connected."""
        if self.connected:
            self._sleep_until = until
            self._farewell = False

    @property
    def will_sleep(self) -> bool:
        """Whether the device is connected and has announced a sleep."""
        return self.connected and self._sleep_until is not None

    @property
    def sleeps_until(self) -> float | None:
        """The time until which the device announced to be away, while it is asleep, or None."""
        return self._sleep_until if self.presence is _SLEEPING else None

    def announce_farewell(self) -> None:
        """Note that the device will go for long. Ignored while not connected."""
        self._farewell = self.connected

    def disconnect(self, reason: DisconnectReason, now: float, grace: float) -> Transition | None:
        """Note that the connection of the device has ended.

        Args:
            reason: why.
            now: the time.
            grace: seconds that it has to come back before anybody hears of it.
        """
        if not self.connected:
            return None
        self.connected = False
        self._reason = reason
        if self._farewell or reason is DisconnectReason.REMOVED:
            return self.end(PresenceReason.GOODBYE if self._farewell else reason)
        if self._sleep_until is not None:
            self.deadline = self._sleep_until + grace
            return self._become(Presence.SLEEPING, PresenceReason.SLEEP)
        self.deadline = now + grace
        return self.tick(now, grace)

    def suspend(self) -> None:
        """Note that the server ended the connection as it goes down, which tells nothing of the device; see `wait`."""
        self.connected = False
        self.deadline = _NEVER

    def wait(self, until: float) -> None:
        """Give an absent device until then at least, as the server itself was away. An offline device stays offline."""
        if not self.connected and self.presence is not Presence.OFFLINE:
            self.deadline = until if self.deadline == _NEVER else max(self.deadline, until)

    def tick(self, now: float, grace: float) -> Transition | None:
        """Make the transition that is due; to be called again until it returns None."""
        if now < self.deadline:
            return None
        if self.presence is Presence.SLEEPING:
            self._reason = PresenceReason.LATE
            self.deadline += grace
            return self._become(Presence.LATE, PresenceReason.LATE)
        return self.end(self._reason)

    def end(self, reason: DisconnectReason | PresenceReason) -> Transition | None:
        """Make the device offline, whatever its presence was."""
        self.connected = False
        self.deadline = _NEVER
        return self._become(Presence.OFFLINE, reason)

    def _become(self, presence: Presence, reason: DisconnectReason | PresenceReason) -> Transition | None:
        old, self.presence = self.presence, presence
        return None if old is presence else Transition(old, presence, reason)
