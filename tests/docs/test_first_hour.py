"""The lamp of the tutorial, run as it stands but for the port."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest

from scripts.tools.readme import ROOT, blocks, on_port
from tests.support.processes import Program, free_port, python_program, wait_until_listening

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "tutorial" / "first-hour.md"
SERVER, DEVICE = (one.code for one in blocks(PAGE) if one.language == "python")


def set_brightness(port: int, brightness: int) -> object:
    """What the curl of the page does."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/lamp/{brightness}", method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def test_the_lamp(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "server.py").write_text(SERVER, encoding="utf-8")
    device = tmp_path / "device.py"
    device.write_text(on_port(DEVICE, port), encoding="utf-8")
    command = [sys.executable, "-m", "iotio", "run", "server.py", "--host", "127.0.0.1", "--port", str(port)]
    with Program(command, folder=tmp_path) as server:
        wait_until_listening(port, server)
        with Program(python_program(device), folder=tmp_path) as lamp:
            server.wait_line("INFO iotio.connection: device 'kitchen-lamp' connected: type 'lamp', protocol 2, from ")
            lamp.wait_line("INFO iotio.client.kitchen-lamp: connected to ")
            server.wait_line("kitchen-lamp takes 5.0 W")
            assert set_brightness(port, 70) == {"watts": 35.0}
            lamp.wait_line("brightness is now 70")
            server.wait_line("kitchen-lamp takes 35.0 W")
        server.wait_line("device 'kitchen-lamp' disconnected after ")
        assert set_brightness(port, 30) == {"error": "device 'kitchen-lamp' is not connected"}
        with Program(python_program(device), folder=tmp_path) as lamp:
            lamp.wait_line("brightness is now 30")
            server.wait_line("device 'kitchen-lamp' came back after ")
        assert server.terminate() == 0
