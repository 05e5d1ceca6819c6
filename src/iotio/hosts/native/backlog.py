"""What one read brought, handled piece by piece: the other devices have their turn in between.

A turn of one device ends after 64 messages or 5 ms, whichever is first; the rest waits for the next pass of the loop,
behind what other devices have sent. Nothing is read from the device meanwhile, so a backlog is never more than what
one read of the transport brings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from iotio_protocol.frames import Item

from ..timing import PIECE, TURN
from .host import NativeHost

__all__ = ["SLICE", "Backlog"]

SLICE = 16 * 1024
"""Bytes that are taken apart at once: of the smallest frames these are 8 192."""

_TURN = 64  # messages


class Owner(Protocol):
    """The connection of a backlog."""

    def decode(self, data: bytes) -> list[Item]:
        """Take bytes apart into messages and control frames."""

    def take_turn(self) -> None:
        """Handle what `Backlog.pieces` yields."""

    def caught_up(self) -> None:
        """Note that all is handled."""


class Backlog:
    """The backlog of one device. Lives on the loop's thread.

    Args:
        owner: the connection.
        host: the loop's.
    """

    __slots__ = ("_at", "_clock", "_data", "_host", "_is_due", "_is_held", "_items", "_owner", "_size", "_then")

    def __init__(self, owner: Owner, host: NativeHost) -> None:
        self._owner = owner
        self._host = host
        self._clock = host.clock
        self._data: deque[bytes] = deque()
        self._items: list[Item] = []
        self._at = 0  # the first of them that is not handled
        self._size = 0  # bytes that they came in, until a piece of them is handled
        self._is_due = False  # the next turn is on its way
        self._is_held = False  # the lane is full
        self._then: list[Callable[[], None]] = []

    def add(self, data: bytes) -> None:
        """Add what came behind all that waits."""
        self._data.append(data)

    def add_items(self, items: list[Item], size: int) -> None:
        """Begin with messages that came in so many bytes."""
        self._items, self._at, self._size = items, 0, size

    def then(self, function: Callable[[], None]) -> None:
        """Call a function when all is handled."""
        self._then.append(function)

    def hold(self) -> None:
        """Begin no turn: too much waits for the handlers."""
        self._is_held = True

    def release(self) -> None:
        """Go on, as the handlers have caught up."""
        self._is_held = False
        self._go_on()

    def pieces(self) -> Iterator[tuple[list[Item], int]]:
        """Yield messages to handle, and the bytes that they came in, until the turn is over; then arrange for the next.

        Behind the last message come bytes alone, if they end none. When nothing is left, the owner is told, and so are
        those that have asked for it by `then`.
        """
        self._is_due = False
        deadline = self._clock() + TURN
        left = _TURN
        while left > 0 and not self._is_held:
            if self._at == len(self._items) and not self._decode():
                if self._size:  # of a message that is not whole: it counts, and is a sign of life
                    size, self._size = self._size, 0
                    yield [], size
                self._end()
                return
            piece = self._items[self._at : self._at + PIECE]
            if piece:
                self._at += len(piece)
                size, self._size = self._size, 0
                left -= len(piece)
                yield piece, size
            if self._clock() >= deadline:
                break
        self._go_on()

    def _decode(self) -> bool:
        """Take the next bytes apart; no message may end in them. Returns whether there were any."""
        if not self._data:
            return False
        data = self._data.popleft()
        if len(data) > SLICE:
            self._data.appendleft(data[SLICE:])
            data = data[:SLICE]
        self._items, self._at = self._owner.decode(data), 0
        self._size += len(data)
        return True

    def _go_on(self) -> None:
        if not self._is_due and not self._is_held:
            self._is_due = True
            self._host.loop.call_soon(self._owner.take_turn)

    def _end(self) -> None:
        self._owner.caught_up()
        for function in self._then:
            function()
