"""A device with iot.io-client 0.1.0, driven by JSON lines; runs under the Python of its environment.

device_010.py DOMAIN ID TYPE [--on NAME]... [--data JSON]

Says {"event": "connected" | "message" (name, data) | "ended" (reason)}.
Takes {"do": "send", "name": ..., "data": ...} and {"do": "ping"}, answered by "pong" when the server's came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import threading

from iotio_client import IoTClient


def say(event, **values):
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


def add_handler(client, name):
    @client.on(name)
    async def handler(message):
        say("message", name=name, data=message)


async def announce(client):
    await client.wait_until_ready()
    say("connected", extensions=[repr(extension) for extension in client.socket.extensions])


async def ping(client):
    await asyncio.wait_for(await client.socket.ping(), 10)
    say("pong")


def read_commands(client):
    for line in sys.stdin:
        command = json.loads(line)
        work = client.send(command["name"], command["data"]) if command["do"] == "send" else ping(client)
        asyncio.run_coroutine_threadsafe(work, client.loop)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("domain")
    parser.add_argument("id")
    parser.add_argument("type")
    parser.add_argument("--on", action="append", default=[])
    parser.add_argument("--data", default="{}")
    options = parser.parse_args()

    logging.basicConfig(stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")
    client = IoTClient(options.id, options.type, json.loads(options.data), logging_level=logging.INFO)
    for name in options.on:
        add_handler(client, name)
    threading.Thread(target=read_commands, args=(client,), daemon=True).start()
    client.loop.create_task(announce(client))
    try:
        client.run(options.domain)
    except BaseException as error:
        say("ended", reason=repr(error))
        raise
    say("ended", reason=None)


main()
