"""A device with iot.io-client 0.4.12 (or 0.4.1), driven by JSON lines; runs under the Python of its environment.

device_0412.py DOMAIN ID TYPE [--on NAME]... [--endpoints] [--once]

Says {"event": "connected" | "disconnected" | "message" (name, data) | "error" (error) | "ended" (reason)}.
Takes {"do": "send", "name": ..., "data": ...}; bytes travel as {"hex": ...} in both directions.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import sys
import threading

from iotio_client import EndpointConstraint, EndpointInfo, EndpointType, IoTClient

saying = threading.Lock()  # a line that is longer than the pipe holds would let those of other threads in between


def say(event, **values):
    with saying:
        sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
        sys.stdout.flush()


def to_json(value):
    return {"hex": bytes(value).hex()} if isinstance(value, (bytes, bytearray)) else value


def from_json(value):
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) and list(value) == ["hex"] else value


class Device(IoTClient):
    def on_connect(self):
        say("connected")

    def on_disconnect(self):
        say("disconnected")

    def on_error(self, error):
        say("error", error=error)


def add_handler(device, name):
    @device.on(name)
    def handler(message):
        say("message", name=name, data=to_json(message))


def add_endpoints(device):
    infos = {
        "power": EndpointInfo("Power", EndpointType.BOOLEAN),
        "level": EndpointInfo(
            "Level", EndpointType.INTEGER, constraints=EndpointConstraint(min_v=0, max_v=10, increment=2)
        ),
        "label": EndpointInfo("Label", EndpointType.STRING, constraints=EndpointConstraint(length=5)),
        "fruit": EndpointInfo(
            "Fruit",
            EndpointType.ENUM,
            constraints=EndpointConstraint(values={"apl": "Apple", "pear": "Pear"}),
        ),
    }
    for name, info in infos.items():

        @device.on(name, info)
        def handler(message, name=name):
            say("message", name=name, data=to_json(message))


def read_commands(device):
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "send":
            device.send(command["name"], from_json(command["data"]))
            say("sent")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("domain")
    parser.add_argument("id")
    parser.add_argument("type")
    parser.add_argument("--on", action="append", default=[])
    parser.add_argument("--endpoints", action="store_true")
    parser.add_argument("--once", action="store_true", help="do not connect again")
    options = parser.parse_args()

    logging.basicConfig(stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")
    device = Device(options.id, options.type, {"made": 2021}, logging_level=logging.INFO)
    for name in options.on:
        add_handler(device, name)
    if options.endpoints:
        add_endpoints(device)
    threading.Thread(target=read_commands, args=(device,), daemon=True).start()
    try:
        delay = {"reconnect_delay": 1} if "reconnect_delay" in inspect.signature(device.run).parameters else {}
        device.run(options.domain, use_tls=False, reconnect=not options.once, **delay)
    except BaseException as error:
        say("ended", reason=repr(error))
        raise
    say("ended", reason=None)


main()
