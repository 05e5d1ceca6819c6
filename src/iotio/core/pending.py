"""Sockets that have not said who they are: a bounded number of places, which nobody can hold for long.

A place is left when the device has introduced itself, or the peer turns out to speak HTTP. When all are taken, a
newcomer gets that of the one which has waited longest, if that was a while; otherwise it has to wait, or to come again.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from .primitives import allocate_lock

__all__ = ["NO_PLACE", "PATIENCE", "SHARE", "PendingSockets", "address_of", "is_loopback"]

PATIENCE = 5.0
"""Seconds for which a socket keeps its place in any case. An honest one needs a round trip or two."""

SHARE = 16
"""Places that one address may have while more than half of all are taken."""


NO_PLACE = "connection of %s dropped: too many sockets have not said who they are (max_pending, %d)"
"""The log line for a socket that gets no place: its peer, and `PendingSockets.most`."""


def address_of(peer: str) -> str:
    """Return the address of a peer, without its port."""
    return peer.rpartition(":")[0]


def is_loopback(address: str) -> bool:
    """Return whether an IP address, or the path of a Unix socket, is of this machine."""
    try:
        return ip_address(address.strip("[]").partition("%")[0]).is_loopback
    except ValueError:  # a Unix socket
        return True


class PendingSockets:
    """The places. Every method may be called from any thread, and is quick however many there are.

    Args:
        most: how many there are.
        clock: monotonic seconds.
        is_exempt: whether an address may have more than its share: behind it are many.
    """

    def __init__(self, most: int, clock: Callable[[], float], is_exempt: Callable[[str], bool] = is_loopback) -> None:
        self.most = most
        self._clock = clock
        self._is_exempt = is_exempt
        self._lock = allocate_lock()  # for what follows
        # For each socket: its address, since when, how to end it. The one that has waited longest is first.
        self._places: dict[object, tuple[str, float, Callable[[], None]]] = {}
        self._addresses: dict[str, int] = {}  # how many places each has

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, socket: object, address: str, drop: Callable[[], None]) -> bool:
        """Give a socket a place; `leave` it in any case.

        Args:
            socket: any hashable object that stands for it.
            address: its peer's IP address, without a port.
            drop: ends it, when another gets its place; called without a lock, by the thread that enters the other.

        Returns:
            False if there is no place for it now.
        """
        dropped = None
        now = self._clock()
        with self._lock:
            places = self._places
            if (
                len(places) * 2 > self.most
                and self._addresses.get(address, 0) >= SHARE
                and not self._is_exempt(address)
            ):
                return False
            if len(places) >= self.most:
                oldest, (_, since, dropped) = next(iter(places.items()))
                if now - since < PATIENCE:
                    return False
                self._remove(oldest)
            places[socket] = address, now, drop
            self._addresses[address] = self._addresses.get(address, 0) + 1
        if dropped is not None:
            dropped()
        return True

    def hand_over(self, socket: object, heir: object, drop: Callable[[], None]) -> bool:
        """Give the place of a socket to what stands for it from now on, as if that had just come.

        Args:
            socket: has the place, or had it.
            heir: gets it.
            drop: as of `enter`.

        Returns:
            False if the socket has no place any more.
        """
        now = self._clock()
        with self._lock:
            place = self._places.pop(socket, None)
            if place is not None:
                self._places[heir] = place[0], now, drop
        return place is not None

    def leave(self, socket: object) -> None:
        """Give the place of a socket back; does nothing if it has none (any more)."""
        if socket in self._places:
            with self._lock:
                self._remove(socket)

    def wait_for(self, spare: int) -> float:
        """Tell how long to let no newcomer in.

        Args:
            spare: how many may come before that takes effect.

        Returns:
            Seconds until the one that has waited longest may be dropped; 0 if there are more places than `spare`.
        """
        if self.most - len(self._places) > spare:
            return 0.0
        with self._lock:
            since = next(iter(self._places.values()))[1] if self._places else 0.0
        return max(0.0, since + PATIENCE - self._clock())

    def _remove(self, socket: object) -> None:
        place = self._places.pop(socket, None)
        if place is not None:
            address = place[0]
            rest = self._addresses.pop(address) - 1
            if rest:
                self._addresses[address] = rest
