"""A bounded number of HTTP connections: one that is idle makes room for a newcomer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from ...core.pending import PATIENCE, SHARE, is_loopback

__all__ = ["Holder", "HttpPlaces"]


class Holder(Protocol):
    """An HTTP connection.

    Attributes:
        address: the peer's IP address.
        since: when it has last got on, on the loop's clock.
    """

    address: str
    since: float

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests."""

    @property
    def is_awaited(self) -> bool:
        """Whether the peer has begun a head or a body, and not finished it."""

    def drop(self) -> None:
        """End it, as another gets its place."""


class HttpPlaces:
    """The places for HTTP connections of one server. Lives on the loop's thread.

    Args:
        most: how many there are.
        clock: the loop's.
        is_exempt: whether an address may have more than its share.
    """

    def __init__(self, most: int, clock: Callable[[], float], is_exempt: Callable[[str], bool] = is_loopback) -> None:
        self._most = most
        self._clock = clock
        self._is_exempt = is_exempt
        self._holders: dict[Holder, None] = {}
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._holders)

    def enter(self, holder: Holder) -> bool:
        """Give a connection a place, until `leave`.

        When all are taken, the one that has been idle longest makes room; else one that has not sent more of its
        request for some seconds.

        Returns:
            False if there is no place for it.
        """
        address = holder.address
        if len(self._holders) * 2 > self._most and self._addresses[address] >= SHARE and not self._is_exempt(address):
            return False
        if len(self._holders) >= self._most:
            found = self._find_one_to_drop()
            if found is None:
                return False
            self.leave(found)
            found.drop()
        self._holders[holder] = None
        self._addresses[address] += 1
        return True

    def leave(self, holder: Holder) -> None:
        """Give the place of a connection back; does nothing if it has none (any more)."""
        if holder in self._holders:
            del self._holders[holder]
            self._addresses[holder.address] -= 1
            if not self._addresses[holder.address]:
                del self._addresses[holder.address]

    def _find_one_to_drop(self) -> Holder | None:
        idle = [one for one in self._holders if one.is_idle]
        late = self._clock() - PATIENCE
        return min(
            idle or [one for one in self._holders if one.is_awaited and one.since < late],
            key=lambda one: one.since,
            default=None,
        )
