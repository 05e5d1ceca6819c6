"""docs/how-to/emit-from-a-script.md: its server, its scripts, and what it says that does not work, as they stand."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import iotio_client
from iotio import IoTManager
from scripts.tools.environments import ROOT
from scripts.tools.readme import blocks, on_port
from tests.support.processes import Program, free_port, python_program, wait_until_listening

pytestmark = pytest.mark.slow

BLOCKS = blocks(ROOT / "docs" / "how-to" / "emit-from-a-script.md")
SERVER, SCRIPT = [block.code for block in BLOCKS if block.language == "python"]
(CURL,) = [block.code for block in BLOCKS if block.language == "console"]
(SESSION,) = [block.code for block in BLOCKS if block.language == "pycon"]
IN_USE = next(block.code.strip() for block in BLOCKS if "StoreError" in block.code)
TOKEN = "secret-" * 4
ANSWER = {"dropped": {}, "kept": ["kitchen-lamp"]}


class Hub(NamedTuple):
    folder: Path
    port: int
    program: Program


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """The server of the page, with a lamp that was there and is away."""
    port = free_port()
    (tmp_path / "server.py").write_text(SERVER, encoding="utf-8")
    command = [sys.executable, "-m", "iotio", "run", "server.py", "--host", "127.0.0.1", "--port", str(port)]
    with Program(command, folder=tmp_path, environment={"HUB_TOKEN": TOKEN}) as program:
        wait_until_listening(port, program)
        with iotio_client.IoTClient("kitchen-lamp", "lamp").start(f"127.0.0.1:{port}") as lamp:
            lamp.wait_connected(10)
        program.wait_line("device 'kitchen-lamp' disconnected")
        yield Hub(tmp_path, port, program)


def ask(hub: Hub, body: Any, token: str = TOKEN) -> tuple[int, Any]:
    """Status and body of a request to the route."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{hub.port}/emit", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_scripts_reach_a_device_that_comes_back(hub: Hub) -> None:
    script = hub.folder / "night.py"
    script.write_text(on_port(SCRIPT, hub.port), encoding="utf-8")
    with Program(python_program(script), environment={"HUB_TOKEN": TOKEN}) as night:
        assert night.wait() == 0
        assert night.lines == [str(ANSWER)]
    messages = 1
    if shutil.which("curl"):
        command, shown = on_port(CURL, hub.port).removeprefix("$ ").splitlines()
        done = subprocess.run(["sh", "-c", command], env={**os.environ, "HUB_TOKEN": TOKEN}, capture_output=True)
        assert json.loads(done.stdout) == json.loads(shown) == ANSWER
        messages = 2
    got: list[object] = []
    lamp = iotio_client.IoTClient("kitchen-lamp", "lamp")

    @lamp.on("brightness")
    def on_brightness(value: object) -> None:
        got.append(value)
        if len(got) == messages:
            lamp.stop()

    lamp.run(f"127.0.0.1:{hub.port}")
    assert got == [5] * messages


def test_who_does_not_know_the_token_is_refused(hub: Hub) -> None:
    message = {"event": "brightness", "data": 5, "to": "kitchen-lamp"}
    assert ask(hub, message, "wrong")[0] == ask(hub, message, "")[0] == 401
    assert ask(hub, {"event": "brightness"})[0] == ask(hub, [])[0] == ask(hub, message | {"to": 7})[0] == 400


def test_a_device_that_never_was_is_named(hub: Hub) -> None:
    answer = ask(hub, {"event": "brightness", "data": 5, "to": "nobody"})
    assert answer == (200, {"dropped": {"nobody": "no device of this id has ever been connected"}, "kept": []})


def test_a_second_manager_reaches_nobody() -> None:
    result = IoTManager().emit("brightness", 5, to="kitchen-lamp")
    assert SESSION.splitlines()[-1] == repr(result)


def test_the_store_of_the_server_cannot_be_opened(hub: Hub) -> None:
    with Program([sys.executable, "-c", "import server"], folder=hub.folder) as script:
        assert script.wait(20) == 1
        line = script.wait_line("StoreError: ")
    line = line.replace(f"{hub.folder}/", "/opt/iotio/").replace(f"process {hub.program.process.pid} ", "process 4711 ")
    assert line.endswith(IN_USE.replace(" on hub:", f" on {socket.gethostname()}:"))
