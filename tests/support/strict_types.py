"""mypy, as users of the package run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tools.environments import ROOT

__all__ = ["passes_mypy"]


def passes_mypy(folder: Path, *arguments: str) -> None:
    """Fail if `mypy --strict` says anything of the programs in a folder, but skip where there is no mypy.

    Args:
        folder: where mypy runs, with our own sources beside.
        arguments: options, and the files; without any the folder's configuration tells both.
    """
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *arguments],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
