"""websockets on uvloop, no packets: echo, and fan-out by its broadcast. argv: port"""

import logging
import sys

import uvloop
from websockets.asyncio.server import broadcast, serve

logging.disable(logging.CRITICAL)
subs = set()


async def handle(ws):
    role = ws.request.headers.get("IoT-IO-Type")
    if role == "sub":
        subs.add(ws)
        try:
            async for _ in ws:
                pass
        finally:
            subs.discard(ws)
    elif role == "pub":
        async for message in ws:
            broadcast(subs, message)
    else:
        async for message in ws:
            await ws.send(message)


async def main():
    async with serve(
        handle, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None, backlog=4096
    ) as server:
        await server.serve_forever()


uvloop.run(main())
