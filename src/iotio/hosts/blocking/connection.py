"""What hosts with one thread or greenlet per connection share: a socket that is read by it and written by anybody.

The socket is non-blocking. Whoever emits writes at once, in its own thread, what the kernel takes; the rest waits in
a bounded buffer that the manager's loop thread drains. So a slow reader never holds up anybody.

The thread of the connection cannot read while it is in a handler. If a call to the device waits for its answer
meanwhile, the manager's loop thread reads in its place: the answer is settled at once, everything else is put aside,
in order, for the connection's own thread. So a handler may call its own device, and handlers each other's.
"""

from __future__ import annotations

import _socket
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from typing import Any, Protocol

from iotio.core.connection import Scope
from iotio.core.inline import InlineConnection
from iotio.core.manager import Manager
from iotio.core.primitives import Signal, start_thread
from iotio.core.write_buffer import WriteBuffer
from iotio_protocol import v2
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Event

from ..keepalive import limit_silence
from .loop_thread import LoopThread

__all__ = ["SocketConnection", "Waits", "read_buffered"]

logger = logging.getLogger("iotio.hosts")

_READ_SIZE = 64 * 1024
_WRITE_SIZE = 256 * 1024
_ASIDE_FULL = 256  # events that are put aside; then the device is not read any more, as on the native host
_LINGER = 2.0  # seconds to wait for the peer's end after ours: closing on unread bytes would reset the stream
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Waits(Protocol):
    """How a thread or a greenlet waits.

    Attributes:
        ends: exceptions by which its server takes it away.
    """

    ends: tuple[type[BaseException], ...]

    def readable(self, timeout: float | None = None) -> bool:
        """Wait until the connection's socket has bytes or has ended. False: time-out (seconds)."""

    def signal(self, signal: Signal, timeout: float | None) -> bool:
        """Wait for a signal. False: time-out (seconds)."""

    def close(self) -> None:
        """Free what the waiting took; the socket is not touched."""


def read_buffered(stream: Any) -> bytes:
    """What a buffered stream over a non-blocking socket has read ahead."""
    try:
        data: bytes | None = stream.read1()
    except OSError:  # nothing there now; if the stream is broken, the next read says so
        return b""
    return data or b""


