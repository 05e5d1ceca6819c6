"""The unit of docs/how-to/systemd.md is one that systemd takes, and its lines are those that the page explains."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tools.environments import ROOT
from scripts.tools.readme import blocks

PATH = ROOT / "docs" / "how-to" / "systemd.md"
(UNIT,) = [block.code for block in blocks(PATH) if block.language == "ini"]
PROGRAM = "/opt/iotio/venv/bin/iotio"


def parsed() -> configparser.ConfigParser:
    """The unit; of a key that comes several times, the last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys keep their capitals
    parser.read_string(UNIT)
    return parser


def test_it_has_what_a_server_needs() -> None:
    unit = parsed()
    assert unit.sections() == ["Unit", "Service", "Install"]
    service = unit["Service"]
    assert service["ExecStart"] == f"{PROGRAM} run server.py"
    assert service["Type"] == "notify"
    assert service["Restart"] == "always"
    assert int(service["LimitNOFILE"]) > 1024
    assert service["NoNewPrivileges"] == service["ProtectHome"] == "yes"
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_each_variable_is_one_of_iotio_run() -> None:
    names = re.findall(r"^Environment=(\w+)=", UNIT, re.MULTILINE)
    assert names
    done = subprocess.run([sys.executable, "-m", "iotio", "run", "--help"], capture_output=True, text=True, timeout=30)
    for name in names:
        assert name.startswith("IOTIO_")
        assert f"--{name.removeprefix('IOTIO_').lower().replace('_', '-')} " in done.stdout


def test_each_line_that_is_explained_is_in_the_unit() -> None:
    table = PATH.read_text(encoding="utf-8").partition("| line | reason |")[2].partition("\n\n")[0]
    keys = [key for row in table.splitlines() for key in re.findall(r"`(\w+)`", row.partition(" | ")[0])]
    assert len(keys) > 5
    assert set(keys) <= set(parsed()["Service"])


def test_systemd_takes_it(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here")
    program = tmp_path / "iotio"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    unit = tmp_path / "iotio.service"
    unit.write_text(UNIT.replace(PROGRAM, str(program)).replace("User=iotio", "User=root"), encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert [line for line in done.stderr.splitlines() if "iotio.service" in line] == []
    assert done.returncode == 0, done.stderr
