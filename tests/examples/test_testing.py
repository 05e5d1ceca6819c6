"""The example of tests: they pass, and notice what is wrong with the program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tools.environments import ROOT

FILES = ROOT / "examples" / "testing"


def run(folder: Path) -> str:
    """What pytest says, with the fixtures of iotio and no other plugin."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "iotio.pytest_plugin",
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
            ".",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FILES, tmp_path / "testing", ignore=shutil.ignore_patterns("__pycache__")))


def test_they_pass(folder: Path) -> None:
    said = run(folder)
    assert "9 passed in " in said, said
    assert float(said.rpartition("passed in ")[2].partition("s")[0]) < 60.0, "hours have passed in them"


@pytest.mark.parametrize(
    ("right", "wrong", "failed"),
    [
        ("message > 28", "message > 38", "test_a_temperature[30.0-warm]"),
        ("ttl=600", "ttl=6000", "test_the_window_gets_what_it_missed_unless_that_is_too_old"),
        ("every(3600)", "every(7200)", "test_the_hourly_look_at_the_window"),
    ],
)
def test_they_notice_a_mistake(folder: Path, right: str, wrong: str, failed: str) -> None:
    server = folder / "server.py"
    text = server.read_text(encoding="utf-8")
    assert text.count(right) == 1
    server.write_text(text.replace(right, wrong), encoding="utf-8")
    said = run(folder)
    assert f"FAILED test_server.py::{failed}" in said, said
