"""Find out whether a device has read what it was sent, where its protocol has no word for that."""

from __future__ import annotations

from _thread import LockType
from functools import partial
from typing import Any, Protocol

from iotio_protocol import v2
from iotio_protocol.session import Session, WasRead

from .lane import Lane

__all__ = ["Carrier", "probe"]


class Clock(Protocol):
    """The server."""

    def clock(self) -> float: ...


class Carrier(Protocol):
    """The connection."""

    session: Session
    _lock: LockType

    @property
    def lane(self) -> Lane: ...
    @property
    def manager(self) -> Clock: ...
    @property
    def is_open(self) -> bool: ...
    def flush_session(self) -> None: ...
    def handle(self, event: Any) -> None: ...


def probe(connection: Carrier, event: v2.Ack | WasRead) -> None:
    """Have an event handled when the device has read what was sent before: that is known by a ping behind it.

    Where the session sends no pings, what was sent counts as read, but not before the caller has ended.

    Args:
        connection: to the device; its lock is not held.
        event: the event.
    """
    session = connection.session
    if not session.keeps_alive:
        connection.lane.call_soon(partial(connection.handle, event))
        return
    with connection._lock:
        if connection.is_open:
            session.probe(event, connection.manager.clock())
            connection.flush_session()
