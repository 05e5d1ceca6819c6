"""Wait in threads, one for each connection, of any threaded WSGI server (Flask's `app.run()`, gunicorn gthread)."""

from __future__ import annotations

import select
import socket

from iotio.core.primitives import Signal, wait

__all__ = ["ThreadWaits"]


class ThreadWaits:
    """Wait by blocking the thread.

    Args:
        sock: the connection's socket.
    """

    ends: tuple[type[BaseException], ...] = ()

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        if hasattr(select, "poll"):  # not on Windows; no limit on descriptors, and none of its own
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    def readable(self, timeout: float | None = None) -> bool:
        """See `Waits.readable`."""
        if hasattr(select, "poll"):
            return bool(self._poll.poll(None if timeout is None else timeout * 1000))
        return bool(select.select([self._sock], [], [], timeout)[0])

    def signal(self, signal: Signal, timeout: float | None) -> bool:
        """See `Waits.signal`."""
        return wait(signal, timeout)

    def let_others(self) -> None:
        """See `Waits.let_others`. The interpreter sees to it that threads take turns."""

    def close(self) -> None:
        """See `Waits.close`."""
