"""What a device and its connection say, as events of ASGI."""

from __future__ import annotations

import asyncio

from iotio_protocol import v1
from tests.support.asgi import AsgiServer, connected, make_manager, until


async def test_messages_are_events_of_their_kind() -> None:
    async with connected() as (server, _, _):
        server.packet("now", "x")
        assert await server.next() == {"type": "websocket.send", "bytes": v1.encode("now", "x")}
        server.packet("same", b"")
        assert await server.answer() == ("same", b"")
        server.say({"type": "websocket.receive", "bytes": b"", "text": None})
        assert (await server.answer())[1]["error"] == "client_invalid_packet"


async def test_v0_in_text() -> None:
    manager, _ = make_manager()
    server = AsgiServer(manager, [])
    assert await server.next() == {"type": "websocket.accept"}
    server.say({"type": "websocket.receive", "text": '[/"old"/][/"echo"/][/"{}"/]'})
    server.say({"type": "websocket.receive", "text": '[/"now"/][/"5"/]', "bytes": None})
    assert await server.next() == {"type": "websocket.send", "text": '[/"now"/][/"5"/]'}
    server.disconnect(1000)
    await server.end()
    await manager.asgi.shutdown()


async def test_what_was_sent_before_the_end_is_handled() -> None:
    async with connected() as (server, manager, echo):
        for number in range(50):
            server.packet("same", number)
        server.disconnect(1000)
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d client_close"])
        assert manager.counters["received"] == 50


async def test_what_waits_is_bounded() -> None:
    async with connected(max_outbox=300_000) as (server, manager, echo):
        server.open.clear()
        results = [manager.emit("big", b"x" * 50_000, "d") for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        connection = manager.connections.all()[0]
        assert 150_000 <= connection.pending() < 151_000
        while not results[-1].dropped:
            results.append(manager.emit("big", b"x" * 50_000, "d"))
            await asyncio.sleep(0)
            assert connection.pending() <= 300_000 + 100
        assert [result.sent for result in results] == [1] * (len(results) - 1) + [0]
        assert results[-1].dropped == {"d": "backpressure"}
        assert not connection.is_open
        await until(lambda: echo.seen[1:] == ["-d backpressure"])  # the close time-out
        await server.end()


async def test_a_slow_network_that_recovers() -> None:
    async with connected() as (server, manager, _):
        server.open.clear()
        for number in range(20):
            manager.emit("big", b"x" * 50_000, "d")
            manager.emit("number", number, "d")
        await asyncio.sleep(0)
        server.open.set()
        numbers = [value for _ in range(40) if isinstance((value := (await server.answer())[1]), int)]
        assert numbers == list(range(20))
        assert manager.connections.all()[0].pending() == 0


async def test_a_server_that_can_no_longer_send() -> None:
    async with connected() as (server, manager, echo):
        server.error = RuntimeError("gone")
        manager.emit("x", 1, "d")
        await asyncio.sleep(0.01)
        server.disconnect(1000)
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d client_close"])


async def test_a_task_that_is_taken_away() -> None:
    async with connected() as (server, _, echo):
        server.task.cancel()
        assert (await server.next())["code"] == 1001
        await until(lambda: echo.seen[1:] == ["-d server_shutdown"])
        assert server.task.cancelled()


async def test_a_receive_that_raises() -> None:
    async with connected() as (server, _, echo):
        server.say({})
        await server.end()
        await until(lambda: echo.seen[1:] == ["-d transport_closed"])
