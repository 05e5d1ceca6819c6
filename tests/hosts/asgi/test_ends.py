"""One device in a foreign ASGI server: what ends its connection, and what does not."""

from __future__ import annotations

import pytest

from tests.support.asgi import AsgiServer, connected, make_manager, until
from tests.support.wire import v1_headers


async def test_a_refusal() -> None:
    manager, _ = make_manager()
    server = AsgiServer(manager, v1_headers("d", "nosuch"))
    assert await server.next() == {"type": "websocket.accept"}
    assert (await server.answer())[1] == {"error": "client_invalid_type", "info": None}
    assert await server.next() == {"type": "websocket.close", "code": 1008, "reason": "refused"}
    await server.end()  # the server says nothing: the close time-out ends it
    assert manager.connections.all() == []
    await manager.asgi.shutdown()


async def test_a_message_over_the_limit() -> None:
    async with connected(max_payload=1000) as (server, _, echo):
        server.packet("same", b"x" * 1000)
        assert await server.answer() == ("same", b"x" * 1000)
        server.packet("same", b"x" * 2000)
        close = await server.next()
        assert (close["type"], close["code"]) == ("websocket.close", 1009)
        server.disconnect(1009)
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d protocol_error"])


async def test_no_ping_and_no_time_out_of_ours() -> None:
    """The server keeps the connection alive, or does not."""
    async with connected(ping_interval=0.05, ping_timeout=0.05) as (server, manager, _):
        connection = manager.connections.all()[0]
        assert connection.session.deadline == float("inf")
        for later in (1.0, 100.0):
            connection.tick(manager.clock() + later)
        server.packet("now", 1)
        assert await server.answer() == ("now", 1)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, "client_close"),
        (1001, "client_close"),
        (4000, "client_close"),
        (None, "transport_closed"),
        (1005, "transport_closed"),
        (1006, "transport_closed"),
        (1002, "protocol_error"),
        (1012, "server_shutdown"),
    ],
)
async def test_the_reason_of_an_end(code: int | None, reason: str) -> None:
    async with connected() as (server, manager, echo):
        server.disconnect(code)
        await server.end()
        await until(lambda: echo.seen[1:] == [f"-d {reason}"])
        await until(lambda: manager.connections.all() == [])
        assert server.sent.empty()


async def test_remove() -> None:
    async with connected() as (server, manager, echo):
        manager.remove("d")
        assert await server.next() == {"type": "websocket.close", "code": 1000, "reason": "removed"}
        server.disconnect(1000)
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d removed"])
