"""Accept connections, unless there is no room for them: then they wait in the kernel's queue.

Neither asyncio nor uvloop can stop accepting for a while. So the listening sockets are closed for a pause, and opened
again behind it: they are copies of sockets that stay open, with the same queue, so that nobody is turned away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence

from iotio_protocol.log_throttle import LogThrottle

from ...core.pending import NO_PLACE, PendingSockets

if sys.platform != "win32":
    import resource

__all__ = ["Acceptor", "peer_of"]

_BATCH = 64  # connections that asyncio accepts at once at most, before it calls their protocols
_RESERVE = 128  # descriptors that are left to the program: files, a database, one batch of connections
_EVERY = 16  # connections for one look at the descriptors, which takes its time
_TRIES = ("socket.accept() out of system resource", "Exception in callback BaseSelectorEventLoop._start_serving")
_AGAIN = 0.1  # seconds until the next look, while there is no room


class Acceptor:
    """Accept the connections of one native server. Lives on the loop's thread.

    Args:
        pending: the places of sockets that have not said who they are.
        throttle: bounds the log lines that peers can cause.
        make_protocol: makes the protocol of a connection, which must call `accepted`.
    """

    def __init__(
        self,
        pending: PendingSockets,
        throttle: LogThrottle,
        make_protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending = pending
        self._throttle = throttle
        self._make_protocol = make_protocol
        self._sockets: list[socket.socket] = []
        self._is_closed = False
        self._servers: list[asyncio.Server] = []  # empty in a pause
        self._batch = max(1, min(_BATCH, pending.most // 8))
        self._spare = 2 * self._batch  # asyncio makes one batch known while it accepts the next
        self._count = 0  # connections since the last look at the descriptors
        self._most = _most_descriptors()
        self._next: asyncio.TimerHandle | asyncio.Task[None] | None = None  # what ends the pause

    async def open(self, sockets: Sequence[socket.socket], backlog: int) -> None:
        """Begin to accept.

        Args:
            sockets: listen already. They remain the caller's, who closes them behind `close`.
            backlog: how many connections may wait in the kernel.
        """
        self._sockets = list(sockets)
        self._backlog = backlog
        logging.getLogger("asyncio").addFilter(self._passes)
        await self._listen()

    def close(self) -> None:
        """Accept no more."""
        self._is_closed = True
        logging.getLogger("asyncio").removeFilter(self._passes)
        if self._next is not None:
            self._next.cancel()
        self._sockets = []
        self._stop()

    def accepted(
        self, socket: object, transport: asyncio.Transport, peer: str, address: str, drop: Callable[[], None]
    ) -> bool:
        """Give a connection a place among those that have not said who they are, or drop it.

        Args:
            socket: what stands for it there, and has to `leave` it.
            transport: of the connection.
            peer: the other end, for the log.
            address: whose share it counts for.
            drop: ends the connection, now or when another gets its place.

        Returns:
            False if there is no place for it, or the server ends, and it is dropped.
        """
        if self._is_closed:  # asyncio has accepted it in its last turn: nobody else would tell it, nor wait for it
            drop()
            return False
        if not self._pending.enter(socket, address, drop):
            self._throttle.warning("pending", NO_PLACE, peer, self._pending.most)
            drop()
            return False
        if not self._servers:
            return True
        self._count += 1
        if self._pending.wait_for(self._spare):
            self._pause()
        elif self._count >= _EVERY:
            self._count = 0
            sock = transport.get_extra_info("socket")  # a new descriptor is the lowest free number
            if sock is not None and sock.fileno() >= self._most:
                self._tell_descriptors()
                self._pause()
        return True

    def _pause(self) -> None:
        self._stop()
        self._next = self._loop.call_later(_AGAIN, self._look_again)

    def _look_again(self) -> None:
        if self._pending.wait_for(self._spare) or not self._has_descriptors():
            self._next = self._loop.call_later(_AGAIN, self._look_again)
        else:
            self._next = self._loop.create_task(self._listen())

    def _has_descriptors(self) -> bool:
        """Return whether there are descriptors for the copies, and for a connection."""
        numbers: list[int] = []
        try:
            for sock in (*self._sockets, self._sockets[0]):
                numbers.append(os.dup(sock.fileno()))
        except OSError:
            return False
        finally:
            for number in numbers:
                os.close(number)
        return max(numbers) < self._most

    async def _listen(self) -> None:
        servers: list[asyncio.Server] = []
        try:
            for sock in self._sockets:
                copy = sock.dup()  # its server closes it
                # For asyncio, the backlog is also the number of connections that it accepts at once; and so many
                # times it would fail, and log, where there are no descriptors.
                server = await self._loop.create_server(self._make_protocol, sock=copy, backlog=self._batch)
                servers.append(server)
                sock.listen(self._backlog)  # the kernel goes by the last that was said
        except OSError:  # there is not even a descriptor for the copy
            for server in servers:
                server.close()
            self._next = self._loop.call_later(_AGAIN, self._look_again)
        else:
            self._servers = servers

    def _stop(self) -> None:
        for server in self._servers:
            if isinstance(self._loop, asyncio.SelectorEventLoop):
                # It has accepted connections whose tasks need the server: those would be lost, and not even closed.
                for sock in server.sockets:
                    self._loop.remove_reader(sock.fileno())
                self._loop.call_soon(server.close)
            else:
                server.close()
        self._servers = []

    def _tell_descriptors(self) -> None:
        self._throttle.warning(
            "descriptors",
            "nearly as many connections and files are open as the process may have (%d): new connections wait."
            " `ulimit -n`, or LimitNOFILE= of systemd, allows more",
            self._most + _RESERVE,
        )

    def _passes(self, record: logging.LogRecord) -> bool:
        """Keep asyncio's lines about descriptors back: it tries, and logs, again and again. Ours is one of many."""
        if not record.getMessage().startswith(_TRIES):
            return True
        self._tell_descriptors()
        return False


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Return the other end of a connection: its IP address and port, or what the system calls it."""
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "?")


def _most_descriptors() -> int:
    """Return the first descriptor beyond which there is no room for connections."""
    if sys.platform == "win32":
        return 1 << 30
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else max(soft - _RESERVE, soft // 2)
