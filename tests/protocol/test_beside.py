"""iot.io beside ours is found at import."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from iotio_protocol.beside import check_alone
from scripts.tools.environments import ROOT

COMMANDS = "pip uninstall -y iot.io iot.io-client && pip install --force-reinstall --no-deps ./client ."


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["iot.io-0.4.10.dist-info"], "iot.io 0.4.10"),
        (["iot_io-0.4.1.dist-info"], "iot.io 0.4.1"),
        (["iot.io_client-0.4.12.dist-info"], "iot.io-client 0.4.12"),
        (["iot_io_client-0.1.0-py3.7.egg-info", "iot_io-0.3.1-py3.7.egg-info"], "iot.io 0.3.1 and iot.io-client 0.1.0"),
    ],
)
def test_what_owns_the_same_folders(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    text = f"{found} and iotio own the same folders, so only one of them can be installed: {COMMANDS}"
    with pytest.raises(ImportError, match=f"^{re.escape(text)}$"):
        check_alone(str(tmp_path))


def test_what_does_not(tmp_path: Path) -> None:
    for name in ("iotio-0.5.0.dist-info", "iotio_client-0.5.0.dist-info", "iot.io", "iot.io-extra-1.0.dist-info"):
        (tmp_path / name).mkdir()
    check_alone(str(tmp_path))
    check_alone(str(tmp_path / "nosuch"))


@pytest.mark.parametrize("package", ["iotio", "iotio_client"])
def test_it_is_found_at_import(tmp_path: Path, package: str) -> None:
    for name in (package, "iotio_protocol"):
        shutil.copytree(ROOT / "src" / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "iot.io-0.4.10.dist-info").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", f"import {package}"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: iot.io 0.4.10 and iotio own the same folders, so only one of them can be installed: " + COMMANDS
    )


def test_it_costs_next_to_nothing() -> None:
    code = "import sys, iotio_protocol.beside; print('importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
