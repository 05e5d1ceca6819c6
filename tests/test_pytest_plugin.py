"""The fixtures, in a pytest of their own: as users have them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from scripts.tools.environments import ROOT

PLUGIN = "iotio.pytest_plugin"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


class Run:
    """A pytest with this plugin alone, whatever is installed; warnings are errors.

    pytest finds the plugin by its entry point; here it is named, for the sources may be newer than the installation.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, expected: int, **files: str) -> str:
        """Write test files, and run them. Returns what pytest says."""
        for name, text in files.items():
            (self._folder / f"{name}.py").write_text(text, encoding="utf-8")
        arguments = [
            "-q",
            "-p",
            PLUGIN,
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
            "-c",
            os.devnull,
            f"--rootdir={self._folder}",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments, str(self._folder)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout


LAMP = """
from iotio import DeviceType

class Lamp(DeviceType):
    def on_toggle(self, message, client):
        return ("state", message)

    def on_fail(self, message, client):
        raise ValueError("no light")
"""


def test_pytest_finds_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"iotio": PLUGIN}
    assert set(import_module(PLUGIN).__all__) == {"iotio_clock", "iotio_device", "iotio_manager"}


def test_it_imports_nothing_until_a_fixture_is_used(run: Run) -> None:
    code = """
import sys

OURS = {"iotio", "iotio.pytest_plugin", "iotio.same_build"}
PROTOCOL = {"iotio_protocol", "iotio_protocol.beside", "iotio_protocol.version"}

def names():
    of = ("flask", "werkzeug", "gevent", "asyncio", "sqlalchemy", "iotio", "iotio_protocol")
    found = {name for name in sys.modules if name.partition(".")[0] in of}
    return found - {"iotio._build", "iotio_protocol._build"}  # of compiled packages: a name each

def test_before():
    assert names() == OURS | PROTOCOL

def test_then(iotio_manager):
    assert "iotio.app" in names()
"""
    assert "2 passed" in run(0, test_one=code)


def test_the_fixtures(run: Run) -> None:
    code = (
        LAMP
        + """
def test_lamp(iotio_manager, iotio_device, iotio_clock):
    iotio_manager.add_type(Lamp("lamp"))
    lamp = iotio_device("kitchen", "lamp")
    lamp.send("toggle", {"on": True})
    assert lamp.expect("state") == {"on": True}
    lamp.on("measure", lambda data: 21.5)
    assert iotio_manager.call("kitchen", "measure") == 21.5
    turns = []
    iotio_manager.every(60)(lambda: turns.append(iotio_clock()))
    iotio_clock.advance(600)
    assert len(turns) == 10
    lamp.sleep(600)
    iotio_clock.advance(700)

def test_each_has_its_own(iotio_manager, iotio_device):
    assert iotio_manager.device_types == []
    assert list(iotio_manager.devices) == []

def test_the_clock_needs_no_device(iotio_manager, iotio_clock):
    turns = []
    iotio_manager.every(60)(lambda: turns.append(iotio_clock()))
    iotio_clock.advance(600)
    assert len(turns) == 10
"""
    )
    assert "3 passed" in run(0, test_one=code)


def test_a_manager_of_the_program(run: Run) -> None:
    """It is the same one in each test, and knows nothing of the test before."""
    server = (
        LAMP
        + """
import flask
from iotio import IoTManager

app = flask.Flask("home")
manager = IoTManager(app)
manager.add_type(Lamp("lamp"))
"""
    )
    conftest = """
import pytest
import server

@pytest.fixture
def iotio_manager():
    return server.manager
"""
    code = """
import pytest
from server import manager

@pytest.mark.parametrize("number", range(3))
def test_lamp(iotio_device, number):
    assert list(manager.devices) == []
    lamp = iotio_device("kitchen", "lamp")
    lamp.send("toggle", number)
    assert lamp.expect("state") == number
    lamp.clock.advance(100)

def test_behind(iotio_manager):
    assert manager.loops == []
    with manager.test_client("kitchen", "lamp") as lamp:
        lamp.send("toggle", 1)
"""
    assert "4 passed" in run(0, server=server, conftest=conftest, test_one=code)


def test_what_handlers_raise_fails_a_test(run: Run) -> None:
    code = (
        LAMP
        + """
def test_sent(iotio_manager, iotio_device):
    iotio_manager.add_type(Lamp("lamp"))
    iotio_device("kitchen", "lamp").send("fail")

def test_at_the_end(iotio_manager, iotio_device):
    class Leaves(DeviceType):
        def on_disconnect(self, client):
            raise LookupError("gone")

    iotio_manager.add_type(Leaves("leaves"))
    iotio_device("kitchen", "leaves")
    iotio_device("attic", "leaves")

def test_then(iotio_manager, iotio_device):
    iotio_manager.add_type(Lamp("lamp"))
    iotio_device("kitchen", "lamp").send("toggle", 1)
"""
    )
    said = run(1, test_one=code)
    assert "ValueError: no light" in said
    assert "E       LookupError: gone" in said
    for device in ("kitchen", "attic"):
        assert f"handler on_disconnect of type 'leaves' failed for device '{device}'" in said, "each is closed"
    assert "1 failed, 2 passed, 1 error" in said
