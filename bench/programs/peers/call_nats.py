"""One caller and an `async def` handler, by NATS: `server PORT`, `responder PORT`, or `caller PORT COUNT`.

The caller prints the times as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from pathlib import Path

import nats
import uvloop
from nats.aio.msg import Msg


async def respond(port: int) -> None:
    """Answer each request with itself."""
    connection = await nats.connect(f"nats://127.0.0.1:{port}")

    async def echo(message: Msg) -> None:
        await message.respond(message.data)

    await connection.subscribe("echo", cb=echo)
    await connection.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def call(port: int, count: int) -> None:
    """Ask, one request after the other."""
    connection = await nats.connect(f"nats://127.0.0.1:{port}")
    for _ in range(count // 10):
        await connection.request("echo", b"x" * 32, timeout=10)
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await connection.request("echo", b"x" * 32, timeout=10)
        times.append(time.perf_counter() - began)
    print(json.dumps({"request": times}), flush=True)
    await connection.close()


def serve(port: int) -> None:
    """The server of the package."""
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"
    os.execv(program, [program, "-a", "127.0.0.1", "-p", str(port)])


if sys.argv[1] == "server":
    serve(int(sys.argv[2]))
elif sys.argv[1] == "responder":
    uvloop.run(respond(int(sys.argv[2])))
else:
    uvloop.run(call(int(sys.argv[2]), int(sys.argv[3])))
