"""The commands of docs/how-to/systemd.md and docs/how-to/upgrade.md, in their order, in folders of the test's own.

What systemd does is done by the test; `git pull`, `useradd`, `chown` and what only shows something are left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.tools.environments import ROOT
from scripts.tools.readme import blocks
from tests.load.harness import Device
from tests.support.processes import START_SECONDS, Program, free_port, wait_until_listening

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOW_TO = ROOT / "docs" / "how-to"
LEFT_OUT = ("useradd ", "git ", "journalctl ", "systemctl daemon-reload", "systemctl enable ")
BUILD_TOOLS = "/opt/iotio/venv/bin/pip install hatchling cython 'setuptools>=77'"
SERVER = """
from iotio import DeviceType, IoTManager

class Plain(DeviceType):
    def on_join(self, message, client):
        client.join(message)

    def on_rooms(self, message, client):
        return client.rooms

manager = IoTManager(store="sqlite:///{store}")
manager.add_type(Plain("plain"))
"""


def commands(page: str, heading: str) -> list[str]:
    """What root types below a heading."""
    found = [one.code for one in blocks(HOW_TO / page) if (one.heading, one.language) == (heading, "console")]
    return [line.removeprefix("# ") for code in found for line in code.splitlines()]


class Machine:
    """A folder in the place of `/`, with the service in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self._services = ExitStack()
        self.server: Program | None = None
        for folder in ("opt/iotio", "var/lib/iotio"):
            (root / folder).mkdir(parents=True)
        (root / "server.py").write_text(SERVER.format(store=root / "var/lib/iotio/iotio.db"), encoding="utf-8")

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *error: object) -> None:
        self._services.close()

    @property
    def environment(self) -> dict[str, str]:
        """That of root: without what leads to the packages of the test run."""
        return {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "IOTIO_PURE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # which means that there is none: BUILD_TOOLS are installed once only
        }

    def here(self, command: str) -> str:
        """A command with its paths in the folder."""
        command = command.replace("<repository>", str(ROOT)).replace("-o iotio -g iotio ", "")
        return re.sub(r"/(opt|var)/", rf"{self.root}/\1/", command)

    def do(self, command: str) -> None:
        """Do what a command does, unless it is left out."""
        if command == "systemctl stop iotio":
            assert self.server is not None
            assert self.server.terminate() == 0
        elif command == "systemctl start iotio":
            self.start()
        elif not command.startswith(LEFT_OUT):
            done = subprocess.run(
                self.here(command),
                shell=True,
                cwd=self.root,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=400,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def start(self) -> None:
        """Start the service as its unit says."""
        (unit,) = [one.code for one in blocks(HOW_TO / "systemd.md") if one.language == "ini"]
        settings = dict(line.split("=", 1) for line in unit.splitlines() if line.startswith(("Exec", "Working")))
        program = ["env", "-u", "PYTHONPATH", *self.here(settings["ExecStart"]).split()]
        variables = {"IOTIO_HOST": "127.0.0.1", "IOTIO_PORT": str(self.port)}
        folder = Path(self.here(settings["WorkingDirectory"]))
        self.server = self._services.enter_context(Program(program, folder=folder, environment=variables))
        wait_until_listening(self.port, self.server, START_SECONDS)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine on which the server is installed and runs."""
    with Machine(tmp_path) as made:
        for command in commands("systemd.md", "Install"):
            made.do(command)
            if " -m venv " in command:
                made.do(BUILD_TOOLS)
        made.start()
        yield made


def test_each_command_of_the_pages(machine: Machine) -> None:
    with Device(machine.port, "d") as device:
        device.send("join", "kitchen")
        is_in_the_kitchen(device)
    for heading in ("Prepare", "Upgrade"):
        for command in commands("upgrade.md", heading):
            machine.do(command)
    came_back(machine)
    wheels = [path.name.split("-")[0] for path in (machine.root / "opt/iotio/wheels").glob("iotio*.whl")]
    assert sorted(wheels) == ["iotio", "iotio_client"]
    for command in commands("upgrade.md", "Go back"):
        machine.do(command)
    came_back(machine)
    assert (machine.root / "var/lib/iotio/after/iotio.db").exists()
    assert not (machine.root / "opt/iotio/venv-before").exists()


def came_back(machine: Machine) -> None:
    """The device is known, and still in its room."""
    assert machine.server is not None
    with Device(machine.port, "d") as device:
        machine.server.wait_line("device 'd' came back after ")
        is_in_the_kitchen(device)


def is_in_the_kitchen(device: Device) -> None:
    device.send("rooms", 1)
    assert device.packet() == ("rooms", ["kitchen"])
