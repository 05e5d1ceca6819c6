"""End the devices before the ASGI application that their handlers use, when the server goes down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from iotio_protocol.logs import get_logger

from .types import ASGIApp, AsgiScope, Event, Receive, Send

__all__ = ["ends_before"]

logger = get_logger("iotio.hosts")


def ends_before(app: ASGIApp, shutdown: Callable[[], Awaitable[None]]) -> ASGIApp:
    """Wrap an application: something of ours ends before the application is told to end.

    Args:
        app: an ASGI application; it need not know of lifespans.
        shutdown: awaited when the server goes down.
    """

    async def whole(scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(receive, send, shutdown).run(app, scope)
        else:
            await app(scope, receive, send)

    return whole


class _Lifespan:
    """Hold one conversation with the server about starting and ending, which the application may or may not join."""

    def __init__(self, receive: Receive, send: Send, shutdown: Callable[[], Awaitable[None]]) -> None:
        self._receive = receive
        self._send = send
        self._shutdown = shutdown
        self._told = ""  # the last that the server said
        self._answered = ""  # the last that it was answered

    async def run(self, app: ASGIApp, scope: AsgiScope) -> None:
        try:
            await app(scope, self._next, self._answer)
        except Exception as error:
            if self._answered:  # what it says of a failure, it has said; how it ends is the server's business
                raise
            logger.debug("the application has no lifespan: %r", error)
        await self._go_on()

    async def _next(self) -> Event:
        event = await self._receive()
        self._told = event["type"]
        if self._told == "lifespan.shutdown":
            await self._shutdown()
        return event

    async def _answer(self, event: Event) -> None:
        self._answered = event["type"]
        await self._send(event)

    async def _go_on(self) -> None:
        """Answer what the application has left open when it returned."""
        if self._answered.endswith(".failed"):
            return
        if not self._told:
            await self._next()
        if not self._answered:
            await self._answer({"type": "lifespan.startup.complete"})
        if self._told != "lifespan.shutdown":
            await self._next()
        if self._answered != "lifespan.shutdown.complete":
            await self._answer({"type": "lifespan.shutdown.complete"})