class SocketConnection(InlineConnection):
    """A connection over a socket, served by the calling thread or greenlet.

    Args:
        manager: whose device it is.
        headers: of the upgrade request.
        sock: the stream; stays the caller's, who closes it after `serve`.
        waits: how to wait on it.
        loops: the manager's loop thread.
        peer: the other end's address, for the log.
        scope: see `Scope`.
        subprotocol: what was agreed on, or None.
    """

    def __init__(
        self,
        manager: Manager,
        headers: Iterable[tuple[str, str]],
        sock: socket.socket,
        waits: Waits,
        loops: LoopThread,
        *,
        peer: str,
        scope: Scope | None,
        subprotocol: str | None = None,
    ) -> None:
        super().__init__(manager, headers, peer=peer, scope=scope, subprotocol=subprotocol)
        self._sock = sock
        self._waits = waits
        self.passed_on += waits.ends
        self._loops = loops
        # TLS reads and writes share one state and must not overlap; plain sockets need no lock to read.
        self._tls = getattr(sock, "_sslobj", None) is not None
        self._outbox = WriteBuffer()
        self._drained = Signal()
        self._watched: int | None = None  # a descriptor of our own while the loop thread drains the buffer
        self._away = True  # our thread does not read: it handles what it has read
        self._relief: int | None = None  # a descriptor of our own while the loop thread reads in its place
        self._relieving: Signal | None = None  # set when what it has just read is put aside
        self._aside: list[Event] = []
        self._broken = False
        self._released = False  # the socket is the host's again, who may close it

    def serve(self, first: bytes = b"", *, response: bytes = b"") -> None:
        """Serve the device until its end.

        Args:
            first: bytes that came behind the upgrade request.
            response: the answer to the upgrade request, where the host has not sent it.
        """
        self.manager.connections.attach(self)
        try:
            with suppress(OSError, ValueError), self._raw() as raw:
                limit_silence(raw, *self.manager.types.all_options)
            self._loops.loop  # noqa: B018  # starts the sweep
            if response:
                with self._lock:
                    self.write(response)
            self.start()
            events: list[Event] | None = self.feed(first) if first else []
            while events is not None:
                for event in events:
                    self.handle(event)
                events = self._next()
        finally:
            try:
                if not self.over:  # the host takes this thread away
                    self.close(DisconnectReason.SERVER_SHUTDOWN)
                self.tear_down()
            finally:
                self._dismiss_relief()
                self._linger()
                self.manager.connections.detach(self)
                self._waits.close()

    def _next(self) -> list[Event] | None:
        """Wait for the next events; None after the last."""
        while True:
            with self._lock:
                relieving = self._relieving
                if relieving is None:
                    if self._aside:
                        events, self._aside = self._aside, []
                        self._relieve()  # it has stopped if that was too much
                        return events
                    if self.over:
                        return None
                    self._away = False
            if relieving is None:
                return self.feed(self._read())
            self._waits.signal(relieving, None)

    def _read(self) -> bytes:
        """Wait for bytes; b"" at the end of the stream."""
        if not self._tls:  # a TLS object may hold bytes that the descriptor no longer has
            self._waits.readable()
        while True:
            if self._tls:
                with self._lock:
                    data = self._receive()
            else:
                data = self._receive()
            if data is not None:
                return data
            self._waits.readable()

    def _receive(self) -> bytes | None:
        """What is there: None for nothing yet, b"" for the end of the stream."""
        try:
            return self._sock.recv(_READ_SIZE)
        except _WOULD_BLOCK:
            return None
        except OSError:
            return b""

    # -- reading for calls while our thread is away ----------------------------------------------------

    @property
    def is_reading(self) -> bool:
        return super().is_reading or self._relief is not None

    def _expect_handling(self, events: list[Event]) -> None:
        super()._expect_handling(events)
        if not self._away and not all(map(v2.is_answer, events)):
            self._away = True
            self._relieve()

    def answer_awaited(self) -> None:
        self._relieve()

    def _wants_relief(self) -> bool:
        return self._away and bool(self._calls) and not self.over and len(self._aside) < _ASIDE_FULL

    def _relieve(self) -> None:
        """Have the loop thread read if nobody else would while calls wait. The lock is held."""
        if self._relief is None and self._wants_relief():
            self._relief = self._lend(self._begin_relief)
            if self._relief is None:
                self._let_go(DisconnectReason.TRANSPORT_CLOSED)  # the calls fail now

    def _dismiss_relief(self) -> None:
        """Our thread ends: the descriptor would keep the stream open."""
        with self._lock:
            descriptor, self._relief = self._relief, None
        if descriptor is not None and not self._loops.call(self._end_relief, descriptor):
            os.close(descriptor)

    # -- transport -------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._broken:
            return
        taken = 0 if self._outbox else self._send(data)
        if taken < len(data) and not self._broken:
            self._outbox.push(data)
            self._outbox.sent(taken)
            if self._watched is None:
                self._watched = self._lend(self._watch)

    def _lend(self, function: Callable[[int], object]) -> int | None:
        """Have the loop thread do something with the stream; the lock is held.

        Args:
            function: is given a descriptor of its own, which nobody closes under the loop.

        Returns:
            The descriptor, or None: the connection is given up.
        """
        try:
            descriptor = os.dup(self._sock.fileno())
        except OSError as error:  # none left: end this connection, but not the broadcast that met it
            self._loops.call(logger.error, "device %r can no longer be served: %s", self.name, error)  # not in the lock
            self._give_up()
            return None
        if not self._loops.call(function, descriptor):
            os.close(descriptor)
            self._give_up()
            return None
        return descriptor

    def _give_up(self) -> None:
        self._break()
        self.hang_up()

    def _send(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except _WOULD_BLOCK:
            return 0
        except OSError:  # the reading side sees it too, and ends the connection
            self._break()
            return 0

    def _break(self) -> None:
        self._broken = True
        self._outbox.clear()
        self._drained.set()

    def pending(self) -> int:
        return self._outbox.size

    @property
    def buffer(self) -> WriteBuffer:
        return self._outbox

    def hang_up(self) -> None:
        if not self._released:  # afterwards the descriptor may be somebody else's
            self._shutdown(socket.SHUT_RDWR)

    def tick(self, now: float) -> None:
        """See `Connection.tick`. Bytes that nobody had the time to read yet are a sign of life."""
        if not (self.is_open and self._unread()):
            super().tick(now)

    def _unread(self) -> bool:
        """Whether the peer has sent something, or ended: a blocked hub or a busy machine reads late."""
        with self._lock:
            if self._released:
                return False
            try:
                with self._raw() as raw:
                    raw.recv(1, socket.MSG_PEEK)
            except _WOULD_BLOCK:
                return False
            except (OSError, ValueError):  # the reading side is about to see it
                pass
            return True

    def wait_for(self, signal: Signal, timeout: float) -> bool:
        return self._waits.signal(signal, timeout)

    def run_aside(self, function: Callable[[], None]) -> None:
        """Run a function where it may wait. An `async def` handler may call this: the loop's thread must not wait."""
        if self._loops.is_current:
            start_thread(function)
        else:
            function()

    def run_async(self, coroutine: Any, context: Context) -> Any:
        if self._loops.is_current:
            coroutine.close()
            raise RuntimeError("the loop's own thread cannot wait for an async def handler")
        outcome = self._loops.submit(coroutine, context)
        self._waits.signal(outcome.done, None)
        return outcome.result()

    def _shutdown(self, how: int) -> None:
        with suppress(OSError, ValueError), self._raw() as raw:  # ValueError: the socket object is closed
            raw.shutdown(how)

    @contextmanager
    def _raw(self) -> Iterator[_socket.socket]:
        """The descriptor itself: it works for every kind of socket object, in any thread.

        It takes no descriptor of its own, so it works when there are none left.
        """
        handle = _socket.socket(fileno=self._sock.fileno())
        try:
            handle.setblocking(False)  # whatever socket.setdefaulttimeout() says
            yield handle
        finally:
            handle.detach()

    # -- on the loop thread ----------------------------------------------------------------------------

    def _watch(self, descriptor: int) -> None:
        self._loops.loop.add_writer(descriptor, self._drain, descriptor)

    def _drain(self, descriptor: int) -> None:
        with self._lock:
            if self._outbox:
                self._outbox.sent(self._send(self._outbox.peek(_WRITE_SIZE)))
            if self._outbox:
                return
            self._watched = None
            self._drained.set()
            self._drained = Signal()
        self._loops.loop.remove_writer(descriptor)
        os.close(descriptor)

    def _begin_relief(self, descriptor: int) -> None:
        with self._lock:
            dismissed = self._relief != descriptor
        if not dismissed:
            self._loops.loop.add_reader(descriptor, self._read_aside, descriptor)
            self._read_aside(descriptor)  # a TLS object may hold what the descriptor no longer has

    def _read_aside(self, descriptor: int) -> None:
        while True:
            with self._lock:
                if self._relief != descriptor:
                    return
                if not self._wants_relief():
                    self._relief = None
                    break
                data = self._receive()
                if data is None:
                    return
                relieving = self._relieving = Signal()
            events: list[Event] = []
            try:
                events = self.feed(data)
            finally:
                with self._lock:
                    self._aside += events
                    self._relieving = None
                relieving.set()
        self._end_relief(descriptor)

    def _end_relief(self, descriptor: int) -> None:
        self._loops.loop.remove_reader(descriptor)
        os.close(descriptor)

    # -- the end ---------------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Get the last bytes out, then wait a moment for the peer to end, so that it can read them."""
        with self._lock:
            waiting, drained = bool(self._outbox), self._drained
        if waiting:
            self._waits.signal(drained, self.manager.options.close_timeout)
        self._shutdown(socket.SHUT_WR)
        deadline = self.manager.clock() + _LINGER
        try:
            while (left := deadline - self.manager.clock()) > 0 and self._waits.readable(left):
                if not self._sock.recv(_READ_SIZE):
                    break
        except (OSError, ValueError):
            pass
        with self._lock:
            self._break()
            self._released = True
