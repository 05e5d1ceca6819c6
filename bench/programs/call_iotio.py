"""One caller and an `async def` handler, by iotio: `server PORT`, or `caller PORT COUNT`.

The caller prints the times as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time


def serve(port: int) -> None:
    """The native server."""
    import flask

    from iotio import DeviceType, IoTClient, IoTManager

    class Echo(DeviceType):
        async def on_echo(self, message: str, client: IoTClient) -> str:
            return message

        async def on_ask(self, message: int, client: IoTClient) -> list[float]:
            """The other direction: call the device so often."""
            for _ in range(message // 10):
                await client.acall("echo", "x" * 32)
            times = []
            for _ in range(message):
                began = time.perf_counter()
                await client.acall("echo", "x" * 32)
                times.append(time.perf_counter() - began)
            return times

    manager = IoTManager(flask.Flask(__name__))
    manager.add_type(Echo("echo"))
    manager.run("127.0.0.1", port)


async def call(port: int, count: int) -> None:
    """A device that calls the server, and is called."""
    from iotio_client import AsyncIoTClient

    client = AsyncIoTClient("caller", "echo")

    @client.on("echo")
    async def echo(message: str) -> str:
        return message

    await client.begin(f"127.0.0.1:{port}")
    receiving = asyncio.create_task(client.handle())
    for _ in range(count // 10):
        await client.call("echo", "x" * 32)
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await client.call("echo", "x" * 32)
        times.append(time.perf_counter() - began)
    called = await client.call("ask", count, timeout=300)
    print(json.dumps({"to the server": times, "to the device": called}), flush=True)
    client.stop()
    await receiving


if sys.argv[1] == "server":
    serve(int(sys.argv[2]))
else:
    import uvloop

    uvloop.run(call(int(sys.argv[2]), int(sys.argv[3])))
