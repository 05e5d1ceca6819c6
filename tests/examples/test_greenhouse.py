"""The greenhouse runs as it stands but for its port and its times: page, buttons, alert, night, and a reboot."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.tools.readme import ROOT
from tests.support.hosts import eventually
from tests.support.processes import Program, free_port, python_program, wait_until_listening

EXAMPLE = ROOT / "examples" / "greenhouse"
TIMES = {  # in the program: in the test
    "OPEN_TOO_LONG = 60": "OPEN_TOO_LONG = 0",
    "@manager.every(10)": "@manager.every(0.5)",
    "THERE, AWAY = 5.0, 3.0": "THERE, AWAY = 0.5, 0.2",
}
TOKEN = "secret"


class Greenhouse:
    """Its programs, in a folder of their own.

    Args:
        folder: the programs are written there, and leave their files there.
        stack: ends them.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._port = free_port()
        programs = {file.name: file.read_text(encoding="utf-8") for file in EXAMPLE.glob("*.py")}
        for old, new in {**TIMES, "localhost:5000": f"localhost:{self._port}"}.items():
            assert any(old in program for program in programs.values())
            programs = {name: program.replace(old, new) for name, program in programs.items()}
        for name, program in programs.items():
            (folder / name).write_text(program, encoding="utf-8")

    def start_server(self) -> Program:
        """Start the server."""
        options = ["--host", "127.0.0.1", "--port", str(self._port), "--no-access-log"]
        server = self._start([sys.executable, "-m", "iotio", "run", "server.py", *options])
        wait_until_listening(self._port, server)
        return server

    def start(self, name: str, token: str = TOKEN) -> Program:
        """Start another program."""
        return self._start(python_program(self._folder / name), token)

    def _start(self, command: list[str | Path], token: str = TOKEN) -> Program:
        program = Program(command, folder=self._folder, environment={"GREENHOUSE_TOKEN": token})
        return self._stack.enter_context(program)

    def ask(self, path: str = "/", **form: str) -> str:
        """Ask for the page, or press a button of it, and return what comes."""
        data = None if path == "/" else urllib.parse.urlencode(form).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", data, timeout=10) as response:
                return str(response.read(), "utf-8")
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {error.read().decode()}"

    def row(self, device: str) -> str:
        """What the page says of a device: its presence, and the last values."""
        found = re.search(f"<td>{device}<td>(.*)", self.ask())
        return "" if found is None else found[1].replace("<td>", " ").strip()

    def wait_row(self, device: str, wanted: str) -> None:
        """Wait until the page says this of a device."""
        eventually(lambda: re.fullmatch(wanted, self.row(device)))


@pytest.fixture
def greenhouse(tmp_path: Path) -> Iterator[Greenhouse]:
    with ExitStack() as stack:
        yield Greenhouse(tmp_path, stack)


def test_a_day_in_the_greenhouse(greenhouse: Greenhouse) -> None:
    server = greenhouse.start_server()
    assert greenhouse.ask("/press", button="Lamp on") == "503 lamp: no device of this id has ever been connected"
    assert greenhouse.ask("/measure") == "503 device 'thermostat' is not connected"
    devices = greenhouse.start("devices.py")

    for name in ("thermostat", "lamp", "soil", "door", "meter", "pump"):
        server.wait_line(f"{name} is online: connected")
    server.wait_line("soil is sleeping: sleep")
    greenhouse.wait_row("soil", "sleeping moisture: 0.42")
    greenhouse.wait_row("thermostat", r"online celsius: 20\.0")
    greenhouse.wait_row("meter", r"online watts: 3\.0")
    server.wait_line("device 'pump' came back")
    assert greenhouse.row("pump") == "online"
    assert "pump is offline: " not in server.output  # it is never away for its grace time

    assert "<td>lamp<td>" in greenhouse.ask("/press", button="Lamp on")  # the page again
    devices.wait_line("lamp: on")
    greenhouse.wait_row("lamp", "online lamp: on")
    greenhouse.ask("/press", button="24 °C")
    devices.wait_line("thermostat: target 24")
    greenhouse.ask("/press", button="Water for 5 s")
    devices.wait_line("pump: waters for 5 s")
    assert re.fullmatch(r"2\d\.\d+ °C", greenhouse.ask("/measure"))

    devices.send_line("open")
    server.wait_line("ALERT: the door is open")
    devices.wait_line("lamp: blinks 3 times")
    assert "The door is open!" in greenhouse.ask()
    devices.send_line("closed")
    greenhouse.wait_row("door", "online door: closed")
    assert "The door is open!" not in greenhouse.ask()


def test_the_night(greenhouse: Greenhouse) -> None:
    server = greenhouse.start_server()
    devices = greenhouse.start("devices.py")
    server.wait_line("lamp is online")
    server.wait_line("pump is online")
    assert "401" in greenhouse.ask("/night")
    script = greenhouse.start("night.py", token="guess")
    script.wait_line("HTTP Error 401")
    script = greenhouse.start("night.py")
    assert script.wait() == 0
    told = script.wait_line("told to be off: ")
    assert set(told.split(": ")[1].split()) == {"lamp", "pump"}
    for line in ("lamp: off", "pump: off", "thermostat: target 14"):
        devices.wait_line(line)
    devices.kill()
    server.wait_line("device 'lamp' disconnected")
    script = greenhouse.start("night.py")
    assert "lamp" in script.wait_line("when they are back: ")


def test_a_reboot(greenhouse: Greenhouse) -> None:
    server = greenhouse.start_server()
    devices = greenhouse.start("devices.py")
    server.wait_line("soil is sleeping")
    greenhouse.wait_row("meter", r"online watts: 3\.0")
    devices.send_line("open")
    server.wait_line("ALERT: the door is open")
    devices.kill()
    server.wait_line("device 'lamp' disconnected")
    assert "<td>lamp<td>" in greenhouse.ask("/press", button="Lamp on")
    server.kill()

    server = greenhouse.start_server()
    assert greenhouse.row("soil") == "sleeping moisture: 0.42"
    assert greenhouse.row("door") == "online door: open"  # it has its grace time
    server.wait_line("ALERT: the door is open")
    devices = greenhouse.start("devices.py")
    devices.wait_line("lamp: on")
    greenhouse.wait_row("lamp", "online lamp: on")
