"""Connect devices without a network: the test is the device. All is done in the caller's thread, at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from typing import Any

from iotio.core.connection import Scope
from iotio.core.inline_connection import InlineConnection
from iotio.core.manager import Manager
from iotio.core.primitives import Signal
from iotio.core.write_buffer import WriteBuffer

from .awaitables import Outcome, as_coroutine, create_task

__all__ = ["MemoryConnection", "connect"]


class MemoryConnection(InlineConnection):
    """Be the server's side of an in-memory pair, with the device's end of it as methods."""

    manager: Manager

    def __init__(
        self,
        manager: Manager,
        headers: Iterable[tuple[str, str]],
        *,
        peer: str = "memory",
        scope: Scope | None = None,
        room: int | None = None,
        subprotocol: str | None = None,
    ) -> None:
        super().__init__(manager, headers, peer=peer, scope=scope, subprotocol=subprotocol)
        self.buffer = WriteBuffer()
        self._room = room  # bytes that the "network" takes before the device reads; None: all
        self.ended = False

    def deliver(self, data: bytes) -> None:
        """Take bytes that the device sends; b"" ends its stream."""
        if self.ended:
            return
        for event in self.feed(data):
            self.handle(event)
        if self.over:
            self.finish()

    def read(self) -> bytes:
        """Return all that the server has written since the last time, as the device reads it."""
        return self.buffer.take_all() if self.buffer else b""

    def advance(self) -> None:
        """Do what is due on the server's clock."""
        self.tick(self.manager.clock())
        if self.over:
            self.finish()

    def finish(self) -> None:
        """End the connection for the server, as a host does that is done with a socket."""
        self.ended = True
        self.tear_down()
        self.manager.connections.detach(self)

    def write(self, data: bytes) -> None:
        self.buffer.push(data)

    def pending(self) -> int:
        return 0 if self._room is None else max(0, self.buffer.size - self._room)

    def hang_up(self) -> None:
        pass

    def abort(self) -> None:
        self.buffer.clear()

    def wait_for(self, signal: Signal, timeout: float) -> bool:
        return signal.is_set  # there is nobody else who could set it

    def run_async(self, coroutine: Any, context: Context) -> Any:
        async def main() -> Any:
            return await asyncio.get_running_loop().create_task(coroutine, context=context)

        return asyncio.run(main())


class _Loop:
    """A loop for each awaitable."""

    def run_awaitable(self, awaitable: Awaitable[Any], context: Context) -> Any:
        return context.run(asyncio.run, as_coroutine(awaitable))

    def give_way(self) -> None:
        """Do nothing: no loop runs."""

    def run_def(self, function: Callable[[], None], label: str) -> None:
        """Run a function, here and now."""
        function()

    def submit(self, awaitable: Awaitable[Any], context: Context) -> Outcome:
        """Run an awaitable to its end, here and now."""
        outcome = Outcome()

        async def main() -> None:
            task = create_task(asyncio.get_running_loop(), awaitable, context)
            outcome.follow(task)
            await asyncio.wait({task})

        asyncio.run(main())
        return outcome


_LOOP = _Loop()


def connect(
    manager: Manager,
    headers: Iterable[tuple[str, str]] = (),
    *,
    scope: Scope | None = None,
    room: int | None = None,
    subprotocol: str | None = None,
) -> MemoryConnection:
    """Connect a device to a manager in memory.

    Args:
        manager: the server.
        headers: of the upgrade request: none for a v0 device.
        scope: see `iotio.core.connection.Scope`; None for the manager's own, the application's context under Flask.
        room: how many bytes may wait for the device to read before they count as pending; None for any number.
        subprotocol: what was agreed on: "iotio.v2" for a v2 device.
    """
    if not manager.loops:
        manager.loops.append(_LOOP)
    connection = MemoryConnection(manager, headers, scope=scope or manager.scope, room=room, subprotocol=subprotocol)
    manager.connections.attach(connection)
    connection.start()
    if connection.over:
        connection.finish()
    return connection
