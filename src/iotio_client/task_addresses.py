"""Connect to a name that has several addresses with tasks, as `addresses` does with a thread.

`asyncio` can do that by itself, but uvloop cannot, and before Python 3.12.8 and 3.13.1 it fails where tasks are eager.
"""

from __future__ import annotations

import asyncio
import socket

from .addresses import DELAY, Address, failure_of, interleaved

__all__ = ["connect_any_async"]


async def connect_any_async(host: str, port: int) -> socket.socket:
    """Connect to the address of a name that answers first. Returns a non-blocking socket; the caller sets a time limit.

    Args:
        host: a name or an address.
        port: the port.

    Raises:
        OSError: none takes a connection, or the name is unknown.
    """
    waiting = await _resolve(host, port)
    failures: list[tuple[Address, int]] = []
    trying: dict[asyncio.Task[socket.socket], Address] = {}
    try:
        while waiting or trying:
            if waiting:
                address = waiting.pop(0)
                trying[asyncio.ensure_future(_connect(address))] = address
            done, _ = await asyncio.wait(
                trying, timeout=DELAY if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in [one for one in trying if one in done]:  # in the order of the addresses
                error = task.exception()
                if error is None:
                    del trying[task]
                    return task.result()
                address = trying.pop(task)
                if not isinstance(error, OSError):
                    raise error
                failures.append((address, error.errno or 0))
    finally:
        for task in trying:
            _give_up(task)
    raise failure_of(failures, host)


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        try:  # an address needs no resolver, and so no thread
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no name of a host: {error}") from error
    return interleaved(found)  # type: ignore[arg-type]  # as in `addresses`


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address.address)
    except BaseException:
        sock.close()
        raise
    return sock


def _give_up(task: asyncio.Task[socket.socket]) -> None:
    """End an attempt whose socket nobody wants; it may have succeeded in this very moment."""
    task.cancel()
    task.add_done_callback(_drop)


def _drop(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
