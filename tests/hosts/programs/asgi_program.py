"""`python -m uvicorn|hypercorn|granian tests.hosts.programs.asgi_program:mounted`: the applications of the tests.

What handlers see is printed, one line each.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from iotio import DeviceType, DisconnectReason, IoTClient, IoTManager, Options

app = flask.Flask("asgi")
manager = IoTManager(app, options=Options(refusal_delay=0.05, close_timeout=0.5))


def say(line: str) -> None:
    """Print it in one write."""
    os.write(1, f"{line}\n".encode())


class Echo(DeviceType):
    """Answers."""

    def on_connect(self, client: IoTClient) -> None:
        say(f"connected {client.id}")

    def on_same(self, message: Any, client: IoTClient) -> Any:
        return message

    async def on_later(self, message: Any, client: IoTClient) -> Any:
        await asyncio.sleep(0.01)
        return message

    async def on_disconnect(self, client: IoTClient, reason: DisconnectReason = DisconnectReason.REMOVED) -> None:
        await asyncio.sleep(0.05)
        say(f"gone {client.id} {reason}")


manager.add_type(Echo("echo"))


@app.get("/hello")
def hello() -> str:
    """A page."""
    return f"hello from {flask.request.script_root or '/'}"


served = manager.asgi


@asynccontextmanager
async def lifespan(starlette: Starlette) -> AsyncIterator[None]:
    """Says when it begins and ends; a mounted application hears of neither."""
    say("begun")
    yield
    await served.shutdown()
    say("ended")


async def page(request: Any) -> PlainTextResponse:
    """A page of the outer application."""
    return PlainTextResponse("outer")


mounted = Starlette(routes=[Route("/", page), Mount("/things", served)], lifespan=lifespan)
