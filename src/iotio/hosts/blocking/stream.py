"""Write to a non-blocking socket from any thread: at once what the kernel takes, the rest on the loop thread."""

from __future__ import annotations

import _socket
import os
import socket
import ssl
from _thread import LockType
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from iotio.core.primitives import Signal
from iotio.core.write_buffer import WriteBuffer
from iotio_protocol.logs import get_logger

from ..timing import LINGER
from .loop_thread import LoopThread

__all__ = ["SocketStream", "Waits", "read_buffered"]

logger = get_logger("iotio.hosts")

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

    def let_others(self) -> None:
        """Let the other devices of this thread have their turn."""

    def close(self) -> None:
        """Free what the waiting took; the socket is not touched."""


def read_buffered(stream: Any) -> bytes:
    """Return what a buffered stream over a non-blocking socket has read ahead."""
    try:
        data: bytes | None = stream.read1()
    except OSError:  # nothing there now; if the stream is broken, the next read says so
        return b""
    return data or b""


class Owner(Protocol):
    """The connection of a stream. Its lock guards the stream."""

    _lock: LockType

    @property
    def name(self) -> str: ...


class SocketStream:
    """The stream of one device.

    Attributes:
        buffer: what the kernel has not taken.

    Args:
        owner: the connection.
        sock: the socket, or TLS over it; whoever made it closes it.
        waits: how to wait on it.
        loop_thread: writes what the kernel did not take at once.
    """

    __slots__ = ("_broken", "_drained", "_loop_thread", "_owner", "_released", "_sock", "_tls", "_waits", "_watched",
                 "buffer")  # fmt: skip

    def __init__(self, owner: Owner, sock: socket.socket, waits: Waits, loop_thread: LoopThread) -> None:
        self.buffer = WriteBuffer()
        self._owner = owner
        self._sock = sock
        self._waits = waits
        self._loop_thread = loop_thread
        # TLS reads and writes share one state and must not overlap; plain sockets need no lock to read.
        self._tls = getattr(sock, "_sslobj", None) is not None
        self._drained = Signal()
        self._watched: int | None = None  # a descriptor of our own while the loop thread drains the buffer
        self._broken = False
        self._released = False  # the socket is the host's again, which may close it

    # -- reading ---------------------------------------------------------------------------------------

    def read(self) -> bytes:
        """Wait for bytes; b"" at the end of the stream."""
        if not self._tls:  # a TLS object may hold bytes that the descriptor no longer has
            self._waits.readable()
        while True:
            if self._tls:
                with self._owner._lock:
                    data = self.receive()
            else:
                data = self.receive()
            if data is not None:
                return data
            self._waits.readable()

    def receive(self) -> bytes | None:
        """Return what the stream has: None for nothing yet, b"" for its end. A plain socket needs no lock."""
        try:
            return self._sock.recv(_READ_SIZE)
        except _WOULD_BLOCK:
            return None
        except OSError:
            return b""

    def is_unread(self) -> bool:
        """Return whether the peer has sent something, or ended: a blocked hub or a busy machine reads late."""
        with self._owner._lock:
            if self._released:
                return False
            try:
                with self.raw() as raw:
                    raw.recv(1, socket.MSG_PEEK)
            except _WOULD_BLOCK:
                return False
            except (OSError, ValueError):  # the reading side is about to see it
                pass
            return True

    # -- writing: the lock is held ---------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes; what the kernel does not take now is sent later."""
        if self._broken:
            return
        taken = 0 if self.buffer else self._send(data)
        if taken < len(data) and not self._broken:
            self.buffer.push(data)
            self.buffer.sent(taken)
            if self._watched is None:
                self._watched = self.lend(self._watch)

    def lend(self, function: Callable[[int], object]) -> int | None:
        """Have the loop thread do something with the stream.

        Args:
            function: is given a descriptor of its own, which only the function closes.

        Returns:
            The descriptor, or None: the stream is given up.
        """
        try:
            descriptor = os.dup(self._sock.fileno())
        except OSError as error:  # none left: end this connection, but not the broadcast that met it
            self._loop_thread.call(
                logger.error, "device %r can no longer be served: %s", self._owner.name, error
            )  # not in the lock
            self.give_up()
            return None
        if not self._loop_thread.call(function, descriptor):
            os.close(descriptor)
            self.give_up()
            return None
        return descriptor

    def hang_up(self) -> None:
        """End both directions of the stream, so that whoever reads wakes up."""
        if not self._released:  # afterwards the descriptor may be another socket's
            self._shutdown(socket.SHUT_RDWR)

    def give_up(self) -> None:
        """End both directions of the stream, and forget what the kernel has not taken."""
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
        self.buffer.clear()
        self._drained.set()

    def _shutdown(self, how: int) -> None:
        with suppress(OSError, ValueError), self.raw() as raw:  # ValueError: the socket object is closed
            raw.shutdown(how)

    @contextmanager
    def raw(self) -> Iterator[_socket.socket]:
        """Give the descriptor as a plain socket object, which works in any thread and whatever kind the socket is.

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
        with self._owner._lock:
            if self.buffer:
                self.buffer.sent(self._send(self.buffer.peek(_WRITE_SIZE)))
            if self.buffer:
                return
            self._watched = None
            self._drained.set()
            self._drained = Signal()
        self._loop_thread.loop.remove_writer(descriptor)
        os.close(descriptor)

    # -- the end ---------------------------------------------------------------------------------------

    def linger(self, patience: float, clock: Callable[[], float]) -> None:
        """Write the last bytes, then wait a moment for the peer to end, so that it can read them.

        Args:
            patience: seconds that the writing may take.
            clock: monotonic seconds.
        """
        with self._owner._lock:
            waiting, drained = bool(self.buffer), self._drained
        if waiting:
            self._waits.signal(drained, patience)
        self._shutdown(socket.SHUT_WR)
        deadline = clock() + (0 if self._broken else LINGER)  # a broken stream has no last bytes to be read
        try:
            while (left := deadline - clock()) > 0 and self._waits.readable(left):
                if not self._sock.recv(_READ_SIZE):
                    break
        except (OSError, ValueError):
            pass
        with self._owner._lock:
            self._break()
            self._released = True
