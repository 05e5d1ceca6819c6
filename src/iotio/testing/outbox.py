"""The durable messages of a test client, as the library on a device keeps them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iotio_protocol import v2

__all__ = ["Outbox"]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A message that the server has not acknowledged."""

    number: int
    event: str
    value: Any
    time: int


class Outbox:
    """Messages that are kept until the server has them, over any number of connections. See docs/protocol/v2.md.

    Attributes:
        stream: the name of the stream.
    """

    def __init__(self) -> None:
        self.stream = os.urandom(8).hex()
        self._kept: list[_Kept] = []
        self._number = 0  # of the last message
        self._previous = 0  # of the last one that was sent on this connection

    def put(self, event: str, value: Any, date: float) -> None:
        """Keep a message; `packets` sends it.

        Args:
            event: its name.
            value: what it carries.
            date: when it was, in seconds since 1970.

        Raises:
            EncodeError: it cannot travel.
        """
        kept = _Kept(self._number + 1, event, value, int(date * 1000))
        _encode(kept, 0)
        self._number += 1
        self._kept.append(kept)

    def begin(self, heard: object) -> None:
        """Begin a connection.

        Args:
            heard: how far the server knows the stream, as it says in WELCOME.
        """
        self._previous = 0
        if isinstance(heard, Mapping) and heard.get("stream") == self.stream:
            self._previous = heard["upto"]
            self.acknowledge(self._previous)

    def packets(self) -> list[bytes]:
        """Return what was not sent on this connection, in order."""
        found = []
        for kept in self._kept:
            if kept.number > self._previous:
                found.append(_encode(kept, self._previous))
                self._previous = kept.number
        return found

    def acknowledge(self, upto: int) -> None:
        """Forget what the server has."""
        self._kept = [kept for kept in self._kept if kept.number > upto]

    def __len__(self) -> int:
        return len(self._kept)


def _encode(kept: _Kept, previous: int) -> bytes:
    flags = v2.DURABLE | v2.TIME
    return v2.encode(kept.event, kept.value, flags, number=kept.number, previous=previous, time=kept.time)
