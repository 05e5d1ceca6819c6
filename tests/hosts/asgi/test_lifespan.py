"""The lifespan of an application together with that of the devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette

from iotio.hosts.asgi.lifespan import ends_before
from iotio.hosts.asgi.types import ASGIApp


async def told(app: Callable[[list[str]], ASGIApp]) -> list[str]:
    """What happens between a server that starts and ends, the application and the devices, in order."""
    seen: list[str] = []
    events = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Any:
        return {"type": next(events)}

    async def send(event: Any) -> None:
        seen.append(event["type"])

    async def shutdown() -> None:
        seen.append("devices end")

    await ends_before(app(seen), shutdown)({"type": "lifespan"}, receive, send)
    return seen


def knows(seen: list[str]) -> ASGIApp:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for word in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{word}"
            seen.append(f"app {word}")
            await send({"type": f"lifespan.{word}.complete"})

    return app


async def test_an_application_with_a_lifespan() -> None:
    assert await told(knows) == [
        "app startup",
        "lifespan.startup.complete",
        "devices end",
        "app shutdown",
        "lifespan.shutdown.complete",
    ]


async def test_starlette() -> None:
    assert await told(lambda seen: Starlette()) == [
        "lifespan.startup.complete",
        "devices end",
        "lifespan.shutdown.complete",
    ]


@pytest.mark.parametrize("reads", [0, 1])
@pytest.mark.parametrize("error", [None, KeyError("path"), AssertionError()])
async def test_an_application_without_one(reads: int, error: Exception | None) -> None:
    def make(seen: list[str]) -> ASGIApp:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            for _ in range(reads):
                await receive()
            if error is not None:
                raise error

        return app

    assert await told(make) == ["lifespan.startup.complete", "devices end", "lifespan.shutdown.complete"]


async def test_one_that_returns_after_its_start() -> None:
    def make(seen: list[str]) -> ASGIApp:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})

        return app

    assert await told(make) == ["lifespan.startup.complete", "devices end", "lifespan.shutdown.complete"]


async def test_a_failed_start_is_the_servers_to_know() -> None:
    seen: list[str] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(event: Any) -> None:
        seen.append(event["type"])

    async def shutdown() -> None:
        seen.append("devices end")

    async def raises(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise RuntimeError("no database")

    async def returns(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="no database"):
        await ends_before(raises, shutdown)({"type": "lifespan"}, receive, send)
    await ends_before(returns, shutdown)({"type": "lifespan"}, receive, send)
    assert seen == ["lifespan.startup.failed"] * 2


async def test_everything_else_goes_by() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    async def shutdown() -> None:
        raise AssertionError

    await ends_before(app, shutdown)({"type": "http"}, "receive", "send")  # type: ignore[arg-type]  # not called
    assert seen == [({"type": "http"}, "receive", "send")]
