"""Serve a device over a socket that a thread or greenlet of its own reads, and that any thread writes.

The socket is non-blocking. A thread that emits writes at once what the kernel takes; the rest waits in a bounded
buffer that the manager's loop thread drains. So a slow device never holds up an emit.

While the connection's own thread runs a handler, a `StandInReader` reads for the calls that wait for an answer.
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
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import Event

from ..keepalive import limit_silence
from ..timing import LINGER
from .loop_thread import LoopThread
from .stand_in_reader import StandInReader

__all__ = ["SocketConnection", "Waits", "read_buffered"]

logger = logging.getLogger("iotio.hosts")

_READ_SIZE = 64 * 1024
_WRITE_SIZE = 256 * 1024
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Waits(Protocol):
    """Wait as a thread or as a greenlet.

    Attributes:
        ends: exceptions by which a server ends the thread or greenlet.
    """

    ends: tuple[type[BaseException], ...]

    def readable(self, timeout: float | None = None) -> bool:
        """Wait until the connection's socket has bytes or has ended. False: time-out (seconds)."""

    def signal(self, signal: Signal, timeout: float | None) -> bool:
        """Wait for a signal. False: time-out (seconds)."""

    def close(self) -> None:
        """Free what the waiting took; the socket is not touched."""


def read_buffered(stream: Any) -> bytes:
    """Return what a buffered stream over a non-blocking socket has read ahead."""
    try:
        data: bytes | None = stream.read1()
    except OSError:  # nothing there now; if the stream is broken, the next read says so
        return b""
    return data or b""


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
        self._sock = sock
        self._waits = waits
        self.passed_on += waits.ends
        self._loop_thread = loop_thread
        # TLS reads and writes share one state and must not overlap; plain sockets need no lock to read.
        self._tls = getattr(sock, "_sslobj", None) is not None
        self._write_buffer = WriteBuffer()
        self._drained = Signal()
        self._watched: int | None = None  # a descriptor of our own while the loop thread drains the buffer
        self._stand_in = StandInReader(self, self._lock, loop_thread)
        self._broken = False
        self._released = False  # the socket is the host's again, which may close it

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
            self._loop_thread.loop  # noqa: B018  # starts the sweep
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
                self._stand_in.end()
                self._linger()
                self.manager.connections.detach(self)
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
                return self.feed(self._read())
            self._waits.signal(reading, None)

    def _read(self) -> bytes:
        """Wait for bytes; b"" at the end of the stream."""
        if not self._tls:  # a TLS object may hold bytes that the descriptor no longer has
            self._waits.readable()
        while True:
            if self._tls:
                with self._lock:
                    data = self.receive()
            else:
                data = self.receive()
            if data is not None:
                return data
            self._waits.readable()

    def receive(self) -> bytes | None:
        """See `Owner.receive`. A plain socket needs no lock."""
        try:
            return self._sock.recv(_READ_SIZE)
        except _WOULD_BLOCK:
            return None
        except OSError:
            return b""

    # -- the stand-in reader ---------------------------------------------------------------------------

    @property
    def is_reading(self) -> bool:
        return super().is_reading or self._stand_in.is_active

    @property
    def awaits_answers(self) -> bool:
        """See `Owner.awaits_answers`."""
        return bool(self._calls)

    def _expect_handling(self, events: list[Event]) -> None:
        super()._expect_handling(events)
        self._stand_in.owner_has_read(events)

    def answer_awaited(self) -> None:
        self._stand_in.start_if_needed()

    def lose(self) -> None:
        """See `Owner.lose`."""
        self._let_go(DisconnectReason.TRANSPORT_CLOSED)

    # -- transport -------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._broken:
            return
        taken = 0 if self._write_buffer else self._send(data)
        if taken < len(data) and not self._broken:
            self._write_buffer.push(data)
            self._write_buffer.sent(taken)
            if self._watched is None:
                self._watched = self.lend(self._watch)

    def lend(self, function: Callable[[int], object]) -> int | None:
        """See `Owner.lend`."""
        try:
            descriptor = os.dup(self._sock.fileno())
        except OSError as error:  # none left: end this connection, but not the broadcast that met it
            self._loop_thread.call(
                logger.error, "device %r can no longer be served: %s", self.name, error
            )  # not in the lock
            self._give_up()
            return None
        if not self._loop_thread.call(function, descriptor):
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
        self._write_buffer.clear()
        self._drained.set()

    def pending(self) -> int:
        return self._write_buffer.size

    @property
    def buffer(self) -> WriteBuffer:
        return self._write_buffer

    def hang_up(self) -> None:
        if not self._released:  # afterwards the descriptor may be another socket's
            self._shutdown(socket.SHUT_RDWR)

    def tick(self, now: float) -> None:
        """See `Connection.tick`. Bytes that have come and are not read yet are a sign of life."""
        if not (self.is_open and self._unread()):
            super().tick(now)

    def _unread(self) -> bool:
        """Return whether the peer has sent something, or ended: a blocked hub or a busy machine reads late."""
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

    def _shutdown(self, how: int) -> None:
        with suppress(OSError, ValueError), self._raw() as raw:  # ValueError: the socket object is closed
            raw.shutdown(how)

    @contextmanager
    def _raw(self) -> Iterator[_socket.socket]:
        """Give the descriptor as a plain socket object, which works in any thread and whatever kind `sock` is.

        It takes no further descriptor, so it works when there are none left.
        """
        handle = _socket.socket(fileno=self._sock.fileno())
        try:
            handle.setblocking(False)  # whatever socket.setdefaulttimeout() says
            yield handle
        finally:
            handle.detach()

    # -- on the loop thread ----------------------------------------------------------------------------

    def _watch(self, descriptor: int) -> None:
        self._loop_thread.loop.add_writer(descriptor, self._drain, descriptor)

    def _drain(self, descriptor: int) -> None:
        with self._lock:
            if self._write_buffer:
                self._write_buffer.sent(self._send(self._write_buffer.peek(_WRITE_SIZE)))
            if self._write_buffer:
                return
            self._watched = None
            self._drained.set()
            self._drained = Signal()
        self._loop_thread.loop.remove_writer(descriptor)
        os.close(descriptor)

    # -- the end ---------------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Write the last bytes, then wait a moment for the peer to end, so that it can read them."""
        with self._lock:
            waiting, drained = bool(self._write_buffer), self._drained
        if waiting:
            self._waits.signal(drained, self.manager.options.close_timeout)
        self._shutdown(socket.SHUT_WR)
        deadline = self.manager.clock() + LINGER
        try:
            while (left := deadline - self.manager.clock()) > 0 and self._waits.readable(left):
                if not self._sock.recv(_READ_SIZE):
                    break
        except (OSError, ValueError):
            pass
        with self._lock:
            self._break()
            self._released = True
