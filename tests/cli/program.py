"""A folder with a program, and `iotio run` in it."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from pathlib import Path

from tests.load.harness import Device
from tests.support.processes import START_SECONDS, Program

IOTIO = [sys.executable, "-m", "iotio"]

PLAIN = """
from flask import Flask
from iotio import DeviceType, IoTManager

app = Flask(__name__)
manager = IoTManager(app)

class Plain(DeviceType):
    def on_echo(self, message, client):
        return message

    def on_disconnect(self, client, reason):
        print("gone", client.id, reason, flush=True)

manager.add_type(Plain("plain"))

@app.get("/name")
def name():
    return __name__
"""


def iotio_run(folder: Path, *arguments: str | Path) -> Program:
    return Program([*IOTIO, "run", *arguments], folder=folder)


def port_of(server: Program, *, start: int = 0) -> int:
    """The port that the line about its start names."""
    line = server.wait_line("Serving ", START_SECONDS, start=start)
    found = re.search(r"://[^ ]*:(\d+)", line)
    assert found is not None, line
    return int(found[1])


def fails(folder: Path, *arguments: str | Path) -> tuple[int, str]:
    """Exit status and output of `iotio run` where it cannot serve."""
    done = subprocess.run(
        [*IOTIO, "run", *arguments], cwd=folder, capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def told_to_go(device: Device) -> None:
    """It gets CLOSE 1001, and leaves."""
    assert device.expect_frame(10).close_code == 1001
    device.send_close(1001)
    assert device.rest() == []
    device.close()


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
