"""A server for the time of a block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .server import NativeServer

__all__ = ["Started"]


class Started:
    """A server for the time of a block: with `with` in a thread of its own, with `async with` on the loop of the block.

    Args:
        start: begins to serve in a thread, and returns the port.
        stop: ends that.
        make_server: makes the server for the loop.
    """

    def __init__(
        self, start: Callable[[], int], stop: Callable[[], None], make_server: Callable[[], NativeServer]
    ) -> None:
        self._start = start
        self._stop = stop
        self._make_server = make_server

    def __enter__(self) -> int:
        return self._start()

    def __exit__(self, *error: object) -> None:
        self._stop()

    async def __aenter__(self) -> int:
        self._server = server = self._make_server()
        await server.begin()
        self._serving = asyncio.get_running_loop().create_task(server.go_on())
        return server.port

    async def __aexit__(self, *error: object) -> None:
        self._server.should_exit = True
        await self._serving
