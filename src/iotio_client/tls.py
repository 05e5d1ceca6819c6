"""A TLS socket that one thread reads while others write.

OpenSSL allows no two calls on one connection at the same time. CPython before 3.13.4 does not keep them apart: now and
then, what is written while the other thread reads the server's session tickets never leaves.
"""

from __future__ import annotations

import select
import ssl
import threading
from typing import Any

__all__ = ["TurnTakingSocket"]


class TurnTakingSocket:
    """Each call has its turn, and waiting is done between turns. All else is the socket's.

    Args:
        sock: a connected TLS socket; becomes non-blocking.

    Attributes:
        write_limit: seconds that a write may wait for the network; None for ever.
    """

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._turn = threading.Lock()
        self._limit = sock.gettimeout()
        self.write_limit: float | None = None
        sock.settimeout(0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, limit: float | None) -> None:
        """How long `recv` waits, in seconds; None for ever."""
        self._limit = limit

    def gettimeout(self) -> float | None:
        """See `settimeout`."""
        return self._limit

    def recv(self, size: int) -> bytes:
        """Read; b"" at the end of the stream. TimeoutError after `settimeout`."""
        while True:
            with self._turn:
                try:
                    return self._sock.recv(size)
                except ssl.SSLWantReadError:
                    writing = False
                except ssl.SSLWantWriteError:
                    writing = True
            self._wait(writing, self._limit)

    def sendall(self, data: bytes) -> None:
        """Write all of it. TimeoutError if the network takes nothing for `write_limit`."""
        left = memoryview(data)
        while left:
            with self._turn:
                try:
                    left = left[self._sock.send(left) :]
                    continue
                except ssl.SSLWantReadError:
                    writing = False
                except ssl.SSLWantWriteError:
                    writing = True
            self._wait(writing, self.write_limit)

    def _wait(self, writing: bool, limit: float | None) -> None:
        descriptor = self._sock.fileno()
        if descriptor < 0:
            raise OSError("the socket is closed")
        if hasattr(select, "poll"):  # not on Windows
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
            ready = bool(poll.poll(None if limit is None else limit * 1000))
        else:
            sets = ([], [self._sock]) if writing else ([self._sock], [])
            ready = any(select.select(*sets, [], limit))
        if not ready:
            raise TimeoutError("the network did not take or bring anything in time")
