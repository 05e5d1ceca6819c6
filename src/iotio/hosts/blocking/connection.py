"""Serve a device over a socket that a thread or greenlet of its own reads, and that any thread writes.

The socket is non-blocking. A thread that emits writes at once what the kernel takes; the rest waits in a bounded
buffer that the manager's loop thread drains, see stream.py. So a slow device never holds up an emit.

While the connection's own thread runs a handler, a `StandInReader` reads for the calls that wait for an answer.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any

from iotio.core.connection import Scope
from iotio.core.inline_connection import InlineConnection
from iotio.core.inline_lane import InlineLane
from iotio.core.manager import Manager
from iotio.core.primitives import Signal, start_thread
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Event

from ..forks import serves_at
from ..keepalive import limit_silence
from ..timing import PIECE
from .loop_thread import LoopThread
from .stand_in_reader import StandInReader
from .stream import SocketStream, Waits

__all__ = ["SocketConnection"]


class SocketConnection(InlineConnection):
    """Serve a device over a socket, in the calling thread or greenlet.

    Args:
        manager: the device's manager.
        headers: of the upgrade request.
        sock: the stream; the caller closes it after `serve`.
        waits: how to wait on it.
        loop_thread: the manager's.
        peer: the other end's address, for the log.
        scope: see `Scope`.
        subprotocol: the one agreed on, or None.
    """

    def __init__(
        self,
        manager: Manager,
        headers: Iterable[tuple[str, str]],
        sock: socket.socket,
        waits: Waits,
        loop_thread: LoopThread,
        *,
        peer: str,
        scope: Scope | None,
        subprotocol: str | None = None,
    ) -> None:
        super().__init__(manager, headers, peer=peer, scope=scope, subprotocol=subprotocol)
        self._waits = waits
        self.passed_on += waits.ends
        self._loop_thread = loop_thread
        self._stream = SocketStream(self, sock, waits, loop_thread)
        self.buffer = self._stream.buffer
        self._stand_in = StandInReader(self, self._stream, self._lock, loop_thread)
        self.lane = _Lane(self, self._stand_in)

    def serve(self, first: bytes = b"", *, response: bytes = b"") -> None:
        """Serve the device until its end.

        Args:
            first: bytes that came behind the upgrade request.
            response: the answer to the upgrade request, where the host has not sent it.
        """
        stream, manager = self._stream, self.manager
        manager.connections.attach(self)
        try:
            with suppress(OSError, ValueError), stream.raw() as raw:
                serves_at(raw.getsockname())
                limit_silence(raw, *manager.types.all_options)
            self._loop_thread.loop  # noqa: B018  # starts the sweep
            if response:
                with self._lock:
                    stream.write(response)
            self.start()
            events: list[Event] | None = self.feed(first) if first else []
            while events is not None:
                for count, event in enumerate(events, 1):
                    self.handle(event)
                    if not count % PIECE:
                        self._waits.let_others()
                events = self._next()
        finally:
            try:
                if not self.over:  # the host takes this thread away
                    self.close(DisconnectReason.SERVER_SHUTDOWN)
                self.tear_down()
            finally:
                self._stand_in.end()
                stream.linger(manager.options.close_timeout, manager.clock)
                manager.connections.detach(self)
                self._waits.close()

    def _next(self) -> list[Event] | None:
        """Wait for the next events; None after the last."""
        while True:
            with self._lock:
                reading = self._stand_in.reading
                if reading is None:
                    if events := self._stand_in.take():
                        return events
                    if self.over:
                        return None
                    self._stand_in.let_owner_read()
            if reading is None:
                return self.feed(self._stream.read())
            self._waits.signal(reading, None)

    # -- the stand-in reader ---------------------------------------------------------------------------

    def answer_awaited(self) -> None:
        self._stand_in.start_if_needed()

    def lose(self) -> None:
        """See `Owner.lose`."""
        self._let_go(DisconnectReason.TRANSPORT_CLOSED)

    # -- for the core ----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._stream.write(data)

    def pending(self) -> int:
        return self.buffer.size

    def hang_up(self) -> None:
        self._stream.hang_up()

    def abort(self) -> None:
        self._stream.give_up()

    def tick(self, now: float) -> None:
        """See `Connection.tick`. Bytes that have come and are not read yet are a sign of life."""
        if not (self.is_open and self._stream.is_unread()):
            super().tick(now)

    def wait_for(self, signal: Signal, timeout: float) -> bool:
        return self._waits.signal(signal, timeout)

    def run_aside(self, function: Callable[[], None]) -> None:
        """Run a function where it may wait. An `async def` handler may call this: the loop's thread must not wait."""
        if self._loop_thread.is_current:
            start_thread(function)
        else:
            function()

    def run_async(self, coroutine: Any, context: Context) -> Any:
        if self._loop_thread.is_current:
            coroutine.close()
            raise RuntimeError("the loop's own thread cannot wait for an async def handler")
        outcome = self._loop_thread.submit(coroutine, context)
        self._waits.signal(outcome.done, None)
        return outcome.result()


class _Lane(InlineLane):
    """The lane of a connection that has a stand-in reader."""

    __slots__ = ("_stand_in",)

    def __init__(self, connection: SocketConnection, stand_in: StandInReader) -> None:
        super().__init__(connection)
        self._stand_in = stand_in

    @property
    def is_reading(self) -> bool:
        return super().is_reading or self._stand_in.is_active

    def expect(self, events: Sequence[Any]) -> None:
        super().expect(events)
        self._stand_in.owner_has_read(events)
