"""The command itself: version and help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import iotio
from tests.support.processes import START_SECONDS

from .program import IOTIO


def test_the_installed_script_says_its_version() -> None:
    script = Path(sys.executable).with_name("iotio")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=START_SECONDS, check=True)
    assert done.stdout == f"iotio, version {iotio.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_the_help_has_an_example(arguments: list[str]) -> None:
    done = subprocess.run([*IOTIO, *arguments], capture_output=True, text=True, timeout=START_SECONDS, check=True)
    assert "  iotio run server:manager\n" in done.stdout


def test_the_help_brings_no_server() -> None:
    code = "import sys, iotio.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert not {"flask", "uvicorn", "iotio.app", "gevent"} & set(done.stdout.split())
