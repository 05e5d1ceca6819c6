"""The programs of docs/how-to/coming-from.md that are ours, as they stand but for the port."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.tools.environments import ROOT
from scripts.tools.readme import blocks, on_port
from tests.support.processes import Program, free_port, python_program, wait_until_listening

pytestmark = pytest.mark.slow

OURS = [
    block
    for block in blocks(ROOT / "docs" / "how-to" / "coming-from.md")
    if block.language == "python" and "no-run" not in block.words
]
SOCKETIO_SERVER, SOCKETIO_DEVICE = [block.code for block in OURS if block.heading == "Flask-SocketIO"]
MQTT_DEVICE, MQTT_SERVER = [block.code for block in OURS if block.heading == "MQTT"]


class Home:
    """A server and devices, each a program of the page."""

    def __init__(self, folder: Path, stack: ExitStack, server: str) -> None:
        self.folder = folder
        self.stack = stack
        self.port = free_port()
        self.server = self.start("server", server)
        wait_until_listening(self.port, self.server)

    def start(self, name: str, code: str) -> Program:
        """Run a program; a device may have another id than the page says."""
        file = self.folder / f"{name}.py"
        file.write_text(on_port(code, self.port).replace('"kitchen", "lamp"', f'"{name}", "lamp"'), encoding="utf-8")
        return self.stack.enter_context(Program(python_program(file, python=sys.executable), folder=self.folder))


def test_flask_socketio(tmp_path: Path) -> None:
    with ExitStack() as stack:
        home = Home(tmp_path, stack, SOCKETIO_SERVER)
        first = home.start("hall", SOCKETIO_DEVICE)
        first.wait_line("noted")
        second = home.start("kitchen", SOCKETIO_DEVICE)
        second.wait_line("noted")
        first.wait_line("neighbour True")
        assert "neighbour True" not in second.lines
        assert home.server.terminate() == 0


def test_mqtt(tmp_path: Path) -> None:
    with ExitStack() as stack:
        home = Home(tmp_path, stack, MQTT_SERVER)
        lamp = home.start("kitchen", MQTT_DEVICE)
        lamp.wait_line("brightness 70")
        home.server.wait_line("kitchen watts 35.0")
        home.server.wait_line("kitchen status online")
        lamp.kill()
        home.server.wait_line("kitchen status offline")
        assert home.server.terminate() == 0
