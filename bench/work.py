"""What is measured: each kind of work, as arguments of the load generator. Standard library only."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import Enum

__all__ = ["WORK", "Metric", "Wire", "Work", "arguments", "metrics"]

CONNECT_SECONDS = 40.0
"""For all devices of one measurement to connect; python-socketio takes 6 s for 5 000, 20 s on a busy machine."""

HOLD_SECONDS = 0.5
"""That idle devices are held before the memory is read: what the server puts off after a connect is done by then."""


class Wire(Enum):
    """What a server speaks."""

    V1 = "ws"  # packets of protocol v1; raw echo servers get the same bytes
    V2 = "v2"  # packets of protocol v2
    SOCKETIO = "sio"
    MQTT = "mqtt"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a measurement, a column of the table.

    Attributes:
        name: in the JSON file and in the bars.
        title: above the column.
        key: where the load generator reports it.
        is_rate: so many a second, as far as the server's core went.
    """

    name: str
    title: str
    key: str
    is_rate: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of measurement.

    Attributes:
        name: for --only.
        mode: of the load generator: echo, fanout or connect.
        devices: connections.
        metrics: the figures that it gives.
        size: bytes of the string that travels.
        in_flight: messages on the way, for each device (echo) or in all (fanout).
        fresh: whether it needs a server that has served nobody yet.
        rounds: it is left out of further ones; it takes long and varies little.
        wire: what the devices speak; only servers of this project do it then. None: what each server speaks.
        store: whether the server keeps its devices in a new SQLite file; only with `wire`.
    """

    name: str
    mode: str
    devices: int
    metrics: tuple[Metric, ...]
    size: int = 32
    in_flight: int = 1
    fresh: bool = False
    rounds: int = 1000
    wire: Wire | None = None
    store: bool = False


def _work(name: str, title: str, mode: str, devices: int, in_flight: int, size: int = 32) -> Work:
    return Work(name, mode, devices, (Metric(name, title, "rate"),), size, in_flight)


def _connect(name: str, title: str, wire: Wire, *, store: bool = False) -> Work:
    rate = Metric(name, f"{title} connects/s", "connects_s")
    used = Metric(f"{name}-cpu", f"{title} us of processor time/connect", "cpu_us_connect", is_rate=False)
    return Work(name, "connect", 5000, (rate, used), fresh=True, wire=wire, store=store)


WORK = (
    _work("echo-64x1", "echo 64 x 1", "echo", 64, 1),
    _work("echo-64x16", "echo 64 x 16", "echo", 64, 16),
    _work("echo-1000x1", "echo 1000 x 1", "echo", 1000, 1),
    _work("echo-1k", "echo 64 x 1, 1 KiB", "echo", 64, 1, 1024),
    _work("fanout-1", "fan-out 1000 x 1", "fanout", 1000, 1),
    _work("fanout-4", "fan-out 1000 x 4", "fanout", 1000, 4),
    _work("fanout-16", "fan-out 1000 x 16", "fanout", 1000, 16),
    Work(
        "idle",
        "connect",
        5000,
        (
            Metric("connects", "connects/s", "connects_s"),
            Metric("memory", "KiB/idle device", "kib_device", is_rate=False),
        ),
        fresh=True,
        rounds=3,
    ),
    Work(
        "idle-v2",
        "connect",
        5000,
        (Metric("memory-v2", "KiB/idle device, v2", "kib_device", is_rate=False),),
        fresh=True,
        rounds=3,
        wire=Wire.V2,
    ),
    _connect("connect", "v1", Wire.V1),
    _connect("connect-v2", "v2", Wire.V2),
    _connect("connect-store", "v1, store:", Wire.V1, store=True),
    _connect("connect-v2-store", "v2, store:", Wire.V2, store=True),
)


def metrics(works: tuple[Work, ...] = WORK) -> list[Metric]:
    """The columns of the table."""
    return [metric for work in works for metric in work.metrics]


def arguments(work: Work, wire: Wire, device_type: str, seconds: float, warm: float) -> list[str]:
    """Arguments of the load generator, less the port and the server's process.

    Args:
        work: what is to be measured.
        wire: what the server speaks.
        device_type: the type of the devices that echo.
        seconds: of the measurement.
        warm: seconds before it.
    """
    event = "pub" if work.mode == "fanout" else "echo"
    result = [
        work.mode,
        "-R",
        "ws" if wire is Wire.V2 else wire.value,
        "-n",
        str(work.devices),
        *_message(wire, event, "x" * work.size),
    ]
    result += ["-K" if work.mode == "fanout" else "-P", str(work.in_flight)]
    result += ["-w", str(warm), "-d", str(seconds), "-c", str(CONNECT_SECONDS), "-l", str(HOLD_SECONDS)]
    if wire is Wire.SOCKETIO:
        result += ["-u", "/socket.io/?EIO=4&transport=websocket"]
    elif wire in (Wire.V1, Wire.V2):
        result += ["-u", "/iot.io"]
    listener = "sub" if work.mode == "fanout" else device_type
    if wire is Wire.V2:
        result += ["-H", "Sec-WebSocket-Protocol: iotio.v2"]
        for option, kind in (("-j", listener), ("-J", "pub")):
            result += [option, f'{{"id": "device-%d", "type": "{kind}"}}']
    elif wire is not Wire.MQTT:
        for option, kind in (("-H", listener), ("-Q", "pub")):
            result += [option, f"IoT-IO-Type: {kind}", option, "IoT-IO-Id: device-%d"]
            result += [option, "IoT-IO-ProtocolVersion: 1"]
    return result


def _message(wire: Wire, event: str, text: str) -> list[str]:
    if wire is Wire.SOCKETIO:
        return ["-o", "1", "-t", "42" + json.dumps([event, text], separators=(",", ":"))]
    if wire is Wire.MQTT:
        return ["-t", text]
    flags = b"\0" if wire is Wire.V2 else b""
    packet = (
        b"\x03" + flags + struct.pack(">H", len(event)) + event.encode() + struct.pack(">I", len(text)) + text.encode()
    )
    return ["-o", "2", "-x", packet.hex()]
