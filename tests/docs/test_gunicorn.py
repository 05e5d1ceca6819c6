"""The commands of docs/how-to/gunicorn.md serve the README's server, and what the page says of refusals is so."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

import iotio_client
from scripts.tools.environments import ROOT
from scripts.tools.readme import README, blocks
from tests.support.processes import Program, free_port, wait_until_listening
from tests.support.wire import RawPeer, v1_headers

pytestmark = pytest.mark.slow

BLOCKS = blocks(ROOT / "docs" / "how-to" / "gunicorn.md")
COMMANDS = [block.code.removeprefix("$ ").strip() for block in BLOCKS if block.language == "console"]
SEVERAL, SYNC = [block.code.strip() for block in BLOCKS if block.language == "text"]
SERVER = next(one.code for one in blocks(README) if one.heading == "server.py" and one.language == "python")


def gunicorn(command: str, port: int, folder: Path) -> Program:
    """Run a command of the page in a folder with the README's server."""
    (folder / "server.py").write_text(SERVER, encoding="utf-8")
    words = shlex.split(command)
    assert words[0] == "gunicorn"
    at = words.index("--bind") + 1
    words[at] = f"127.0.0.1:{port}"
    server = Program([sys.executable, "-m", *words], folder=folder)
    try:
        wait_until_listening(port, server)
    except BaseException:
        server.kill()
        raise
    return server


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, COMMANDS[0].replace("gthread", "gevent").replace(" --threads 100", "")],
    ids=["alone", "behind nginx", "gevent"],
)
def test_it_serves_devices_and_ends_in_order(command: str, tmp_path: Path) -> None:
    port = free_port()
    device = iotio_client.IoTClient("demo-device", "echo")
    with gunicorn(command, port, tmp_path) as server, device.start(f"127.0.0.1:{port}"):
        device.wait_connected(10)
        assert device.call("message", "hello") == "hello"
        server.wait_line("demo-device says: hello")
        assert server.terminate() == 0
        server.wait_line("device 'demo-device' disconnected after ")


@pytest.mark.parametrize(
    ("before", "instead", "line"),
    [
        ("--workers 1", "--workers 2", SEVERAL),
        ("--worker-class gthread --workers 1 --threads 100", "--workers 1", SYNC),
    ],
)
def test_what_the_refusals_say(before: str, instead: str, line: str, tmp_path: Path) -> None:
    port = free_port()
    with gunicorn(COMMANDS[0].replace(before, instead), port, tmp_path) as server:
        with RawPeer("127.0.0.1", port, timeout=20) as peer:
            assert peer.upgrade(headers=v1_headers("kitchen-lamp", "lamp")).status == 503
        assert server.wait_line("ERROR iotio.hosts: ").endswith(line)
