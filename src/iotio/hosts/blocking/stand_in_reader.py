"""Read on the manager's loop thread while the connection's own thread runs a handler.

The thread of a connection cannot read while it is in a handler. If a call to the device waits for its answer
meanwhile, the stand-in reader reads in its place: the answer is settled at once, all other events are kept, in order,
for the connection's own thread. So a handler may call its own device, and handlers each other's.
"""

from __future__ import annotations

import os
from _thread import LockType
from collections.abc import Callable, Sequence
from typing import Protocol

from iotio.core.calls import OutgoingCalls
from iotio.core.lane import MAX_WAITING, MAX_WAITING_BYTES, TOO_MUCH_WAITS
from iotio.core.primitives import Signal
from iotio_protocol import v2
from iotio_protocol.session import Event, Session

from .loop_thread import LoopThread

__all__ = ["Owner", "StandInReader"]


class Owner(Protocol):
    """What the stand-in reader needs of its connection.

    Attributes:
        session: of its options, `max_payload` bounds what is read while a handler runs.
    """

    session: Session
    _calls: OutgoingCalls | None

    @property
    def over(self) -> bool:
        """See `Connection.over`."""

    def feed(self, data: bytes) -> list[Event]:
        """See `InlineConnection.feed`."""

    def lose(self) -> None:
        """Fail the calls and close the connection, as nothing can be read any more. The lock is held."""


class Stream(Protocol):
    """The stream of the connection. The lock is held."""

    def receive(self) -> bytes | None:
        """See `SocketStream.receive`."""

    def lend(self, function: Callable[[int], object]) -> int | None:
        """See `SocketStream.lend`."""


class StandInReader:
    """Read for one connection, whose own thread is busy.

    Args:
        owner: the connection.
        stream: the connection's.
        lock: the connection's.
        loop_thread: the manager's; all reading is done there.

    Attributes:
        reading: set when what has just been read is kept; None while nothing is being read. Under the lock.
    """

    __slots__ = (
        "_descriptor",
        "_kept",
        "_lock",
        "_loop_thread",
        "_owner",
        "_owner_reads",
        "_size",
        "_stream",
        "_unkept",
        "reading",
    )

    def __init__(self, owner: Owner, stream: Stream, lock: LockType, loop_thread: LoopThread) -> None:
        self._owner = owner
        self._stream = stream
        self._lock = lock
        self._loop_thread = loop_thread
        self._owner_reads = False  # the connection's own thread reads; else it handles what it has read
        self._descriptor: int | None = None  # of the stand-in's own, while it reads
        self._kept: list[Event] = []
        self._size = 0  # bytes that they came in
        self._unkept = 0  # bytes since, of a message that is not whole
        self.reading: Signal | None = None

    @property
    def is_active(self) -> bool:
        """Return whether the loop thread reads, or is about to."""
        return self._descriptor is not None

    def start_if_needed(self) -> None:
        """Have the loop thread read if calls wait and the connection's own thread does not read. The lock is held."""
        if self._descriptor is None and self._is_needed() and self._has_room():
            self._descriptor = self._stream.lend(self._begin)
            if self._descriptor is None:
                self._owner.lose()

    def owner_has_read(self, events: Sequence[Event]) -> None:
        """Note that the connection's own thread has read events. The lock is held.

        Unless all of them are answers to calls, that thread handles them now and does not read; the loop thread then
        reads in its place if calls wait.
        """
        if self._owner_reads and not all(map(v2.is_answer, events)):
            self._owner_reads = False
            self.start_if_needed()

    def take(self) -> list[Event]:
        """Hand the kept events over to the connection's own thread, which handles them now. The lock is held."""
        events, self._kept, self._size = self._kept, [], 0
        if events:
            self.start_if_needed()  # it has stopped if they were too many
        return events

    def let_owner_read(self) -> None:
        """Leave the reading to the connection's own thread. The lock is held."""
        self._owner_reads = True

    def end(self) -> None:
        """Free the descriptor as the connection's own thread ends: it would keep the stream open."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and not self._loop_thread.call(self._release, descriptor):
            os.close(descriptor)

    def _is_needed(self) -> bool:
        owner = self._owner
        return not self._owner_reads and bool(owner._calls) and not owner.over

    def _has_room(self) -> bool:
        """Return whether more may be kept. The calls fail if not: the answers would be behind what is not read."""
        owner = self._owner
        most = MAX_WAITING_BYTES + owner.session.options.max_payload  # as on hosts with a loop
        if len(self._kept) < MAX_WAITING and self._size < most:
            return True
        if owner._calls is not None:
            owner._calls.fail(TOO_MUCH_WAITS)
        return False

    # -- on the loop thread ----------------------------------------------------------------------------

    def _begin(self, descriptor: int) -> None:
        with self._lock:
            ended = self._descriptor != descriptor
        if not ended:
            self._loop_thread.loop.add_reader(descriptor, self._read, descriptor)
            self._read(descriptor)  # a TLS object may hold what the descriptor no longer has

    def _read(self, descriptor: int) -> None:
        while True:
            with self._lock:
                if self._descriptor != descriptor:
                    return
                if not (self._is_needed() and self._has_room()):
                    self._descriptor = None
                    break
                data = self._stream.receive()
                if data is None:
                    return
                reading = self.reading = Signal()
            events: list[Event] = []
            try:
                events = self._owner.feed(data)
            finally:
                with self._lock:
                    self._unkept += len(data)
                    if events:
                        self._kept += events
                        self._size += self._unkept
                        self._unkept = 0
                    self.reading = None
                reading.set()
        self._release(descriptor)

    def _release(self, descriptor: int) -> None:
        self._loop_thread.loop.remove_reader(descriptor)
        os.close(descriptor)
