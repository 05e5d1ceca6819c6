"""Values that are read when their turn comes: until then they are bytes, as objects JSON may be 24 times as large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .json_pieces import Pieces
from .values import Value

__all__ = ["LARGE", "Unread", "finish", "read_value"]

LARGE = 512
"""Bytes of JSON; what has more is read when its turn comes. Of 256 smaller ones the objects take 3 MiB at most."""


class Unread:
    """A value that is not read yet. Its length and its type are checked.

    Attributes:
        text: as it came.

    Args:
        text: as above.
        read: reads the value of a text, piece by piece; it may raise InvalidPacket.
    """

    __slots__ = ("_read", "text")

    def __init__(self, text: bytes | str, read: Callable[[bytes | str], Pieces]) -> None:
        self.text = text
        self._read = read

    def pieces(self) -> Pieces:
        """Read the value, piece by piece.

        Raises:
            InvalidPacket: it is none.
        """
        return self._read(self.text)

    def read(self) -> Value:
        """Return the value; other threads have their turn between two pieces.

        Raises:
            InvalidPacket: it is none.
        """
        value: Value = finish(self.pieces())
        return value


def finish(pieces: Pieces) -> Any:
    """Do all of a work in this thread; others have their turn between two pieces, as this module is not compiled."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value


def read_value(value: object) -> Value:
    """Return a value, read if it was not. Raises InvalidPacket."""
    found: Any = value
    return found.read() if type(found) is Unread else found
